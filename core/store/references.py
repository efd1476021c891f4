"""Reference windows of model versions: what a version learned from, as drift compares it with now."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, and_, select

from core.store import schema
from core.store.database import Database


@dataclass(frozen=True)
class ReferenceStore:
    """One window a version, never changed: a version does not learn again."""

    database: Database

    def put(self, connection: Connection, model: str, version: int, n: int, data: bytes, now: int) -> bool:
        """Store a window (Arrow stream of n rows) unless the version has one; whether it was new.

        In the caller's transaction: what is made of the window is committed with it.
        """
        table = schema.reference_window
        values = {"model": model, "version": version, "n": n, "data": data, "created_at": now}
        new = self.database.insert(table).values(values)
        done = connection.execute(new.on_conflict_do_nothing(index_elements=["model", "version"]))
        return bool(done.rowcount)

    def get(self, model: str, version: int) -> bytes | None:
        """The window's Arrow stream; None: the version has none."""
        table = schema.reference_window
        where = and_(table.c.model == model, table.c.version == version)
        with self.database.read() as connection:
            data = connection.execute(select(table.c.data).where(where)).scalar()
        return None if data is None else bytes(data)

    def versions(self) -> tuple[tuple[str, int], ...]:
        """(model, version) of every window."""
        table = schema.reference_window
        query = select(table.c.model, table.c.version).order_by(table.c.model, table.c.version)
        with self.database.read() as connection:
            return tuple((row.model, row.version) for row in connection.execute(query))
