"""Two tables compared: column by column, all columns together, schema and label; pure, in memory or over Parquet."""
