"""When a scheduled report is due and what it is of; whether a schedule makes sense."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import get_args

from actors.alerts_fusion import due
from actors.alerts_fusion.quiet import clock_time
from core.buckets import local_date, zone
from core.errors import InvalidInput
from core.schemas.alerts import Target
from core.schemas.report_schedules import ReportSchedule, ReportSpec
from core.schemas.reports import ReportFormat

MOST_CHANNELS = 20
MOST_TARGETS = 10
LAST_DAY = 28  # that every month has


@dataclass(frozen=True, slots=True)
class Due:
    """A period that is to be reported of."""

    at: int
    days: int  # complete ones before it
    missed: tuple[int, ...]  # moments before it at which nobody was there


def checked(spec: ReportSpec, check_target: Callable[[Target], None]) -> ReportSpec:
    """The schedule as it was given; InvalidInput names the field. check_target: raises for one that cannot be told."""
    if not spec.name.strip() or len(spec.name) > 200 or not spec.name.isprintable():
        raise InvalidInput("a schedule has a name of 1 to 200 characters on one line", field="name")
    if (spec.watch_list is None) == (not spec.channels):
        raise InvalidInput("name the channels that are meant, or one watch list", field="channels")
    if len(spec.channels) > MOST_CHANNELS or len(set(spec.channels)) < len(spec.channels):
        raise InvalidInput(f"1 to {MOST_CHANNELS} channels, each once", field="channels")
    zone(spec.timezone)
    clock_time(spec.at, "at")
    if not 0 <= spec.weekday <= 6:
        raise InvalidInput(f"weekday {spec.weekday}: 0 for Monday to 6 for Sunday", field="weekday")
    if not 1 <= spec.day <= LAST_DAY:
        raise InvalidInput(f"day {spec.day} of the month: 1 to {LAST_DAY}, which every month has", field="day")
    formats = ("message", *get_args(ReportFormat))
    if spec.format not in formats:
        raise InvalidInput(f"no report as {spec.format!r}: use one of {', '.join(formats)}", field="format")
    if not 1 <= len(spec.targets) <= MOST_TARGETS or len(set(spec.targets)) < len(spec.targets):
        raise InvalidInput(f"a report goes to 1 to {MOST_TARGETS} targets, each named once", field="targets")
    for target in spec.targets:
        check_target(target)
    return spec


def next_due(spec: ReportSpec, after: int) -> int:
    """The first moment after another at which it is due."""
    return due.next_due(clock_time(spec.at, "at"), spec.timezone, after, _days(spec))


def due_now(schedule: ReportSchedule, now: int) -> Due | None:
    """The newest period that is due and was not written yet; None: there is none."""
    spec, missed, at = schedule.spec, list[int](), schedule.next_due
    if at > now:
        return None
    while (later := next_due(spec, at)) <= now:
        missed.append(at)
        at = later
    return Due(at, _length(spec, at), tuple(missed))


def _days(spec: ReportSpec) -> due.OnDay:
    def on(day: date) -> bool:
        return {"daily": True, "weekly": day.weekday() == spec.weekday, "monthly": day.day == spec.day}[spec.period]

    return on


def _length(spec: ReportSpec, at: int) -> int:
    """Days since the due day before: 28 to 31 of a month."""
    before = due.last_due(clock_time(spec.at, "at"), spec.timezone, at - 1, _days(spec))
    return (local_date(spec.timezone, at) - local_date(spec.timezone, before)).days
