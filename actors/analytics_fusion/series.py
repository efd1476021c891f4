"""A metric over time, by hour, day, week or month of the channel's own zone; None where nobody looked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from core import buckets, metrics
from core.errors import InvalidInput
from core.history import ChannelHistory, Floats, Ints
from core.schemas.analytics import SeriesPoint

MOST = 20_000  # points of one answer


def _subscribers(history: ChannelHistory, edges: Ints) -> Floats:
    """The last reading inside each bucket."""
    last = np.searchsorted(history.subscriber_ts, edges[1:], side="left") - 1
    inside = last >= np.searchsorted(history.subscriber_ts, edges[:-1], side="left")
    if len(history.subscribers) == 0:
        return np.full(len(edges) - 1, np.nan)
    return np.where(inside, history.subscribers[np.maximum(last, 0)], np.nan)


_SERIES: dict[str, Callable[[ChannelHistory, Ints], Floats]] = {
    "views_gained": metrics.views_gained,
    "subscribers": _subscribers,
    "net_growth": metrics.net_growth,
    "growth_rate": metrics.growth_rate,
    "posting_rate": metrics.posts_published,
}


def series(history: ChannelHistory, metric: str, bucket: str) -> tuple[SeriesPoint, ...]:
    """Every bucket from the first to the last thing known of the channel; empty for a channel without data.

    metric: a name or alias of a metric that is measured over time; sums and changes are per bucket, not per day.
    """
    name = metrics.metric(metric).name
    if name not in _SERIES:
        raise InvalidInput(f"{metric!r} has no series: use one of {', '.join(_SERIES)}", field="metric")
    known = [ts for ts in (history.published_at, history.reading_ts, history.subscriber_ts) if len(ts)]
    if not known:
        return ()
    first, last = min(int(ts.min()) for ts in known), max(int(ts.max()) for ts in known)
    edges = buckets.edges(history.channel.timezone, _bucket(bucket), first, last + 1)
    if len(edges) > MOST:
        raise InvalidInput(f"{len(edges):,} {bucket}s are more than {MOST:,}: use a wider bucket", field="bucket")
    values = _SERIES[name](history, edges)
    return tuple(
        SeriesPoint(int(ts), None if np.isnan(value) else float(value))
        for ts, value in zip(edges[:-1], values, strict=True)
    )


def _bucket(name: str) -> buckets.Bucket:
    for bucket in buckets.BUCKETS:
        if bucket == name:
            return bucket
    raise InvalidInput(f"no bucket {name!r}: use one of {', '.join(buckets.BUCKETS)}", field="bucket")
