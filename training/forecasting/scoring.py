"""How a forecast that came due did, and how many of them did by horizon."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from core.errors import InvalidInput
from training.forecasting.result import Accuracy


class Intervals(Protocol):
    """What is scored: a HorizonForecast, or a stored point with its fields."""

    @property
    def mean(self) -> float: ...  # noqa: D102
    @property
    def lo80(self) -> float: ...  # noqa: D102
    @property
    def hi80(self) -> float: ...  # noqa: D102
    @property
    def lo95(self) -> float: ...  # noqa: D102
    @property
    def hi95(self) -> float: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Score:
    """error: of the mean, % of the actual value, positive when it was too high; NaN when the actual value is 0."""

    days: int
    error: float
    inside80: bool
    inside95: bool

    @property
    def ape(self) -> float:
        """Absolute percentage error."""
        return abs(self.error)


def score(days: int, forecast: Intervals, actual: float) -> Score:
    """Compare the forecast of a horizon with the value that came. InvalidInput when that is not a finite number."""
    if not math.isfinite(actual):
        raise InvalidInput(f"an actual value is a finite number, not {actual}", field="actual")
    error = (forecast.mean - actual) / abs(actual) * 100 if actual else math.nan
    inside80 = forecast.lo80 <= actual <= forecast.hi80
    return Score(days, error, inside80, forecast.lo95 <= actual <= forecast.hi95)


def accuracy(scores: Iterable[Score]) -> dict[int, Accuracy]:
    """By horizon, shortest first; horizons without any score are absent. Undefined percentages do not count in means.

    >>> accuracy([Score(7, 1.0, True, True), Score(7, -3.0, False, True)])
    {7: Accuracy(n=2, mape=2.0, coverage80=0.5, coverage95=1.0, bias=-1.0)}
    """
    by_days: dict[int, list[Score]] = {}
    for one in scores:
        by_days.setdefault(one.days, []).append(one)
    return {
        days: summary(np.array([s.error for s in rows]), [s.inside80 for s in rows], [s.inside95 for s in rows])
        for days, rows in sorted(by_days.items())
    }


def summary(error: np.ndarray, inside80: object, inside95: object) -> Accuracy:
    """Accuracy of rows: signed errors in % (NaN: undefined) and whether the value lay inside each interval."""
    n = len(error)
    known = error[np.isfinite(error)]
    mape, bias = (float(np.mean(np.abs(known))), float(np.mean(known))) if len(known) else (math.nan, math.nan)
    covered = [float(np.mean(np.asarray(inside, dtype=float))) if n else math.nan for inside in (inside80, inside95)]
    return Accuracy(n, mape, covered[0], covered[1], bias)
