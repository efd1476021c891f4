"""Forecasts of a channel's daily metrics (views gained, posts, reactions): the engine, told as growth is told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.history import Floats
from training.forecasting.asked import checked, enough
from training.forecasting.backtest import Backtest
from training.forecasting.batch import LEAST, Batch
from training.forecasting.conformal import calibrate
from training.forecasting.forecaster import Forecasts, forecast
from training.forecasting.result import Accuracy, Forecast, HorizonForecast
from training.forecasting.scoring import summary
from training.forecasting.series import DailySeries

WEEK = 7
MOST_DAYS = 3 * 366


def forecast_metric(
    series: DailySeries,
    horizons_days: Sequence[int],
    *,
    peers: Sequence[DailySeries] = (),
    season: int = WEEK,
    seed: int = 0,
    quick: bool = False,
) -> Forecast:
    """The metric's value on the day so many days after its last known one.

    peers: the same metric of other channels, of which the days up to that day count. season, quick and seed as in the
    engine's `forecast`. InsufficientData with fewer than LEAST days known or days that span less than a REACH-th of a
    horizon, NoData without any; InvalidInput for a horizon outside 1..LONGEST_HORIZON.
    """
    horizons = checked(horizons_days)
    own = series.trimmed(MOST_DAYS)
    enough(series.name, known=len(own.known), span=len(own.values), least=LEAST, horizon=max(horizons))
    group = [other for peer in peers if (other := _beside(peer, own)) is not None]
    found = forecast(
        Batch.of([own.values, *(other.values for other in group)], season), max(horizons), seed=seed, quick=quick
    )
    weights = dict(zip(found.backtest.names, map(float, found.weights[0]), strict=True))
    told = tuple(
        HorizonForecast(
            days,
            float(found.mean[0, days - 1]),
            float(found.lo80[0, days - 1]),
            float(found.hi80[0, days - 1]),
            float(found.lo95[0, days - 1]),
            float(found.hi95[0, days - 1]),
            weights,
            _backtest(found, days - 1),
        )
        for days in horizons
    )
    unread = int(np.isnan(own.values).sum())
    notes = (f"{unread} of {len(own.values)} days have no value",) if unread else ()
    return Forecast(series.name, own.last_day, float(own.values[-1]), told, (), notes)


def _beside(peer: DailySeries, own: DailySeries) -> DailySeries | None:
    """The peer up to the same last day; None where it is not known then or too short."""
    days = (own.last_day - peer.first_day).days + 1
    if not 0 < days <= len(peer.values):
        return None
    cut = DailySeries(peer.name, peer.first_day, peer.values[:days]).trimmed(MOST_DAYS)
    return cut if len(cut.known) >= LEAST and cut.last_day == own.last_day else None


def _backtest(found: Forecasts, step: int) -> Accuracy:
    """How the mixture did on the first series at a step; each origin beside intervals from the other origins."""
    tested: Backtest = found.backtest
    truth, residual = tested.truth[:, 0, step], found.residuals[:, 0, step]
    known = np.flatnonzero(np.isfinite(residual))
    inside: list[Floats] = []
    for origin in known:
        others = np.delete(found.residuals, origin, axis=0)
        spread = calibrate(others, _typical(others))
        within = (residual[origin] >= spread.below[:, 0, step]) & (residual[origin] <= spread.above[:, 0, step])
        inside.append(within)
    covered = np.array(inside).reshape(len(known), 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(truth[known] != 0, -residual[known] / np.abs(truth[known]) * 100, np.nan)
    return summary(error, covered[:, 0], covered[:, 1])


def _typical(residuals: Floats) -> Floats:
    """Mean absolute residual of each series (n)."""
    known = np.isfinite(residuals)
    sums = np.where(known, np.abs(residuals), 0.0).sum(axis=(0, 2))
    result: Floats = sums / np.maximum(known.sum(axis=(0, 2)), 1)
    return result
