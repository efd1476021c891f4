"""Whether somebody may be told now, or when the quiet hours end."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

from core.buckets import local_date, zone
from core.errors import InvalidInput
from core.schemas.alerts import QuietHours, Severity

_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


def clock_time(text: str, field: str) -> time:
    """HH:MM; InvalidInput."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise InvalidInput(f"{text!r} is no time of day: use HH:MM, 00:00 to 23:59", field=field)
    return time(int(found[1]), int(found[2]))


def check(hours: QuietHours) -> None:
    """InvalidInput for a zone that does not exist, a time that is none, or a whole day of quiet."""
    zone(hours.timezone)
    if clock_time(hours.start, "quiet.start") == clock_time(hours.end, "quiet.end"):
        raise InvalidInput("quiet hours that end when they begin leave no time to tell anything", field="quiet.end")


def ends(hours: QuietHours | None, severity: Severity, now: int) -> int | None:
    """The end of the quiet hours that `now` lies in; None: somebody may be told.

    On days when the zone's clocks change, hours that do not exist are skipped and doubled ones last.
    """
    if hours is None or (hours.critical_passes and severity == "critical"):
        return None
    today = local_date(hours.timezone, now)
    start, end = clock_time(hours.start, "quiet.start"), clock_time(hours.end, "quiet.end")
    for day in (today - timedelta(days=1), today):
        begun = moment(hours.timezone, day, start)
        over = moment(hours.timezone, day + timedelta(days=1) if end <= start else day, end)
        if begun <= now < over:
            return over
    return None


def moment(timezone: str, day: date, at: time) -> int:
    """Epoch second of a time of day in a zone."""
    return int(datetime.combine(day, at, tzinfo=zone(timezone)).astimezone(UTC).timestamp())
