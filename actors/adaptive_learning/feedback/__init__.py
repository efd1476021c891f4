"""Joins what was measured to what was predicted, and takes what people say of predictions."""
