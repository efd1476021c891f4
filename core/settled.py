"""Which calendar days of a channel are over and read, so that a figure of theirs will not change any more."""

from __future__ import annotations

from datetime import date

import numpy as np

from core.buckets import day_start, local_date
from core.clock import DAY, HOUR
from core.history import ChannelHistory, Ints

#: a day is judged without waiting for further readings when it has been over for so long
PATIENCE_S = 12 * HOUR
#: posts up to this age are waited for: older ones many sources read too rarely
FRESH_S = 7 * DAY


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


def day_edges(timezone: str, first: int, last: int) -> Ints:
    """Boundaries of the days from `first` to `last`, ordinals."""
    return np.array([day_start(timezone, date.fromordinal(d)) for d in range(first, last + 2)], dtype=np.int64)


def _settled(history: ChannelHistory, end: int, now: int) -> bool:
    if now >= end + PATIENCE_S:
        return True
    counts = history.subscriber_ts
    if len(counts) and end - DAY <= counts[-1] < end:
        return False
    young = (history.published_at >= end - FRESH_S) & (history.published_at < end) & (np.diff(history.offsets) > 0)
    last = history.reading_ts[history.offsets[1:][young] - 1]
    return bool(np.all((last >= end) | (last < end - DAY)))
