"""The database handle: picklable, connects on first use, one place for everything that differs between engines."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DatabaseError, OperationalError

from core.clock import SystemClock
from core.errors import StorageBroken
from core.store import schema


class Database:
    """Connections to one database.

    Travels to other processes as its URL; the engine is made there on first use. SQLite runs in WAL mode with full
    sync (an acknowledged write survives loss of power), and writers take the lock when they begin: the driver's own
    default begins at the first write, which loses updates of read-modify-write transactions without an error.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> str:
        return self.url

    def __setstate__(self, url: str) -> None:
        self.__init__(url)  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"Database({self.engine.url.render_as_string(hide_password=True)!r})"

    @property
    def is_sqlite(self) -> bool:
        """Whether the embedded engine is in use."""
        return self.url.startswith("sqlite")

    @property
    def engine(self) -> Engine:
        """The engine, made on first use."""
        with self._lock:
            if self._engine is None:
                self._engine = self._connect()
            return self._engine

    def _connect(self) -> Engine:
        if not self.is_sqlite:
            return create_engine(self.url, pool_size=4, max_overflow=8, pool_pre_ping=True)
        path = self.url.removeprefix("sqlite:///")
        if path and path != self.url and path != ":memory:":
            try:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageBroken(
                    f"the folder of the database cannot be made ({error.strerror}: {Path(path).parent}): "
                    "choose another, or change its permissions",
                    database=self.url,
                ) from error
        engine = create_engine(self.url, connect_args={"timeout": 30})
        event.listen(engine, "connect", _sqlite_connect)
        return engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for queries; storage failures become StorageBroken."""
        with self._guard(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds the write lock from its start; commits at the end, rolls back on any error."""
        with self._guard(), self.engine.connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, sqlite3.OperationalError) as error:
            line = _first_line(error)
            raise StorageBroken(f"the database does not answer: {line}{_advice(line)}", database=self._shown) from error
        except (DatabaseError, sqlite3.DatabaseError) as error:
            if "malformed" in str(error) or "not a database" in str(error):
                raise StorageBroken(
                    f"the database file is damaged ({_first_line(error)}): restore a copy, or move it away",
                    database=self._shown,
                ) from error
            raise

    @property
    def _shown(self) -> str:
        return self.engine.url.render_as_string(hide_password=True)

    def insert(self, table: Table) -> Any:
        """The dialect's INSERT, which knows `on_conflict_do_update` and `on_conflict_do_nothing`."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def append(self, connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
        """Insert rows of a table with a `seq`, so that seq order is commit order.

        PostgreSQL hands sequence numbers out before commit: a reader could pass a number that commits later. One
        advisory lock a table, held to the end of the transaction, rules that out; SQLite has one writer anyway.
        """
        if not rows:
            return
        self.serialise(connection, table)
        connection.execute(table.insert(), list(rows))

    def serialise(self, connection: Connection, table: Table) -> None:
        """Make appenders of a table take turns until this transaction ends; `append` does it by itself.

        Call it before reading what an append depends on (is the key there already?).
        """
        if not self.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": f"seq:{table.name}"})

    def dispose(self) -> None:
        """Close all connections."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None


def _sqlite_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "busy_timeout=30000",
        "foreign_keys=ON",
        "cache_size=-16000",
    ):
        connection.execute(f"PRAGMA {pragma}")


_ADVICE = {
    "unable to open database file": "does its folder exist, and may this user read and write there?",
    "readonly database": "the file or its folder may not be written: change the permissions, or choose another place",
    "database is locked": "another process has been writing for 30 s: wait, or stop it",
    "disk is full": "free some space",
    "disk I/O error": "check the disk, and that the database is not on a network share",
    "Connection refused": "start the server, or correct DATABASE_URL",
    "could not translate host name": "correct the host in DATABASE_URL",
    "authentication failed": "correct user and password in DATABASE_URL",
    "does not exist": "create it, or correct DATABASE_URL",
    "no such table": "run `analyticbot db upgrade`",
}


def _advice(line: str) -> str:
    return next((f" ({advice})" for sign, advice in _ADVICE.items() if sign in line), "")


def _first_line(error: BaseException) -> str:
    return str(getattr(error, "orig", error)).splitlines()[0]


@dataclass(frozen=True, slots=True)
class StoredClock:
    """The replay's time: what the database says, written together with the data fed up to then."""

    database: Database

    def now(self) -> int:
        """The replay's time; the wall clock while no replay has begun."""
        with self.database.read() as connection:
            value = connection.execute(select(schema.replay_clock.c.now)).scalar()
        return SystemClock().now() if value is None else int(value)

    def monotonic(self) -> float:
        """Durations are the machine's: a replay does not stretch them."""
        return SystemClock().monotonic()
