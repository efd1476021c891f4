"""The relational truth: tables, the database handle and one repository a noun."""
