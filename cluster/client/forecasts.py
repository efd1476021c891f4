"""What is next: the forecasts' part of both clients."""

from __future__ import annotations

from cluster.client import forecast_calls
from cluster.client.transport import AsyncSender, Sender
from core.schemas.forecasts import Forecast, ForecastMetric, Ledger


class ChannelForecasts:
    """What is next for one channel."""

    def __init__(self, send: Sender, name: str) -> None:
        self._send, self.name = send, name

    def forecast(self, metric: ForecastMetric = "subscribers", days: int = 30) -> Forecast:
        """The days ahead with 80 and 95 % intervals; InsufficientData for a series too short to be judged by."""
        return self._send(forecast_calls.forecast(self.name, metric, days))

    def forecast_ledger(self, metric: ForecastMetric = "subscribers", limit: int = 100) -> Ledger:
        """Forecasts that were given, beside what came."""
        return self._send(forecast_calls.ledger(self.name, metric, limit))


class AsyncChannelForecasts:
    """Like ChannelForecasts; every method is awaited."""

    def __init__(self, send: AsyncSender, name: str) -> None:
        self._send, self.name = send, name

    async def forecast(self, metric: ForecastMetric = "subscribers", days: int = 30) -> Forecast:
        """The days ahead with 80 and 95 % intervals; InsufficientData for a series too short to be judged by."""
        return await self._send(forecast_calls.forecast(self.name, metric, days))

    async def forecast_ledger(self, metric: ForecastMetric = "subscribers", limit: int = 100) -> Ledger:
        """Forecasts that were given, beside what came."""
        return await self._send(forecast_calls.ledger(self.name, metric, limit))
