"""One module a change, `NNNN_what.py`; released ones are never edited."""
