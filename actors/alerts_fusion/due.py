"""Moments at a time of day in a zone, on days of some kind: the last one that was, and the next one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, time, timedelta

from actors.alerts_fusion.quiet import moment
from core.buckets import local_date

OnDay = Callable[[date], bool]
_DAY = timedelta(days=1)


def every_day(_day: date) -> bool:
    """Any day will do."""
    return True


def last_due(at: time, timezone: str, now: int, on: OnDay = every_day) -> int:
    """The newest such moment by now. A time that the clocks leave out comes an hour later, a doubled one once."""
    day = local_date(timezone, now)
    while not on(day) or moment(timezone, day, at) > now:
        day -= _DAY
    return moment(timezone, day, at)


def next_due(at: time, timezone: str, after: int, on: OnDay = every_day) -> int:
    """The first such moment after another."""
    day = local_date(timezone, after)
    while not on(day) or moment(timezone, day, at) <= after:
        day += _DAY
    return moment(timezone, day, at)
