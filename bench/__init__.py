"""Measurements: each prints its figures beside a named alternative of the same run; `python -m bench` runs them all."""
