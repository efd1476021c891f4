"""When views happened: the growth between readings spread over calendar buckets, and the spans nobody looked at.

Between two readings views grow linearly in log(1 h + age), the shape that `core.history.views_at` assumes too. From
publication to the first reading they grow from 0, if that reading is at most a day old; a post whose first reading is
later contributes only from that reading on: what came before cannot be dated. Readings whose time is only assumed are
not used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.clock import DAY, HOUR
from core.history import ChannelHistory, Floats, Ints

#: a first reading at this age or younger counts the views since publication
EARLY_S = DAY
#: a span without any reading is a gap when it is longer than this many usual intervals
GAP_INTERVALS = 4
_SAME_ROUND_S = 300  # readings closer than this belong to one round of polling


@dataclass(frozen=True, slots=True)
class Gains:
    """Views gained by posts in buckets, as parallel arrays: post (position), bucket, views."""

    post: Ints
    bucket: Ints
    views: Floats

    def by_bucket(self, buckets: int) -> Floats:
        """Sum of every bucket."""
        return np.bincount(self.bucket, weights=self.views, minlength=buckets).astype(float)

    def by_post(self, posts: int) -> Floats:
        """Sum of every post."""
        return np.bincount(self.post, weights=self.views, minlength=posts).astype(float)


def album_representatives(history: ChannelHistory) -> NDArray[np.bool_]:
    """Which posts count: an album's items are one post to its readers, so the one with most views stands for all."""
    keep = np.ones(history.n, dtype=bool)
    members = np.flatnonzero(history.album_ids >= 0)
    if len(members) == 0:
        return keep
    views = last_views(history, unread=-1.0)[members]
    order = np.lexsort((members, -views, history.album_ids[members]))
    album = history.album_ids[members][order]
    keep[members[order][1:][album[1:] == album[:-1]]] = False
    return keep


def last_views(history: ChannelHistory, unread: float = np.nan) -> Floats:
    """The newest reading of each post; `unread` for posts without one. Posts of different ages do not compare by it."""
    values = np.full(history.n, unread)
    has = np.diff(history.offsets) > 0
    values[has] = history.reading_views[history.offsets[1:][has] - 1]
    return values


def gains(history: ChannelHistory, edges: Ints, max_age_s: float | None = None) -> Gains:
    """Views gained in each bucket by each post; albums once.

    edges: b + 1 increasing epoch seconds. max_age_s: leaves out what posts gained later than this age.
    """
    rises = segments(history)
    views = rises.after - rises.before
    near = (rises.stop > edges[0]) & (rises.start < edges[-1]) & (views != 0)
    post, start, stop, views = rises.post[near], rises.start[near], rises.stop[near], views[near]
    first = np.searchsorted(edges, start, side="right") - 1
    last = np.searchsorted(edges, stop, side="left") - 1
    first, last = np.maximum(first, 0), np.minimum(last, len(edges) - 2)
    spans = last - first + 1

    # One row for every (segment, bucket) pair that overlaps.
    row = np.repeat(np.arange(len(post)), spans)
    bucket = first[row] + (np.arange(len(row)) - np.repeat(np.cumsum(spans) - spans, spans))
    born = history.published_at[post[row]]
    left = np.maximum(edges[bucket], start[row])
    right = np.minimum(edges[bucket + 1], stop[row])
    if max_age_s is not None:
        right = np.minimum(right, born + int(max_age_s))
    overlap = right > left
    row, bucket, born, left, right = row[overlap], bucket[overlap], born[overlap], left[overlap], right[overlap]
    whole = growth_scale(stop[row] - born) - growth_scale(start[row] - born)
    share = (growth_scale(right - born) - growth_scale(left - born)) / whole
    return Gains(post[row], bucket, views[row] * share)


def growth_scale(age_s: Ints) -> Floats:
    """The scale on which views grow linearly between readings: log(1 + age in hours)."""
    return np.log1p(np.maximum(age_s, 0) / HOUR)


@dataclass(frozen=True, slots=True)
class Segments:
    """Spans in which a post's views are known at both ends, in order of (post, time); parallel arrays."""

    post: Ints
    start: Ints
    stop: Ints
    before: Floats
    after: Floats


def segments(history: ChannelHistory) -> Segments:
    """Spans between neighbouring readings, and from publication (0 views) to an early first one; albums once."""
    counted = album_representatives(history)
    owner = np.repeat(np.arange(history.n), np.diff(history.offsets))
    usable = history.reading_exact_time & counted[owner] & (history.reading_ts > history.published_at[owner])
    owner, ts, views = owner[usable], history.reading_ts[usable], history.reading_views[usable]
    first = np.ones(len(owner), dtype=bool)
    first[1:] = owner[1:] != owner[:-1]
    born = history.published_at[owner]
    start, before = born.copy(), np.zeros(len(owner))
    start[1:][~first[1:]] = ts[:-1][~first[1:]]
    before[1:][~first[1:]] = views[:-1][~first[1:]]
    use = ~first | (ts - born <= EARLY_S)
    return Segments(owner[use], start[use], ts[use], before[use], views[use])


def rounds(history: ChannelHistory) -> Ints:
    """Times at which views were read, those of one round of polling (5 min) taken as one."""
    times = np.sort(history.reading_ts[history.reading_exact_time])
    new = np.ones(len(times), dtype=bool)
    new[1:] = np.diff(times) > _SAME_ROUND_S
    return times[new]


def usual_interval(history: ChannelHistory) -> float | None:
    """Median time between rounds, seconds; None with fewer than three rounds."""
    return _usual(rounds(history))


def gaps(history: ChannelHistory) -> tuple[tuple[int, int], ...]:
    """Spans between rounds longer than four usual intervals: nobody looked."""
    return _gaps(rounds(history))


def covered(history: ChannelHistory, edges: Ints) -> NDArray[np.bool_]:
    """Which buckets lie between the first and the last reading and touch no gap."""
    times = rounds(history)
    result = np.zeros(len(edges) - 1, dtype=bool)
    if len(times) < 2 or history.single_reading:
        return result
    result[:] = (edges[:-1] >= times[0]) & (edges[1:] <= times[-1])
    for start, stop in _gaps(times):
        result &= (edges[1:] <= start) | (edges[:-1] >= stop)
    return result


def _usual(times: Ints) -> float | None:
    return float(np.median(np.diff(times))) if len(times) >= 3 else None


def _gaps(times: Ints) -> tuple[tuple[int, int], ...]:
    usual = _usual(times)
    if usual is None:
        return ()
    wide = np.flatnonzero(np.diff(times) > GAP_INTERVALS * usual)
    return tuple((int(times[i]), int(times[i + 1])) for i in wide)
