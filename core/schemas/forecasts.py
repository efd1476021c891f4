"""Forecasts of a channel's daily figures, and the ledger that holds each one to what came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

#: What can be forecast: the subscriber count at the end of a day, the views that a day adds.
ForecastMetric = Literal["subscribers", "views_gained"]
FORECAST_METRICS: tuple[ForecastMetric, ...] = get_args(ForecastMetric)
#: Days ahead that every forecast answers; others are added by asking for them.
HORIZONS_DAYS = (1, 7, 14, 30, 60, 90)
MOST_DAYS = 365


@dataclass(frozen=True, slots=True)
class ForecastPoint:
    """What is expected of a day, in the metric's unit."""

    horizon_days: int
    at: int  # the end of that day in the channel's zone
    mean: float
    lo80: float
    hi80: float
    lo95: float
    hi95: float


@dataclass(frozen=True, slots=True)
class HorizonAccuracy:
    """How forecasts of a horizon did against what was measured."""

    horizon_days: int
    n: int
    mape: float | None  # mean |error| / actual, fraction; None: nothing with an actual above zero
    bias: float | None  # mean error / actual, fraction; positive: forecasts were too high
    coverage80: float | None  # share of actual values inside the interval
    coverage95: float | None


@dataclass(frozen=True, slots=True)
class MemberWeight:
    """A method's share in the mean."""

    name: str
    weight: float


@dataclass(frozen=True, slots=True)
class CleanedStep:
    """A jump that was taken out before looking for a trend (mass loss, ad, purge)."""

    at: int
    size: float  # in the metric's unit


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is next for a metric of a channel, and how forecasts like it did.

    backtest: forecasts made in hindsight from earlier days of the same data. past: forecasts that were really given
    to somebody and have come due since.
    """

    channel: str
    metric: ForecastMetric
    unit: str
    origin: int  # the end of the last day that is known
    last: float  # the value of that day
    points: tuple[ForecastPoint, ...]
    members: tuple[MemberWeight, ...]
    backtest: tuple[HorizonAccuracy, ...]
    past: tuple[HorizonAccuracy, ...] = ()
    steps: tuple[CleanedStep, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A point of a stored forecast; actual: None until it is due and measured."""

    metric: ForecastMetric
    origin: int
    made_at: int
    point: ForecastPoint
    actual: float | None = None
    scored_at: int | None = None  # with no actual: nobody measured that day


@dataclass(frozen=True, slots=True)
class Ledger:
    """Every forecast of a channel's metric that was given, newest first, and how they did."""

    channel: str
    metric: ForecastMetric
    accuracy: tuple[HorizonAccuracy, ...]
    entries: tuple[LedgerEntry, ...]
    pending: int  # points that are not due yet
    unmeasured: int  # points whose day nobody measured
