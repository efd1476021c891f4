"""The ledger of forecasts: what was said of which day, and what came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, and_, select, update

from core.schemas.forecasts import Forecast, ForecastMetric, ForecastPoint, LedgerEntry
from core.store import schema
from core.store.database import Database

_VALUES = ("mean", "lo80", "hi80", "lo95", "hi95")
#: Place of a point: metric, origin, horizon in days.
Place = tuple[ForecastMetric, int, int]


@dataclass(frozen=True, slots=True)
class ForecastStore:
    """Forecasts of channels; the caller has checked that the channel is its tenant's."""

    database: Database

    def add(self, channel_id: int, forecast: Forecast, now: int) -> int:
        """Keep the points of a forecast that were not given from the same day before; returns how many.

        Days that are over by now are no forecast any more, however late their data comes: they are left out.
        """
        table = schema.forecast
        rows = [
            {
                "channel_id": channel_id,
                "metric": forecast.metric,
                "origin": forecast.origin,
                "horizon_days": point.horizon_days,
                "due_at": point.at,
                "made_at": now,
                **{name: getattr(point, name) for name in _VALUES},
            }
            for point in forecast.points
            if point.at > now
        ]
        if not rows:
            return 0
        with self.database.write() as connection:
            insert = self.database.insert(table).values(rows).on_conflict_do_nothing()
            return len(connection.execute(insert.returning(table.c.horizon_days)).all())

    def entries(self, channel_id: int, metric: ForecastMetric, limit: int | None = None) -> tuple[LedgerEntry, ...]:
        """Points of a channel's metric, newest origin first, then by horizon."""
        table = schema.forecast
        query = (
            select(table)
            .where(table.c.channel_id == channel_id, table.c.metric == metric)
            .order_by(table.c.origin.desc(), table.c.horizon_days)
            .limit(limit)
        )
        with self.database.read() as connection:
            return tuple(map(_entry, connection.execute(query)))

    def given(
        self, channel_id: int, metric: ForecastMetric, horizon_days: int, since: int, until: int
    ) -> tuple[LedgerEntry, ...]:
        """What was said so many days ahead of the days that end in [since, until], while each was not over; by day."""
        table = schema.forecast
        query = (
            select(table)
            .where(table.c.channel_id == channel_id, table.c.metric == metric, table.c.horizon_days == horizon_days)
            .where(table.c.due_at >= since, table.c.due_at <= until, table.c.made_at < table.c.due_at)
            .order_by(table.c.due_at)
        )
        with self.database.read() as connection:
            return tuple(map(_entry, connection.execute(query)))

    def due(self, channel_id: int, now: int) -> tuple[LedgerEntry, ...]:
        """Points of a channel that are due by now and neither scored nor given up, oldest first."""
        table = schema.forecast
        query = (
            select(table)
            .where(table.c.channel_id == channel_id, table.c.scored_at.is_(None), table.c.due_at <= now)
            .order_by(table.c.due_at)
        )
        with self.database.read() as connection:
            return tuple(map(_entry, connection.execute(query)))

    def channels_due(self, now: int) -> frozenset[int]:
        """Channels with points that are due."""
        table = schema.forecast
        query = select(table.c.channel_id).where(table.c.scored_at.is_(None), table.c.due_at <= now).distinct()
        with self.database.read() as connection:
            return frozenset(connection.execute(query).scalars())

    def score(self, channel_id: int, actual: Mapping[Place, float | None], now: int) -> None:
        """Write what came beside points (None: nobody measured it); a point that was scored before stays as it is."""
        if not actual:
            return
        table = schema.forecast
        with self.database.write() as connection:
            for (metric, origin, horizon), value in actual.items():
                where = and_(
                    table.c.channel_id == channel_id,
                    table.c.metric == metric,
                    table.c.origin == origin,
                    table.c.horizon_days == horizon,
                    table.c.scored_at.is_(None),
                )
                connection.execute(update(table).where(where).values(actual=value, scored_at=now))


def _entry(row: Row[Any]) -> LedgerEntry:
    point = ForecastPoint(row.horizon_days, row.due_at, *(getattr(row, name) for name in _VALUES))
    return LedgerEntry(row.metric, row.origin, row.made_at, point, row.actual, row.scored_at)
