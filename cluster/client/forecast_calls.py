"""Questions about what is next, as values."""

from __future__ import annotations

from cluster.client.calls import Call, _get, _name
from core.schemas.forecasts import Forecast, ForecastMetric, Ledger


def forecast(name: str, metric: ForecastMetric, days: int) -> Call[Forecast]:
    """The days ahead."""
    return _get(Forecast, f"/v1/channels/{_name(name)}/forecasts/{metric}", days=days)


def ledger(name: str, metric: ForecastMetric, limit: int) -> Call[Ledger]:
    """Forecasts that were given, and what came."""
    return _get(Ledger, f"/v1/channels/{_name(name)}/forecasts/{metric}/ledger", limit=limit)
