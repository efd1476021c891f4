"""A metric over time, by hour, day, week or month of the channel's own zone; None where nobody looked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from actors.analytics_fusion.source import Counts
from core import buckets, metrics
from core.accrual import album_representatives
from core.clock import DAY
from core.errors import InvalidInput
from core.history import ChannelHistory, Floats, Ints, target_values, views_at
from core.schemas.analytics import SeriesPoint

MOST = 20_000  # points of one answer


def _subscribers(history: ChannelHistory, edges: Ints) -> Floats:
    """The last reading inside each bucket."""
    last = np.searchsorted(history.subscriber_ts, edges[1:], side="left") - 1
    inside = last >= np.searchsorted(history.subscriber_ts, edges[:-1], side="left")
    if len(history.subscribers) == 0:
        return np.full(len(edges) - 1, np.nan)
    return np.where(inside, history.subscribers[np.maximum(last, 0)], np.nan)


_OVER_TIME: dict[str, Callable[[ChannelHistory, Ints], Floats]] = {
    "views_gained": metrics.views_gained,
    "subscribers": _subscribers,
    "net_growth": metrics.net_growth,
    "growth_rate": metrics.growth_rate,
    "posting_rate": metrics.posts_published,
}
_OF_POSTS: dict[str, Callable[[ChannelHistory, Counts], Floats]] = {
    "views_24h": lambda history, _: views_at(history, DAY).values,
    "views_final": lambda history, _: target_values(history, "views_final").values,
    "view_half_life": lambda history, _: metrics.view_half_life(history),
    "err": lambda history, counts: metrics.ratio(counts.engagement, _views(history)),
    "er_subscribers": lambda history, counts: metrics.ratio(
        counts.engagement, metrics.subscribers_at_publication(history)
    ),
    "vtr": lambda history, _: metrics.ratio(_views(history), metrics.subscribers_at_publication(history)),
    "virality": lambda _, counts: metrics.ratio(counts.forwards, counts.views),
    "reaction_rate": lambda _, counts: metrics.ratio(counts.reactions, counts.views),
    "comment_rate": lambda _, counts: metrics.ratio(counts.comments, counts.views),
}
SERIES = (*_OVER_TIME, *_OF_POSTS)


def series(history: ChannelHistory, counts: Counts, metric: str, bucket: str) -> tuple[SeriesPoint, ...]:
    """Every bucket from the first to the last thing known of the channel; empty for a channel without data.

    metric: a name or alias. Sums and changes are per bucket, not per day; metrics of posts are the mean (half-life:
    the median) over the posts published in the bucket.
    """
    edges, found = values(history, counts, metric, bucket)
    return tuple(
        SeriesPoint(int(ts), None if np.isnan(value) else float(value))
        for ts, value in zip(edges[:-1], found, strict=True)
    )


def values(history: ChannelHistory, counts: Counts, metric: str, bucket: str) -> tuple[Ints, Floats]:
    """Edges of the buckets and a value for each, NaN where nobody looked; one edge and no value without data."""
    name = metrics.metric(metric).name
    if name not in SERIES:
        raise InvalidInput(f"{metric!r} has no series: use one of {', '.join(SERIES)}", field="metric")
    known = [ts for ts in (history.published_at, history.reading_ts, history.subscriber_ts) if len(ts)]
    if not known:
        _bucket(bucket)
        return np.zeros(1, dtype=np.int64), np.zeros(0)
    first, last = min(int(ts.min()) for ts in known), max(int(ts.max()) for ts in known)
    edges = buckets.edges(history.channel.timezone, _bucket(bucket), first, last + 1)
    if len(edges) > MOST:
        raise InvalidInput(f"{len(edges):,} {bucket}s are more than {MOST:,}: use a wider bucket", field="bucket")
    if name in _OVER_TIME:
        return edges, _OVER_TIME[name](history, edges)
    return edges, _by_publication(history, _OF_POSTS[name](history, counts), edges, name == "view_half_life")


def _by_publication(history: ChannelHistory, of_post: Floats, edges: Ints, median: bool) -> Floats:
    counted = album_representatives(history) & ~np.isnan(of_post)
    at, kept = history.published_at[counted], of_post[counted]
    cuts = np.searchsorted(at, edges)
    result = np.full(len(edges) - 1, np.nan)
    for i in np.flatnonzero(np.diff(cuts)):
        part = kept[cuts[i] : cuts[i + 1]]
        result[i] = np.median(part) if median else np.mean(part)
    return result


def _views(history: ChannelHistory) -> Floats:
    """Views that rates are of: at 24 h, or the final ones of a source that is read once."""
    return (target_values(history, "views_final") if history.single_reading else views_at(history, DAY)).values


def _bucket(name: str) -> buckets.Bucket:
    for bucket in buckets.BUCKETS:
        if bucket == name:
            return bucket
    raise InvalidInput(f"no bucket {name!r}: use one of {', '.join(buckets.BUCKETS)}", field="bucket")
