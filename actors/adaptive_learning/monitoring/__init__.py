"""Measures versions in service from what was answered and what became of it."""
