"""The daily series that are watched, and which days can be judged already."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import numpy as np

from actors.anomaly_analysis.explanation import FRESH_S
from actors.anomaly_analysis.scales import GROWTH, POSTING, VIEWS
from core.accrual import covered
from core.buckets import day_start, local_date
from core.clock import DAY, HOUR
from core.history import ChannelHistory, Floats, Ints
from core.metrics import net_growth, posts_published, views_gained

WATCHED = (VIEWS, GROWTH, POSTING)

#: a day is judged without waiting for further readings when it has been over for so long
PATIENCE_S = 12 * HOUR


def first_day(history: ChannelHistory) -> int | None:
    """Ordinal of the first day of which anything is known; None for an empty channel."""
    starts = [int(ts[0]) for ts in (history.published_at, history.subscriber_ts) if len(ts)]
    if len(history.reading_ts):
        # Posts older than the first reading were published before anybody watched.
        starts = [max(min(starts), int(history.reading_ts.min()))]
    return local_date(history.channel.timezone, min(starts)).toordinal() if starts else None


def last_settled(history: ChannelHistory, first: int, now: int) -> int:
    """Ordinal of the last day from `first` on that can be judged; first - 1: none yet.

    A day can be judged when every young post that was read before its end has been read after it, and subscribers
    too - or when it has been over for 12 hours: who is not read again by then will not be.
    """
    zone = history.channel.timezone
    last = local_date(zone, now).toordinal() - 1
    while last >= first and not _settled(history, day_start(zone, date.fromordinal(last + 1)), now):
        last -= 1
    return max(last, first - 1)


def _settled(history: ChannelHistory, end: int, now: int) -> bool:
    if now >= end + PATIENCE_S:
        return True
    counts = history.subscriber_ts
    if len(counts) and end - DAY <= counts[-1] < end:
        return False
    young = (history.published_at >= end - FRESH_S) & (history.published_at < end) & (np.diff(history.offsets) > 0)
    last = history.reading_ts[history.offsets[1:][young] - 1]
    return bool(np.all((last >= end) | (last < end - DAY)))


def edges(timezone: str, first: int, last: int) -> Ints:
    """Boundaries of the days from `first` to `last`, ordinals."""
    return np.array([day_start(timezone, date.fromordinal(d)) for d in range(first, last + 2)], dtype=np.int64)


def values(history: ChannelHistory, first: int, last: int) -> Mapping[str, Floats]:
    """Each watched metric on the days from `first` to `last`; NaN where it is not known.

    Views are those of posts up to 7 days old: of older ones many sources take readings too rarely to date them.
    """
    bounds = edges(history.channel.timezone, first, last)
    posts = posts_published(history, bounds)
    if len(history.reading_ts) and not history.single_reading:
        posts = np.where(covered(history, bounds), posts, np.nan)  # nobody looked: no posts is not known either
    elif history.n:
        posts = np.where(bounds[:-1] <= history.published_at[-1], posts, np.nan)
    return {VIEWS: views_gained(history, bounds, FRESH_S), GROWTH: net_growth(history, bounds), POSTING: posts}
