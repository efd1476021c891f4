"""A channel's numbers as a file: JSON, CSV, Parquet, XLSX, PDF, and a page that needs nothing else."""
