"""Forecasts of many series at once: members judged by what they would have said before, mixed, and given intervals."""
