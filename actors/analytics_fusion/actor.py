"""The analytics service: reads a channel once a data version, and answers from the cache until data arrives."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import numpy as np

from actors.analytics_fusion import overview as overview_
from actors.analytics_fusion import posts as posts_
from actors.analytics_fusion import series as series_
from actors.analytics_fusion import status as status_
from actors.analytics_fusion.overview import Period
from actors.analytics_fusion.reading import Reader
from actors.analytics_fusion.source import Counts
from core.buckets import day_start, local_date
from core.cache import Cache, CacheStats
from core.clock import Clock
from core.errors import InvalidInput
from core.history import ChannelHistory
from core.schemas.analytics import DataStatus, Overview, PostRow, SeriesPoint
from core.schemas.channels import Channel
from core.schemas.health import Health
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.events import Outbox

SERVICE = "analytics_fusion"
MOST_DAYS = 3650
_EXCERPT = 120

T = TypeVar("T")


class Analytics:
    """Implements `core.protocols.AnalyticsService`; keeps nothing but caches, so any number may run side by side."""

    def __init__(self, database: Database, clock: Clock, tenant: str = "default", cache: Cache | None = None) -> None:
        self.database, self.clock, self.tenant = database, clock, tenant
        self.channels = ChannelStore(database, tenant)
        self.cache = Cache() if cache is None else cache
        self._reader = Reader(self.channels, Outbox(database, tenant))

    def health(self) -> Health:
        """Read the list of channels and one channel's data version, as every question does."""
        found = self.channels.channels()
        version = self.channels.version(found[0].id) if found else None
        did = f"read {len(found)} channels" + (f" and the data version of {found[0].name} ({version})" if found else "")
        stats = self.cache.stats()
        details = {"channels": len(found), "cache_hit_rate": stats.hit_rate, "cached": stats.size}
        return Health(SERVICE, "ok", did, os.getpid(), details)

    def cache_stats(self) -> CacheStats:
        """Hits and misses of the answers kept, since this process began."""
        return self.cache.stats()

    def overview(self, channel: str, days: int = 30, until: int | None = None) -> Overview:
        """The last `days` complete days of the channel's zone that end by `until` (default: now), beside those before.

        NotFound for an unknown channel, InvalidInput for a length outside 1 to 3650 days.
        """
        if not 1 <= days <= MOST_DAYS:
            raise InvalidInput(f"{days} days: between 1 and {MOST_DAYS}", field="days")
        found = self.channels.channel(channel)
        period = _period(found.timezone, days, self.clock.now() if until is None else until)

        def compute() -> Overview:
            history, counts = self._data(found)
            return overview_.overview(history, counts, self.channels.mentions(found), period)

        return self._answer(Overview, found, f"overview:{period.before[0]}:{period.now[-1]}", compute)

    def posts(
        self, channel: str, limit: int = 20, order: str = "overperformance", age_h: int = 24
    ) -> tuple[PostRow, ...]:
        """Posts at equal age with the beginning of their text; order: overperformance, views, published_at."""
        found = self.channels.channel(channel)

        def compute() -> tuple[PostRow, ...]:
            rows = posts_.table(*self._data(found), limit, order, age_h)
            texts = self.channels.texts(found, [row.post_id for row in rows])
            return tuple(replace(row, excerpt=_excerpt(texts.get(row.post_id))) for row in rows)

        return self._answer(tuple[PostRow, ...], found, f"posts:{limit}:{order}:{age_h}", compute)

    def series(self, channel: str, metric: str, bucket: str = "day") -> tuple[SeriesPoint, ...]:
        """A metric by hour, day, week or month in the channel's zone; None in buckets that nobody watched."""
        found = self.channels.channel(channel)

        def compute() -> tuple[SeriesPoint, ...]:
            return series_.series(self._data(found)[0], metric, bucket)

        return self._answer(tuple[SeriesPoint, ...], found, f"series:{metric}:{bucket}", compute)

    def data_status(self, channel: str) -> DataStatus:
        """What is there and what is missing."""
        found = self.channels.channel(channel)

        def compute() -> DataStatus:
            return status_.data_status(*self._data(found), self.channels.totals(found))

        return self._answer(DataStatus, found, "data_status", compute)

    def _answer(self, kind: type[T], channel: Channel, question: str, compute: Callable[[], T]) -> T:
        return self.cache.fetch(kind, f"{SERVICE}:{channel.id}:{question}", channel.data_version, compute)

    def _data(self, channel: Channel) -> tuple[ChannelHistory, Counts]:
        data = self._reader.data(channel)
        return data.history, data.counts


def _period(timezone: str, days: int, until: int) -> Period:
    last = local_date(timezone, until)
    edges = [day_start(timezone, last - timedelta(days=back)) for back in range(2 * days, -1, -1)]
    return Period(np.array(edges[: days + 1], dtype=np.int64), np.array(edges[days:], dtype=np.int64))


def _excerpt(text: str | None) -> str | None:
    if text is None:
        return None
    line = " ".join(text.split())
    return line if len(line) <= _EXCERPT else line[: _EXCERPT - 1].rstrip() + "…"
