"""The loop that keeps models right: one sub-package a sub-service, `orchestrator` drives them."""
