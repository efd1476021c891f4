"""A channel's numbers as a file: JSON, CSV, Parquet, and a page that needs nothing else."""
