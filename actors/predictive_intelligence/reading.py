"""What forecasts read: a channel's daily values up to its last complete day, and other channels' to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b

import numpy as np

from core import buckets
from core.buckets import day_start, local_date
from core.clock import DAY
from core.history import ChannelHistory, Floats, Ints
from core.metrics import counts_at, subscribers_on, views_gained
from core.schemas.channels import Channel
from core.schemas.forecasts import ForecastMetric
from core.store.channels import ChannelStore

#: Days of a channel that forecasts look back over.
LOOKBACK_DAYS = 400
#: Other channels that a forecast learns from.
POOL = 60


@dataclass(frozen=True, slots=True)
class Daily:
    """A value for each day of a zone; NaN: not known. ends: when each day ended."""

    ends: Ints
    values: Floats

    @property
    def origin(self) -> int:
        """When the last known day ended."""
        return int(self.ends[-1])

    def end_of(self, days_ahead: int, timezone: str) -> int:
        """When a later day ends: days are 23 to 25 hours long."""
        return day_start(timezone, local_date(timezone, self.origin) + timedelta(days=days_ahead))


def daily(history: ChannelHistory, metric: ForecastMetric, now: int) -> Daily | None:
    """The metric's days from the first to the last known one that is over by `now`; None: no day is known."""
    timezone = history.channel.timezone
    times = history.subscriber_ts if metric == "subscribers" else history.reading_ts
    if len(times) == 0:
        return None
    first = max(int(times.min()), now - LOOKBACK_DAYS * DAY)
    edges = buckets.edges(timezone, "day", first, max(now, first + 1))
    edges = edges[edges <= now]
    if len(edges) < 2:
        return None
    values = subscribers_on(history, edges[1:]) if metric == "subscribers" else views_gained(history, edges)
    return _trimmed(edges[1:], values)


def others(store: ChannelStore, channel: Channel, now: int) -> tuple[Daily, ...]:
    """Subscriber counts of other channels at the ends of their days, of at most POOL channels.

    Always the same ones for the same set of channels: those first by a hash, so that any mixture of sizes and topics
    is there.
    """
    known = [each for each in store.channels() if each.id != channel.id]
    chosen = sorted(known, key=lambda each: blake2b(str(each.id).encode(), digest_size=8).digest())[:POOL]
    return _of(store, chosen, now)


def _of(store: ChannelStore, channels: Sequence[Channel], now: int) -> tuple[Daily, ...]:
    readings = store.subscribers(channels, now - LOOKBACK_DAYS * DAY)
    found = []
    for channel in channels:
        ts, counts = readings.get(channel.id, (np.zeros(0, dtype=np.int64), np.zeros(0)))
        if len(ts) < 2:
            continue
        edges = buckets.edges(channel.timezone, "day", int(ts[0]), int(ts[-1]) + 1)
        ends = edges[edges <= now]
        kept = _trimmed(ends, counts_at(ts, counts, ends)) if len(ends) else None
        if kept is not None:
            found.append(kept)
    return tuple(found)


def _trimmed(ends: Ints, values: Floats) -> Daily | None:
    known = np.flatnonzero(~np.isnan(values))
    if len(known) == 0:
        return None
    span = slice(known[0], known[-1] + 1)
    return Daily(ends[span], values[span])
