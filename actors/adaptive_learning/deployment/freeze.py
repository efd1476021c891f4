"""Weekly windows in which nothing rises: "Fri 16:00 - Mon 08:00 Europe/Berlin". Pure; the wall clock is passed in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.errors import InvalidInput

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MINUTES = 24 * 60
_WEEK = 7 * _MINUTES
_TIME = rf"({'|'.join(_DAYS)}) ([01]\d|2[0-3]):([0-5]\d)"
_WINDOW = re.compile(rf"{_TIME} ?- ?{_TIME} (\S+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Window:
    """From one minute of the week until another, on a zone's wall clock; it may run across the week's end."""

    text: str
    begins: int
    ends: int
    zone: ZoneInfo

    def holds(self, now: int) -> bool:
        """Whether a moment (Unix seconds) lies in it."""
        local = datetime.fromtimestamp(now, UTC).astimezone(self.zone)
        minute = local.weekday() * _MINUTES + local.hour * 60 + local.minute
        return (minute - self.begins) % _WEEK < (self.ends - self.begins) % _WEEK


def parsed(texts: tuple[str, ...]) -> tuple[Window, ...]:
    """The windows; InvalidInput for one that cannot be read, is empty, or names no known zone."""
    return tuple(_parsed(text) for text in texts)


def open_window(texts: tuple[str, ...], now: int) -> str:
    """The window that is open at a moment (Unix seconds); empty: none is."""
    return next((window.text for window in parsed(texts) if window.holds(now)), "")


def _parsed(text: str) -> Window:
    found = _WINDOW.fullmatch(text.strip())
    if found is None:
        raise InvalidInput(
            f"rollout.freeze: {text!r} is not like 'Fri 16:00 - Mon 08:00 Europe/Berlin'", field="rollout.freeze"
        )
    from_day, from_hour, from_minute, to_day, to_hour, to_minute, zone = found.groups()
    begins, ends = _minute(from_day, from_hour, from_minute), _minute(to_day, to_hour, to_minute)
    if begins == ends:
        raise InvalidInput(f"rollout.freeze: {text!r} begins and ends at once", field="rollout.freeze")
    try:
        return Window(text.strip(), begins, ends, ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: the name of a folder of zones
        raise InvalidInput(f"rollout.freeze: there is no time zone {zone!r}", field="rollout.freeze") from error


def _minute(day: str, hour: str, minute: str) -> int:
    return _DAYS.index(day.capitalize()) * _MINUTES + int(hour) * 60 + int(minute)
