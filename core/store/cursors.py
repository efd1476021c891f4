"""How far a reader of a numbered table has come, kept with what the reading led to."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from core.store import schema
from core.store.database import Database


@dataclass(frozen=True, slots=True)
class Cursors:
    """Positions in `seq` tables, by reader.

    A reader looks at `at(name)`, works, and then in one transaction takes the cursor, makes sure that nobody moved it
    meanwhile, writes its results and moves it: every row is counted once, whoever dies and whoever runs twice.
    """

    database: Database

    def at(self, reader: str) -> int:
        """The last number that a reader has done; 0 before the first."""
        table = schema.consumer_offset
        with self.database.read() as connection:
            found = connection.execute(select(table.c.seq).where(table.c.consumer == reader)).scalar()
        return 0 if found is None else int(found)

    def take(self, connection: Connection, reader: str) -> int:
        """The same inside a transaction, which keeps other holders of the name out until it ends."""
        table = schema.consumer_offset
        first = self.database.insert(table).values(consumer=reader, seq=0)
        connection.execute(first.on_conflict_do_nothing(index_elements=["consumer"]))
        locked = select(table.c.seq).where(table.c.consumer == reader).with_for_update()
        return int(connection.execute(locked).scalar_one())

    def move(self, connection: Connection, reader: str, seq: int) -> None:
        """Write the new position; the transaction must hold the cursor (`take`)."""
        table = schema.consumer_offset
        connection.execute(table.update().where(table.c.consumer == reader).values(seq=seq))
