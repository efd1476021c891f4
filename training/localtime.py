"""A channel's own clock: hours and weekdays in its zone."""

from __future__ import annotations

import math
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.errors import InvalidInput


def zone_of(name: str) -> tzinfo:
    """The zone of a name; InvalidInput."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InvalidInput(f"{name!r} is not a time zone", field="timezone") from error


def local_time(ts: int, zone: tzinfo) -> tuple[float, int]:
    """Hour (with minutes as a fraction) and weekday in a zone."""
    at = datetime.fromtimestamp(ts, UTC).astimezone(zone)
    return at.hour + at.minute / 60, at.weekday()


def clock_features(local: tuple[float, int]) -> list[float]:
    """Two harmonics of the hour, one of the weekday, and whether it is a weekend, in the order of names.TIME."""
    hour, weekday = local
    day, week = 2 * math.pi * hour / 24, 2 * math.pi * weekday / 7
    return [
        math.sin(day),
        math.cos(day),
        math.sin(2 * day),
        math.cos(2 * day),
        math.sin(week),
        math.cos(week),
        float(weekday >= 5),
    ]
