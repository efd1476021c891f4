"""How fast a channel grows and how evenly, at the end of each day, from what was known then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from core.buckets import local_date
from core.errors import InvalidInput
from core.history import Floats, Ints
from training.forecasting.result import CleanedStep
from training.forecasting.steps import WINDOW, steps, usual

#: Half-lives, in days, of the robust means of the daily changes: recent and usual growth.
HALF_LIVES = {"recent": 5.0, "usual": 20.0}
#: The fewest days with a reading that growth is told from.
LEAST_DAYS = 8
_CLIP = 3.0  # spreads: Huber's bound; steps are left out entirely
_ROUNDS = 8


@dataclass(frozen=True, slots=True, eq=False)
class DailySubscribers:
    """A channel's subscribers at the end of each day from `first_day` on; NaN where a day was not read."""

    channel: str
    first_day: date
    counts: Floats

    @classmethod
    def from_readings(cls, channel: str, ts: Ints, counts: Floats, timezone: str = "UTC") -> DailySubscribers:
        """The last reading of each day of a time zone. ts: epoch seconds, in any order; counts: as many."""
        if len(ts) != len(counts):
            raise InvalidInput(f"{len(ts)} times and {len(counts)} counts", field="counts")
        order = np.argsort(ts, kind="stable")
        last = {local_date(timezone, int(ts[i])): float(counts[i]) for i in order if np.isfinite(counts[i])}
        if not last:
            return cls(channel, date(1970, 1, 1), np.empty(0))
        first = min(last)
        values = np.full((max(last) - first).days + 1, np.nan)
        for day, count in last.items():
            values[(day - first).days] = count
        return cls(channel, first, values)

    def read(self) -> NDArray[np.intp]:
        """Places of the days with a reading. InvalidInput when a count is negative or infinite."""
        known = np.flatnonzero(~np.isnan(self.counts))
        if len(known) and not (np.isfinite(self.counts[known]).all() and (self.counts[known] >= 0).all()):
            raise InvalidInput(f"subscribers of {self.channel} are counts from 0 on", field="counts")
        return known


@dataclass(frozen=True, slots=True, eq=False)
class Drift:
    """Arrays by day from the first to the last reading (T).

    level: subscribers, days between readings on the line. read: whether there was a reading. origin: whether a forecast
    could be made at the day's end.
    days: with a reading so far. rates: T x len(HALF_LIVES), change a day over the level. scale: mean absolute distance
    of the daily changes from the usual rate, over the level. NaN where `origin` is False.
    """

    first_day: date
    level: Floats
    read: NDArray[np.bool_]
    origin: NDArray[np.bool_]
    days: Ints
    rates: Floats
    scale: Floats
    steps: tuple[CleanedStep, ...]

    @classmethod
    def of(cls, series: DailySubscribers) -> Drift:
        """Each day's row rests on that day and those before it."""
        known = series.read()
        start, stop = (int(known[0]), int(known[-1]) + 1) if len(known) else (0, 0)
        first = series.first_day + timedelta(days=start)
        counts = np.asarray(series.counts[start:stop], dtype=float)
        read = ~np.isnan(counts)
        level: Floats = np.interp(np.arange(stop - start), known - start, counts[read]) if len(known) else counts
        days = np.cumsum(read)
        rates, scale = np.full((len(level), len(HALF_LIVES)), np.nan), np.full(len(level), np.nan)
        cleaned: tuple[CleanedStep, ...] = ()
        if len(level) > 1:
            changes = np.diff(level)
            per_day, away, out = _robust(changes)
            floor = np.maximum(level, 1.0)  # an empty channel has no percentages
            rates[1:], scale[1:] = per_day / floor[1:, None], np.maximum(away, 0.5) / floor[1:]
            usual_now = per_day[-1, -1]
            cleaned = tuple(
                CleanedStep(first + timedelta(days=int(j) + 1), float(changes[j] - usual_now))
                for j in np.flatnonzero(out[-1])
            )
        origin = read & (days >= LEAST_DAYS)
        rates[~origin], scale[~origin] = np.nan, np.nan
        return cls(first, level, read, origin, days, rates, scale, cleaned)


def _robust(changes: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Rates (n x half-lives), mean absolute distance from the last of them (n), steps (n x n), by last change known.

    The rates are Huber's M-estimates of location (1964) with weights that halve every half-life, steps left out, found
    by reweighting from the median of the window.
    """
    n = len(changes)
    centre, spread = usual(changes)
    out = steps(changes, centre, spread)
    age = np.arange(n)[:, None] - np.arange(n)[None, :]
    used = (age >= 0) & ~out
    rates = []
    for half_life in HALF_LIVES.values():
        weight = np.where(used, 0.5 ** (np.maximum(age, 0) / half_life), 0.0)
        rate = centre
        for _ in range(_ROUNDS):
            distance = np.abs(changes[None, :] - rate[:, None])
            bounded = weight * np.minimum(1.0, _CLIP * spread[:, None] / np.maximum(distance, 1e-9))
            total = bounded.sum(axis=1)
            rate = np.where(total > 0, bounded @ changes / np.where(total > 0, total, 1.0), centre)
        rates.append(rate)
    distance = np.abs(changes[None, :] - rates[-1][:, None])
    away = (weight * distance).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-12)
    return np.stack(rates, axis=1), away, out


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Drifts side by side on the days from `first_day` on (C channels x T days), as in Drift; NaN outside of each."""

    channels: tuple[str, ...]
    first_day: date
    level: Floats
    read: NDArray[np.bool_]
    origin: NDArray[np.bool_]
    days: Ints
    rates: Floats
    scale: Floats

    @classmethod
    def of(cls, named: Sequence[tuple[str, Drift]]) -> Panel:
        """The days that any of them covers."""
        covered = [d for _, d in named if len(d.level)]
        first = min((d.first_day for d in covered), default=date(1970, 1, 1))
        length = max(((d.first_day - first).days + len(d.level) for d in covered), default=0)
        shape = (len(named), length)
        level, read, origin = np.full(shape, np.nan), np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        days, scale = np.zeros(shape, dtype=np.int64), np.full(shape, np.nan)
        rates = np.full((*shape, len(HALF_LIVES)), np.nan)
        for row, (_, drift) in enumerate(named):
            at = slice((drift.first_day - first).days, (drift.first_day - first).days + len(drift.level))
            if len(drift.level):
                level[row, at], read[row, at] = drift.level, drift.read
                origin[row, at], days[row, at] = drift.origin, drift.days
                rates[row, at], scale[row, at] = drift.rates, drift.scale
        return cls(tuple(name for name, _ in named), first, level, read, origin, days, rates, scale)


def effective(days: Ints) -> Floats:
    """Days that a rate rests on, at most WINDOW: with fewer, the rate itself is less certain."""
    return np.clip(days, 1, WINDOW).astype(float)
