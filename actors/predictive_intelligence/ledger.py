"""Holds given forecasts to what came: which points can be scored by now, and how scored ones did."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np

from actors.predictive_intelligence.forecasts import horizon_accuracy
from core.buckets import day_start, local_date
from core.clock import DAY
from core.history import ChannelHistory
from core.metrics import forecast_values
from core.schemas.forecasts import ForecastMetric, HorizonAccuracy, LedgerEntry
from core.store.forecasts import Place
from training.forecasting import scoring

#: A day that nobody measured by then is given up.
PATIENCE = 7 * DAY


def settled(history: ChannelHistory, due: Sequence[LedgerEntry], now: int) -> dict[Place, float | None]:
    """What came of points that are due; None: nobody measured it. Points still worth waiting for are left out."""
    found: dict[Place, float | None] = {}
    for entry in due:
        value = measured(history, entry.metric, entry.point.at)
        if value is not None or now - entry.point.at > PATIENCE:
            found[entry.metric, entry.origin, entry.point.horizon_days] = value
    return found


def measured(history: ChannelHistory, metric: ForecastMetric, end: int) -> float | None:
    """The metric of the day of the channel's zone that ends at a moment; None: not known (yet)."""
    zone = history.channel.timezone
    begin = day_start(zone, local_date(zone, end) - timedelta(days=1))
    value = float(forecast_values(history, metric, np.array([begin, end], dtype=np.int64))[0])
    return None if np.isnan(value) else value


def accuracy(entries: Sequence[LedgerEntry]) -> tuple[HorizonAccuracy, ...]:
    """How scored points did, by horizon."""
    scored = ((entry.point, entry.actual) for entry in entries)
    scores = [scoring.score(point.horizon_days, point, came) for point, came in scored if came is not None]
    return tuple(horizon_accuracy(days, found) for days, found in scoring.accuracy(scores).items())
