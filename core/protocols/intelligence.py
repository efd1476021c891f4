"""What the domain that looks ahead offers."""

from __future__ import annotations

from typing import Protocol

from core.protocols.common import Service
from core.schemas.forecasts import Forecast, ForecastMetric, Ledger


class IntelligenceService(Service, Protocol):
    """What is next for a channel, and how sure that is."""

    def forecast(self, channel: str, metric: ForecastMetric = "subscribers", days: int = 30) -> Forecast:
        """The days ahead with 80 and 95 % intervals; what is given is kept in the ledger.

        NotFound, NoData and InsufficientData (a series too short to be judged by), InvalidInput (metric, days).
        """
        ...

    def ledger(self, channel: str, metric: ForecastMetric = "subscribers", limit: int = 100) -> Ledger:
        """Forecasts that were given, beside what came."""
        ...

    def score_due(self) -> int:
        """Hold all forecasts that are due to what came; returns how many points were settled."""
        ...
