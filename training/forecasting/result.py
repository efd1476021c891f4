"""What a forecast of a daily series says: by horizon a mean with intervals, why, and how good it was before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How forecasts of one horizon did against what came; NaN where n is 0.

    n: forecasts that came due (those of neighbouring origins overlap, so they are worth about n / horizon independent
    ones). mape, bias: mean absolute and mean signed error, % of the actual value (positive bias: too high).
    coverage80, coverage95: shares of actual values inside the intervals.
    """

    n: int
    mape: float
    coverage80: float
    coverage95: float
    bias: float


@dataclass(frozen=True, slots=True)
class HorizonForecast:
    """The value expected so many days after the origin, and the intervals that 80 and 95 of 100 values lie in.

    weights: how much each member counts, summing to 1. backtest: how the same method did on this series at earlier
    origins, each with what was known then.
    """

    days: int
    mean: float
    lo80: float
    hi80: float
    lo95: float
    hi95: float
    weights: Mapping[str, float]
    backtest: Accuracy


@dataclass(frozen=True, slots=True)
class CleanedStep:
    """A change that the forecast takes as done once and not as growth. size: beyond the usual change of a day."""

    day: date
    size: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """origin: the last day with a value, from whose end horizons count. notes: what to know before believing it."""

    series: str
    origin: date
    last: float
    horizons: tuple[HorizonForecast, ...]
    steps: tuple[CleanedStep, ...]
    notes: tuple[str, ...]
