"""What forecasts read: a channel's daily values up to its last complete day, and those of channels to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from core import buckets
from core.buckets import local_date
from core.clock import DAY
from core.history import ChannelHistory, Floats, Ints
from core.metrics import counts_at, forecast_values
from core.schemas.channels import Channel
from core.schemas.forecasts import ForecastMetric
from core.store.channels import ChannelStore
from training.forecasting.series import DailySeries

#: Days of a channel that forecasts look back over.
LOOKBACK_DAYS = 400
#: Channels that forecasts learn growth from.
POOL = 60


def daily(history: ChannelHistory, metric: ForecastMetric, now: int) -> DailySeries | None:
    """The metric's days in the channel's zone that are over by `now`; None: nothing was read."""
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
    return _series(history.channel, edges, forecast_values(history, metric, edges))


def pool(store: ChannelStore, until: int) -> list[DailySeries]:
    """Subscriber counts at the ends of the days until a moment, of at most POOL channels.

    Always the same ones for the same set of channels: those first by a hash, so that any mixture of sizes and topics
    is there.
    """
    by_hash = sorted(store.channels(), key=lambda each: blake2b(str(each.id).encode(), digest_size=8).digest())
    return _of(store, by_hash[:POOL], until)


def _of(store: ChannelStore, channels: Sequence[Channel], until: int) -> list[DailySeries]:
    readings = store.subscribers(channels, until - LOOKBACK_DAYS * DAY)
    found = []
    for channel in channels:
        ts, counts = readings.get(channel.id, (np.zeros(0, dtype=np.int64), np.zeros(0)))
        if len(ts) < 2:
            continue
        edges = buckets.edges(channel.timezone, "day", int(ts[0]), int(ts[-1]) + 1)
        edges = edges[edges <= until]
        if len(edges) > 1:
            found.append(_series(channel, edges, counts_at(ts, counts, edges[1:])))
    return found


def _series(channel: Channel, edges: Ints, values: Floats) -> DailySeries:
    return DailySeries(channel.name, local_date(channel.timezone, int(edges[0])), values)
