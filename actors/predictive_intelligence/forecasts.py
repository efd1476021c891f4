"""A channel's days ahead, as the forecasters of `training.forecasting` tell them, in the channel's own calendar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from core.buckets import day_start, shown
from core.clock import DAY
from core.errors import NoData
from core.metrics import metric as metric_of
from core.schemas.channels import Channel
from core.schemas.forecasts import CleanedStep, Forecast, ForecastMetric, ForecastPoint, HorizonAccuracy, MemberWeight
from training.forecasting import daily, growth
from training.forecasting.growth import GrowthPool
from training.forecasting.result import Accuracy, HorizonForecast
from training.forecasting.result import Forecast as Told
from training.forecasting.series import DailySeries

#: A last known day older than this is told.
STALE_DAYS = 2
#: Weights below this are rounding.
_LEAST_WEIGHT = 0.005


def subscribers(channel: Channel, days: DailySeries | None, horizons_days: Sequence[int], pool: GrowthPool) -> Forecast:
    """Subscribers at the ends of later days. NoData without a known day, InsufficientData with too few for these."""
    known = _known(channel, "subscribers", days)
    return _as_schema(channel, "subscribers", growth.forecast(known, horizons_days, pool))


def views(channel: Channel, days: DailySeries | None, horizons_days: Sequence[int]) -> Forecast:
    """Views that later days add, weekly pattern included; errors as for subscribers."""
    known = _known(channel, "views_gained", days)
    return _as_schema(channel, "views_gained", daily.forecast_metric(known, horizons_days, quick=True))


def dated(forecast: Forecast, now: int) -> Forecast:
    """Says so where the last known day lies back: days ahead are counted from there."""
    days = (now - forecast.origin) // DAY
    if days <= STALE_DAYS:
        return forecast
    line = (
        f"the last known day ended {days} days ago, on {shown(forecast.origin - 1)[:10]}: days ahead count from there"
    )
    return replace(forecast, notes=(*forecast.notes, line))


def _known(channel: Channel, metric: ForecastMetric, days: DailySeries | None) -> DailySeries:
    if days is None or not len(days.known):
        raise NoData(f"{channel.name}: no day of {metric} is known", channel=channel.name)
    return days


def _as_schema(channel: Channel, metric: ForecastMetric, told: Told) -> Forecast:
    def end_of(days_ahead: int) -> int:
        return day_start(channel.timezone, told.origin + timedelta(days=days_ahead + 1))

    return Forecast(
        channel=channel.name,
        metric=metric,
        unit=metric_of(metric).unit,
        origin=end_of(0),
        last=told.last,
        points=tuple(_point(h, end_of(h.days)) for h in told.horizons),
        members=_members(told.horizons),
        backtest=tuple(horizon_accuracy(h.days, h.backtest) for h in told.horizons if h.backtest.n),
        steps=tuple(CleanedStep(day_start(channel.timezone, step.day), step.size) for step in told.steps),
        notes=told.notes,
    )


def _point(told: HorizonForecast, at: int) -> ForecastPoint:
    return ForecastPoint(told.days, at, told.mean, told.lo80, told.hi80, told.lo95, told.hi95)


def _members(told: Sequence[HorizonForecast]) -> tuple[MemberWeight, ...]:
    """Mean weights over the horizons, largest first."""
    names = {name for one in told for name in one.weights}
    mean = {name: sum(one.weights.get(name, 0.0) for one in told) / len(told) for name in names}
    kept = {name: weight for name, weight in mean.items() if weight >= _LEAST_WEIGHT}
    total = sum(kept.values())
    ordered = sorted(kept, key=lambda name: (-kept[name], name))
    return tuple(MemberWeight(name, kept[name] / total) for name in ordered)


def horizon_accuracy(days: int, told: Accuracy) -> HorizonAccuracy:
    """An accuracy in percent as fractions, what is undefined as None."""

    def known(value: float, unit: float = 1.0) -> float | None:
        return None if math.isnan(value) else value / unit

    percent = 100.0
    return HorizonAccuracy(
        days,
        told.n,
        known(told.mape, percent),
        known(told.bias, percent),
        known(told.coverage80),
        known(told.coverage95),
    )
