"""Named lists of channels that somebody keeps an eye on; a name need not be a stored channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, delete, select

from core.codec import from_json, to_json
from core.errors import InvalidInput, NotFound
from core.schemas.competitors import WatchList
from core.store import schema
from core.store.database import Database

MOST_CHANNELS = 100
_NAME, _CHANNEL = 100, 200  # characters


@dataclass(frozen=True, slots=True)
class WatchListStore:
    """Lists of one tenant."""

    database: Database
    tenant: str = "default"

    def all(self) -> tuple[WatchList, ...]:
        """By name."""
        table = schema.watch_list
        query = select(table).where(table.c.tenant == self.tenant).order_by(table.c.name)
        with self.database.read() as connection:
            rows = connection.execute(query).all()
        return tuple(
            WatchList(row.name, tuple(from_json(list[str], row.channels)), row.created_at, row.updated_at)
            for row in rows
        )

    def by_name(self) -> dict[str, tuple[str, ...]]:
        """The channels of each list."""
        return {found.name: found.channels for found in self.all()}

    def get(self, name: str) -> WatchList:
        """The list of that name; NotFound."""
        found = next((each for each in self.all() if each.name == name), None)
        if found is None:
            raise NotFound(f"no watch list {name!r}: make it first, or see the list of lists", watch_list=name)
        return found

    def put(self, name: str, channels: Sequence[str], now: int) -> WatchList:
        """Make a list, or give it these channels; writing the same again changes nothing.

        InvalidInput for a list or a name that is empty or too long.
        """
        wanted = tuple(dict.fromkeys(channel.strip() for channel in channels))
        if not 1 <= len(name) <= _NAME or name != name.strip() or "/" in name:
            raise InvalidInput(f"a name has 1 to {_NAME} characters, no slash, no space around it", field="name")
        if not 1 <= len(wanted) <= MOST_CHANNELS:
            raise InvalidInput(f"{len(wanted)} channels: between 1 and {MOST_CHANNELS}", field="channels")
        bad = next((channel for channel in wanted if not 1 <= len(channel) <= _CHANNEL), None)
        if bad is not None:
            raise InvalidInput(f"the name of a channel has 1 to {_CHANNEL} characters: {bad[:40]!r}", field="channels")
        table, text = schema.watch_list, to_json(list(wanted))
        row = {"tenant": self.tenant, "name": name, "channels": text, "created_at": now, "updated_at": now}
        insert = self.database.insert(table).values(row)
        with self.database.write() as connection:
            connection.execute(
                insert.on_conflict_do_update(
                    index_elements=["tenant", "name"],
                    set_={"channels": text, "updated_at": now},
                    where=table.c.channels != text,
                )
            )
        return self.get(name)

    def remove(self, name: str) -> None:
        """Take a list away; one that is not there is no error, so that a repeated call does no harm."""
        table = schema.watch_list
        with self.database.write() as connection:
            connection.execute(delete(table).where(and_(table.c.tenant == self.tenant, table.c.name == name)))
