"""The channel numbers as a Serve application without a route: stateless, so that replicas can be added."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ray import serve
from ray.serve import Application

from core.protocols import AnalyticsService
from core.schemas.analytics import DataStatus, Overview, PostRow, SeriesPoint
from core.schemas.health import Health

NAME = "analytics_fusion"


class AnalyticsReplica:
    """Runs the domain's class in threads, so that a long question does not hold up the replica."""

    def __init__(self, make: Callable[[], AnalyticsService]) -> None:
        self._analytics = make()

    async def overview(self, channel: str, days: int = 30, until: int | None = None) -> Overview:
        """See AnalyticsService."""
        return await asyncio.to_thread(self._analytics.overview, channel, days, until)

    async def posts(
        self, channel: str, limit: int = 20, order: str = "overperformance", age_h: int = 24
    ) -> tuple[PostRow, ...]:
        """See AnalyticsService."""
        return await asyncio.to_thread(self._analytics.posts, channel, limit, order, age_h)

    async def series(self, channel: str, metric: str, bucket: str = "day") -> tuple[SeriesPoint, ...]:
        """See AnalyticsService."""
        return await asyncio.to_thread(self._analytics.series, channel, metric, bucket)

    async def data_status(self, channel: str) -> DataStatus:
        """See AnalyticsService."""
        return await asyncio.to_thread(self._analytics.data_status, channel)

    async def health(self) -> Health:
        """See Service."""
        return await asyncio.to_thread(self._analytics.health)


def build_analytics(
    make: Callable[[], AnalyticsService], *, num_replicas: int = 1, actor_options: dict[str, Any] | None = None
) -> Application:
    """The application, run as "analytics_fusion" without a route. make: picklable, called inside the replica."""
    deployment = serve.deployment(
        name=NAME,
        num_replicas=num_replicas,
        ray_actor_options=actor_options or {"num_cpus": 0.1},
        max_ongoing_requests=16,
        max_surge_percent=100,
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=10.0,
    )(AnalyticsReplica)
    application: Application = deployment.bind(make)
    return application
