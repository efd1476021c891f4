"""Factors from outside a channel: only such as a configured calendar names, each with the source that it cites.

A calendar is a JSON list of objects or a CSV file with the columns date (2026-01-01), name, source, and optionally
until (the last day). Nothing is known of holidays or platforms' events without one.
"""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.predictive_intelligence.temporal import local
from core.buckets import local_date
from core.errors import InvalidInput, NotConfigured
from core.history import ChannelHistory
from core.intervals import block_rows, interval, lacking
from core.levels import Levelled, levelled
from core.schemas.channel_studies import Estimate
from core.schemas.timing import Context, Factor

Bools = NDArray[np.bool_]

LEAST = 5  # posts on each side of a comparison
MOST_DAYS = 60  # of one entry
_DRAWS = 500
_SEED = 20_045


@dataclass(frozen=True, slots=True)
class Event:
    """A day, or days, with a name and who says so."""

    first: date
    last: date
    name: str
    source: str

    @property
    def days(self) -> tuple[date, ...]:
        """Every one of its days."""
        return tuple(self.first + timedelta(days=k) for k in range((self.last - self.first).days + 1))


@dataclass(frozen=True, slots=True)
class Calendar:
    """The entries of a file."""

    file: str
    events: tuple[Event, ...]


def parsed(text: str, file: str) -> Calendar:
    """The calendar in a file's text, by its suffix; InvalidInput names the entry and the field that cannot be read."""
    if file.endswith(".json"):
        try:
            rows = json.loads(text)
        except ValueError as error:
            raise InvalidInput(f"{file}: not JSON ({error})", field="calendar") from error
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InvalidInput(f"{file}: a list of objects is expected", field="calendar")
    elif file.endswith(".csv"):
        rows = list(csv.DictReader(io.StringIO(text)))
    else:
        raise InvalidInput(f"{file}: a .json or .csv file is expected", field="calendar")
    return Calendar(file, tuple(_event(row, f"{file}, entry {k}") for k, row in enumerate(rows, 1)))


def _event(row: dict[str, Any], where: str) -> Event:
    for field in ("date", "name", "source"):
        if not str(row.get(field) or "").strip():
            raise InvalidInput(f"{where}: no {field}; every factor is cited", field=field)
    first = _date(row["date"], f"{where}, date")
    last = _date(row["until"], f"{where}, until") if row.get("until") else first
    if not 0 <= (last - first).days < MOST_DAYS:
        raise InvalidInput(f"{where}: {first} until {last}: between 1 and {MOST_DAYS} days", field="until")
    return Event(first, last, str(row["name"]).strip(), str(row["source"]).strip())


def _date(value: Any, where: str) -> date:
    try:
        return date.fromisoformat(str(value).strip())
    except ValueError as error:
        raise InvalidInput(f"{where}: {value!r} is not a date like 2026-01-01", field="date") from error


def context(history: ChannelHistory, calendar: Calendar | None, since: int, until: int) -> Context:
    """Each factor with days in [since, until) in the channel's zone, and what posts of these days reached.

    NotConfigured without a calendar. An effect compares the posts of a factor's days with the posts of days that the
    calendar does not name, each beside its own level.
    """
    if calendar is None:
        raise NotConfigured("no calendar: name a file in ANALYTICBOT_CALENDAR (docs/intelligence.md, Context)")
    timezone = history.channel.timezone
    first, last = local_date(timezone, since), local_date(timezone, until - 1)
    factors: dict[tuple[str, str], set[date]] = defaultdict(set)
    for event in calendar.events:
        factors[event.name, event.source] |= {day for day in event.days if first <= day <= last}
    posts = levelled(history, since, until)
    _, _, day = local(timezone, history.published_at[posts.at])
    named = {each.toordinal() for days in factors.values() for each in days}
    usual = ~np.isin(day, list(named))
    rng = np.random.default_rng(_SEED)
    found = [
        Factor(
            name,
            source,
            tuple(each.isoformat() for each in sorted(days)),
            _effect(posts, np.isin(day, [each.toordinal() for each in days]), usual, rng),
        )
        for (name, source), days in sorted(factors.items(), key=lambda item: (min(item[1], default=date.max), item[0]))
        if days
    ]
    notes = ["what else happened on these days counts as the factor's effect"]
    if not found:
        notes.insert(0, "the calendar names no day of this period")
    return Context(history.channel.name, calendar.file, since, until, tuple(found), tuple(notes))


def _effect(posts: Levelled, mine: Bools, usual: Bools, rng: np.random.Generator) -> Estimate:
    n = int(mine.sum())
    if n < LEAST or usual.sum() < LEAST:
        return lacking(n, f"needs {LEAST} posts with views on each side, has {n} and {int(usual.sum())}")
    one, two = posts.residual[mine], posts.residual[usual]
    drawn = one[block_rows(n, rng, _DRAWS)].mean(axis=1) - two[block_rows(len(two), rng, _DRAWS)].mean(axis=1)
    low, high = interval(drawn)
    return Estimate(float(np.expm1(one.mean() - two.mean())), float(np.expm1(low)), float(np.expm1(high)), n)
