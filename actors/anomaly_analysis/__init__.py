"""Finds unusual days of a channel's metrics, explains, grades and advises."""
