"""Brings a database to the present schema, and says what is wrong with one that is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata, produce_migrations, render_python_code
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from core.errors import StorageBroken
from core.store import schema
from core.store.database import Database

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = "analyticbot:migrate"


def head() -> str:
    """The revision that this code expects."""
    found = _scripts(_config()).get_current_head()
    if found is None:
        raise StorageBroken(f"no migrations in {_FOLDER}: the installation is incomplete")
    return found


def revision(database: Database) -> str | None:
    """The revision that a database is at; None: nothing was ever migrated."""
    with database.read() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(database: Database) -> str:
    """Run what is missing, in one transaction; returns the revision.

    Safe from several processes at once: the first takes the write lock, the others wait and find nothing to do.
    StorageBroken: the file is damaged, locked, read-only, its folder cannot be written, the server does not answer,
    or the database belongs to a newer version of this program.
    """
    with database.write() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": _LOCK})
        config = _config()
        at = MigrationContext.configure(connection).get_current_revision()
        _must_be_ours(_scripts(config), at, connection)
        if at != head():
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    return head()


def check(database: Database) -> tuple[str, ...]:
    """Problems, one line each; empty: the database is whole and at this program's schema."""
    try:
        return _problems(database)
    except StorageBroken as error:
        return (error.message,)


def proposal(database: Database) -> str:
    """The Alembic operations that would bring a database from where it is to `core.store.schema`."""
    with database.read() as connection:
        script = produce_migrations(_context(connection), schema.metadata)
        operations = script.upgrade_ops
        return "" if operations is None else render_python_code(operations, render_as_batch=True)


def _problems(database: Database) -> tuple[str, ...]:
    at, expected = revision(database), head()
    if at is None:
        return ("the database is empty or was never migrated: run `analyticbot db upgrade`",)
    problems = []
    if at != expected:
        problems.append(f"the database is at revision {at}, this program needs {expected}: `analyticbot db upgrade`")
    with database.read() as connection:
        if database.is_sqlite:
            found = connection.execute(text("PRAGMA integrity_check(5)")).scalars().all()
            problems += [f"the database file is damaged ({line}): restore a copy" for line in found if line != "ok"]
        if at == expected:
            problems += [_difference(item) for item in compare_metadata(_context(connection), schema.metadata)]
    return tuple(problems)


def _difference(item: Any) -> str:
    """One finding of Alembic's comparison as a line."""
    while isinstance(item, list):  # changes of one column come as a list
        item = item[0]
    what, *subject = item
    names = [str(getattr(part, "name", part)) for part in subject if part is not None and not isinstance(part, dict)]
    return f"the tables differ from this program's schema: {what.replace('_', ' ')} {' '.join(names)}"


def _must_be_ours(scripts: ScriptDirectory, at: str | None, connection: Connection) -> None:
    if at is None:
        foreign = set(inspect(connection).get_table_names()) & set(schema.metadata.tables)
        if foreign:
            raise StorageBroken(
                f"the database has tables of this name that no migration made ({', '.join(sorted(foreign)[:3])}, ...): "
                "give an empty database"
            )
    elif at not in {script.revision for script in scripts.walk_revisions()}:
        raise StorageBroken(
            f"the database is at revision {at}, which this program does not know: it was written by a newer version; "
            "install that version, or restore a copy from before"
        )


def _context(connection: Connection) -> MigrationContext:
    return MigrationContext.configure(connection, opts={"compare_type": True, "target_metadata": schema.metadata})


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.set_main_option("path_separator", "os")
    return config


def _scripts(config: Config) -> ScriptDirectory:
    return ScriptDirectory.from_config(config)
