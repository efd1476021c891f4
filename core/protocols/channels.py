"""What the channel domains offer."""

from __future__ import annotations

from typing import Protocol

from core.protocols.common import Consumer, Service
from core.schemas.analytics import AnomalyFinding, DataStatus, Overview, PostRow, SeriesPoint


class AnalyticsService(Service, Protocol):
    """The numbers of a channel."""

    def overview(self, channel: str, days: int = 30, until: int | None = None) -> Overview:
        """A period against the equal period before it; figures without data say why."""
        ...

    def posts(
        self, channel: str, limit: int = 20, order: str = "overperformance", age_h: int = 24
    ) -> tuple[PostRow, ...]:
        """Posts at equal age; order: overperformance, views, published_at."""
        ...

    def series(self, channel: str, metric: str, bucket: str = "day") -> tuple[SeriesPoint, ...]:
        """views_gained, subscribers, posts by hour, day, week or month in the channel's zone."""
        ...

    def data_status(self, channel: str) -> DataStatus:
        """What is there and what is missing."""
        ...


class AnomalyService(Consumer, Protocol):
    """Finds, explains, grades and advises."""

    def catch_up(self) -> int:
        """Look at newly arrived days; returns the number of new findings."""
        ...

    def findings(self, channel: str | None = None, since: int | None = None) -> tuple[AnomalyFinding, ...]:
        """Stored findings, newest first; with causes and advice."""
        ...
