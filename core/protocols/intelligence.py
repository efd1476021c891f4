"""What the domain that looks ahead offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from core.protocols.common import Service
from core.schemas.forecasts import Forecast, ForecastMetric, Ledger
from core.schemas.links import CrossChannel, Influence, MentionLifts
from core.schemas.predictions import Quantiles, Target
from core.schemas.scenarios import PlannedPost, Scenario
from core.schemas.timing import BestTimes, Context, Seasonality


class Foreteller(Protocol):
    """What scenarios ask of the model in service."""

    def foretell(self, channel: str, posts: tuple[PlannedPost, ...]) -> tuple[dict[Target, Quantiles], ...]:
        """Views of posts that are to come, each on its own and in their order; nothing is logged."""
        ...


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

    def best_times(self, channel: str, days: int = 180) -> BestTimes:
        """What the hour and the weekday of publishing do to views, content held equal.

        NotFound, NoData, InsufficientData (fewer than 40 posts with views), InvalidInput (days).
        """
        ...

    def seasonality(self, channel: str, days: int = 180) -> Seasonality:
        """Daily and weekly rhythm of views, and the half-life of posts; NotFound, NoData."""
        ...

    def context(self, channel: str, days: int = 180) -> Context:
        """Factors of the configured calendar, each cited; NotConfigured without one."""
        ...

    def scenario(
        self,
        channel: str,
        posts_per_day: float | None = None,
        hour: int | None = None,
        text_len: int | None = None,
        media: str | None = None,
    ) -> Scenario:
        """What would change if the channel published otherwise.

        NotFound, NoData, InsufficientData, InvalidInput (nothing changed, or outside its range), NotConfigured and
        Refused (no model in service).
        """
        ...

    def cross_channel(
        self, metric: str = "net_growth", channels: Sequence[str] = (), days: int = 180, lags: int = 7
    ) -> CrossChannel:
        """Which channels' days follow which others'; no channels: all. NotFound, InsufficientData, InvalidInput."""
        ...

    def influence(self, channel: str | None = None, limit: int = 100) -> Influence:
        """Who names whom, and whom the graph of mentions leads to; NoData."""
        ...

    def mention_lift(self, channel: str | None = None) -> MentionLifts:
        """What mentions bring, beside other moments of the same channel; NotFound, NoData."""
        ...
