"""Reports that are sent by themselves: of what, when, in which form, to whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from core.schemas.alerts import Target
from core.schemas.reports import ReportFormat

Period = Literal["daily", "weekly", "monthly"]
#: a file, or the overview in words
ScheduledFormat = ReportFormat | Literal["message"]


@dataclass(frozen=True, slots=True)
class ReportSpec:
    """A report of every channel named, or of a watch list's as it is then, to every target."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    name: str
    channels: tuple[str, ...] = ()
    watch_list: str | None = None
    period: Period = "weekly"  # also the days that it is of: 1, 7, or those since the month before
    at: str = "09:00"  # HH:MM in the zone
    timezone: str = "UTC"
    weekday: int = 0  # weekly: from Monday, 0 to 6
    day: int = 1  # monthly: 1 to 28, which every month has
    format: ScheduledFormat = "message"
    targets: tuple[Target, ...] = (Target("log"),)


@dataclass(frozen=True, slots=True)
class ReportSchedule:
    """A stored one; addresses are shown without what may be secret in them."""

    id: str
    spec: ReportSpec
    created_at: int
    last_due: int | None  # the newest that was sent
    next_due: int


@dataclass(frozen=True, slots=True)
class ReportsSent:
    """What one look at the schedules did."""

    reports: int = 0  # a channel's, written for delivery
    missed: int = 0  # due while nobody was there, and not made up for
    failed: int = 0  # schedules that could not be done now, and are tried again
