"""Alembic's entry: runs on the connection that `core.store.migrate` opened, inside its transaction.

To add a change: edit `core/store/schema/`, then write `versions/NNNN_what.py` by hand or from Alembic's proposal
(`core.store.migrate.proposal(database)` prints the operations that a database lacks).
"""

from __future__ import annotations

from alembic import context

from core.store import schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    render_as_batch=True,  # SQLite cannot alter most things in place
    transactional_ddl=True,
)
context.run_migrations()
