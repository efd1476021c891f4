"""Channels' figures of their last period, kept for comparison with the data version that they were computed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import and_, select

from core.codec import from_json, to_json
from core.store import schema
from core.store.database import Database


@dataclass(frozen=True, slots=True)
class Level:
    """A channel's figures over `days` days up to a moment; whether they still hold, its data version tells."""

    channel_id: int
    until: int
    data_version: int
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class LevelStore:
    """Levels of one tenant's channels; the newest of each length of period is kept."""

    database: Database
    tenant: str = "default"

    def all(self, days: int) -> dict[int, Level]:
        """The stored levels of a length of period, by channel."""
        level, channel = schema.channel_level, schema.channel
        query = (
            select(level)
            .join(channel, and_(channel.c.id == level.c.channel_id, channel.c.tenant == self.tenant))
            .where(level.c.days == days)
        )
        with self.database.read() as connection:
            rows = connection.execute(query).all()
        return {
            row.channel_id: Level(row.channel_id, row.until, row.data_version, from_json(dict[str, float], row.figures))
            for row in rows
        }

    def save(self, days: int, levels: list[Level]) -> None:
        """Write levels over older ones; one of older data never replaces one of newer."""
        if not levels:
            return
        table = schema.channel_level
        rows = [
            {
                "channel_id": level.channel_id,
                "days": days,
                "until": level.until,
                "data_version": level.data_version,
                "figures": to_json(dict(level.figures)),
            }
            for level in sorted(levels, key=lambda level: level.channel_id)
        ]
        insert = self.database.insert(table)
        fresh = {name: insert.excluded[name] for name in ("until", "data_version", "figures")}
        newer = and_(table.c.data_version <= insert.excluded.data_version, table.c.until <= insert.excluded.until)
        with self.database.write() as connection:
            connection.execute(
                insert.on_conflict_do_update(index_elements=["channel_id", "days"], set_=fresh, where=newer), rows
            )
