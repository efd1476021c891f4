"""Compares now with what a version learned from: inputs inform, errors act."""
