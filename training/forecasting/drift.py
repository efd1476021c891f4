"""How fast a channel grows and how evenly, at the end of each day, from what was known then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from core.errors import InvalidInput
from core.history import Floats, Ints
from training.forecasting.result import CleanedStep
from training.forecasting.series import DailySeries
from training.forecasting.steps import steps, usual

#: Half-lives, in days, of the robust means of the daily changes: recent and usual growth.
HALF_LIVES = {"recent": 5.0, "usual": 20.0}
#: The fewest days with a reading that growth is told from.
LEAST_DAYS = 8
#: Days that a rate looks back, and that errors are remembered.
LOOK_BACK, MOST_DAYS = 120, 400
_CLIP = 3.0  # spreads: Huber's bound; steps are left out entirely
_ROUNDS = 6
_LEAST_AWAY = 0.5  # subscribers: counts are whole


@dataclass(frozen=True, slots=True, eq=False)
class Drift:
    """Arrays by day from the first to the last reading (T).

    level: subscribers, days between readings on the line. read: whether there was a reading. origin: whether a forecast
    could be made at the day's end. days: with a reading so far. rates: T x len(HALF_LIVES), change a day over the
    level. scale: mean absolute distance of the daily changes from the usual rate, over the level. rates and scale are
    NaN where `origin` is False. steps: as seen from the last day.
    """

    name: str
    first_day: date
    level: Floats
    read: NDArray[np.bool_]
    origin: NDArray[np.bool_]
    days: Ints
    rates: Floats
    scale: Floats
    steps: tuple[CleanedStep, ...]

    @classmethod
    def of(cls, subscribers: DailySeries) -> Drift:
        """Each day's row rests on that day and those before it. InvalidInput: a count below 0 or infinite."""
        series = subscribers.trimmed(MOST_DAYS)
        known, n = series.known, len(series.values)
        if (series.values[known] < 0).any():
            raise InvalidInput(f"subscribers of {series.name} are counts from 0 on", field="values")
        read = ~np.isnan(series.values)
        level: Floats = np.interp(np.arange(n), known, series.values[known]) if n else series.values
        days = np.cumsum(read)
        origin = read & (days >= LEAST_DAYS)
        rates, scale = np.full((n, len(HALF_LIVES)), np.nan), np.full(n, np.nan)
        cleaned: tuple[CleanedStep, ...] = ()
        if origin.any():
            changes = np.diff(level)
            a_day, away, done = _robust(changes)
            base = np.maximum(level[1:], 1.0)  # an empty channel has no percentages
            rates[1:], scale[1:] = a_day / base[:, None], np.maximum(away, _LEAST_AWAY) / base
            rates[~origin], scale[~origin] = np.nan, np.nan
            cleaned = tuple(
                CleanedStep(series.first_day + timedelta(days=n - len(done) + int(j)), float(done[j]))
                for j in np.flatnonzero(done)
            )
        return cls(series.name, series.first_day, level, read, origin, days, rates, scale, cleaned)


def _robust(changes: Floats) -> tuple[Floats, Floats, Floats]:
    """Rates (n x half-lives), mean absolute distance from the last of them (n), by the last change known; and what is
    known after all n as a step (changes less the usual rate, 0: none; of the last LOOK_BACK).

    The rates are Huber's M-estimates of location (1964) with weights that halve every half-life, steps left out, found
    by reweighting from the median of the window.
    """
    length = min(LOOK_BACK, len(changes))
    past = sliding_window_view(np.concatenate([np.full(length - 1, np.nan), changes]), length)
    centre, spread = usual(past)
    out = steps(past, centre, spread)
    used = np.isfinite(past) & ~out
    values = np.nan_to_num(past)
    rates, weight = [], used.astype(float)
    for half_life in HALF_LIVES.values():
        weight = used * 0.5 ** (np.arange(length)[::-1] / half_life)
        rate = centre
        for _ in range(_ROUNDS):
            bounded = weight * np.minimum(1.0, _CLIP * spread / np.maximum(np.abs(values - rate), 1e-9))
            total = bounded.sum(axis=1, keepdims=True)
            rate = np.where(
                total > 0, (bounded * values).sum(axis=1, keepdims=True) / np.maximum(total, 1e-300), centre
            )
        rates.append(rate)
    away = (weight * np.abs(values - rates[-1])).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-12)
    found = np.concatenate(rates, axis=1)
    return found, away, np.where(out[-1], past[-1] - found[-1, -1], 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Drifts:
    """Those of C channels side by side on T days from `first_day` on: arrays as in Drift, NaN or False outside."""

    names: tuple[str, ...]
    first_day: date
    level: Floats
    read: NDArray[np.bool_]
    origin: NDArray[np.bool_]
    days: Ints
    rates: Floats
    scale: Floats

    @classmethod
    def of(cls, drifts: Sequence[Drift]) -> Drifts:
        """On the days that any of them covers."""
        covered = [drift for drift in drifts if len(drift.level)]
        first = min((drift.first_day for drift in covered), default=date(1970, 1, 1))
        length = max(((drift.first_day - first).days + len(drift.level) for drift in covered), default=0)
        shape = (len(drifts), length)
        found = cls(
            tuple(drift.name for drift in drifts),
            first,
            level=np.full(shape, np.nan),
            read=np.zeros(shape, dtype=bool),
            origin=np.zeros(shape, dtype=bool),
            days=np.zeros(shape, dtype=np.int64),
            rates=np.full((*shape, len(HALF_LIVES)), np.nan),
            scale=np.full(shape, np.nan),
        )
        for row, drift in enumerate(drifts):
            start = (drift.first_day - first).days
            at = slice(start, start + len(drift.level)) if len(drift.level) else slice(0, 0)
            for name in ("level", "read", "origin", "days", "rates", "scale"):
                getattr(found, name)[row, at] = getattr(drift, name)
        return found
