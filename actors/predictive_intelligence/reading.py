"""What forecasts read: a channel's daily values up to its last complete day, and those of channels to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b

import numpy as np

from core import buckets
from core.buckets import local_date
from core.clock import DAY
from core.history import ChannelHistory, Floats, Ints
from core.metrics import counts_at, subscribers_on, views_gained
from core.schemas.channels import Channel
from core.schemas.forecasts import ForecastMetric
from core.store.channels import ChannelStore

#: Days of a channel that forecasts look back over.
LOOKBACK_DAYS = 400
#: Channels that forecasts learn growth from.
POOL = 60


@dataclass(frozen=True, slots=True)
class Daily:
    """A value for each day of a zone from the first known one on; NaN: not known."""

    first_day: date
    values: Floats


def daily(history: ChannelHistory, metric: ForecastMetric, now: int) -> Daily | None:
    """The metric's days from the first to the last known one that is over by `now`; None: no day is known."""
    timezone = history.channel.timezone
    times = history.subscriber_ts if metric == "subscribers" else history.reading_ts
    if len(times) == 0:
        return None
    last = min(int(times.max()), now)
    first = max(int(times.min()), last - LOOKBACK_DAYS * DAY)
    if last <= first:
        return None
    edges = buckets.edges(timezone, "day", first, last)
    edges = edges[edges <= last]
    if len(edges) < 2:
        return None
    values = subscribers_on(history, edges[1:]) if metric == "subscribers" else views_gained(history, edges)
    return _trimmed(timezone, edges[1:], values)


def pool(store: ChannelStore, until: int) -> dict[str, Daily]:
    """Subscriber counts at the ends of the days until a moment, of at most POOL channels, by name.

    Always the same ones for the same set of channels: those first by a hash, so that any mixture of sizes and topics
    is there.
    """
    by_hash = sorted(store.channels(), key=lambda each: blake2b(str(each.id).encode(), digest_size=8).digest())
    return _of(store, by_hash[:POOL], until)


def _of(store: ChannelStore, channels: Sequence[Channel], until: int) -> dict[str, Daily]:
    readings = store.subscribers(channels, until - LOOKBACK_DAYS * DAY)
    found = {}
    for channel in channels:
        ts, counts = readings.get(channel.id, (np.zeros(0, dtype=np.int64), np.zeros(0)))
        if len(ts) < 2:
            continue
        edges = buckets.edges(channel.timezone, "day", int(ts[0]), int(ts[-1]) + 1)
        ends = edges[edges <= until]
        kept = _trimmed(channel.timezone, ends, counts_at(ts, counts, ends)) if len(ends) else None
        if kept is not None:
            found[channel.name] = kept
    return found


def _trimmed(timezone: str, ends: Ints, values: Floats) -> Daily | None:
    known = np.flatnonzero(~np.isnan(values))
    if len(known) == 0:
        return None
    return Daily(local_date(timezone, int(ends[known[0]]) - 1), values[known[0] : known[-1] + 1])
