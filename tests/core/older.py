"""A database as it was at an earlier revision, for tests of what becomes of its rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from sqlalchemy import Connection

from core.store import migrate, schema
from core.store.database import Database


@contextmanager
def at_revision(database: Database, revision: str) -> Iterator[Connection]:
    """All tables dropped and made anew by the migrations up to `revision`; what is written inside is committed."""
    schema.metadata.drop_all(database.engine)
    config = migrate._config()
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        yield connection
