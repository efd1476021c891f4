"""Drives the loop: watches, diagnoses, has versions trained, validated and rolled out."""
