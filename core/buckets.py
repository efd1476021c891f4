"""Hours, days, weeks and months of a channel's own time zone, as boundaries in epoch seconds."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from core.clock import HOUR
from core.errors import InvalidInput
from core.history import Ints

Bucket = Literal["hour", "day", "week", "month"]
BUCKETS: tuple[Bucket, ...] = get_args(Bucket)


@lru_cache(maxsize=256)
def zone(name: str) -> ZoneInfo:
    """The time zone of that name; InvalidInput for one that is not in the tz database."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InvalidInput(f"no time zone {name!r}: use a name such as 'Europe/Moscow' or 'UTC'", field="tz") from error


def local_date(timezone: str, moment: int) -> date:
    """The calendar day of a moment in a zone."""
    return datetime.fromtimestamp(moment, zone(timezone)).date()


@lru_cache(maxsize=65536)
def day_start(timezone: str, day: date) -> int:
    """Epoch second at which a calendar day begins in a zone."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone(timezone)).timestamp())


def edges(timezone: str, bucket: Bucket, since: int, until: int) -> Ints:
    """Boundaries of the buckets that cover [since, until): b + 1 increasing epoch seconds for b buckets.

    The first is at or before `since`, the last at or after `until`. Days follow the zone's clock changes (23 or 25
    hours); weeks begin on Monday; hours are counted from local midnight.
    """
    if bucket not in BUCKETS:
        raise InvalidInput(f"no bucket {bucket!r}: use one of {', '.join(BUCKETS)}", field="bucket")
    if until <= since:
        raise InvalidInput(f"the period ends ({until}) before it begins ({since})", field="until")
    day = local_date(timezone, since)
    if bucket == "hour":
        base = day_start(timezone, day)
        first = base + (since - base) // HOUR * HOUR
        return np.arange(first, until + HOUR, HOUR, dtype=np.int64)
    if bucket == "week":
        day -= timedelta(days=day.weekday())
    elif bucket == "month":
        day = day.replace(day=1)
    found = [day_start(timezone, day)]
    while found[-1] < until:
        day = _next(day, bucket)
        found.append(day_start(timezone, day))
    return np.array(found, dtype=np.int64)


def _next(day: date, bucket: Bucket) -> date:
    if bucket == "month":
        return (day.replace(day=28) + timedelta(days=4)).replace(day=1)
    return day + timedelta(days=7 if bucket == "week" else 1)


def shown(moment: int, timezone: str = "UTC") -> str:
    """A moment for a person: date, and the time where it is not midnight."""
    local = datetime.fromtimestamp(moment, UTC if timezone == "UTC" else zone(timezone))
    return local.strftime("%Y-%m-%d" if (local.hour, local.minute) == (0, 0) else "%Y-%m-%d %H:%M")
