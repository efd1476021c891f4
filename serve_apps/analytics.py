"""The channel numbers as a Serve application without a route: stateless, so that replicas can be added."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from ray import serve
from ray.serve import Application

from core.protocols import AnalyticsService
from core.schemas.analytics import DataStatus, Overview, PostCurve, PostRow, SeriesPoint
from core.schemas.channel_studies import AdReport, BeforeAfter, ChannelComparison, Mix, Percentiles, Quality, Trend
from core.schemas.competitors import Competition, Discovery, WatchList
from core.schemas.health import Health
from core.schemas.reports import Report, ReportFormat

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

    async def curve(self, channel: str, post_id: int) -> PostCurve:
        """See AnalyticsService."""
        return await asyncio.to_thread(self._analytics.curve, channel, post_id)

    async def mix(self, channel: str, days: int = 90, until: int | None = None) -> Mix:
        """See AnalyticsService."""
        return await asyncio.to_thread(self._analytics.mix, channel, days, until)

    async def percentiles(self, channel: str, days: int = 30) -> Percentiles:
        """See AnalyticsService."""
        return await asyncio.to_thread(self._analytics.percentiles, channel, days)

    async def compare(self, channels: Sequence[str], days: int = 30, until: int | None = None) -> ChannelComparison:
        """See AnalyticsService."""
        return await asyncio.to_thread(self._analytics.compare, channels, days, until)

    async def ads(self, channel: str, days: int = 90, until: int | None = None, price: float | None = None) -> AdReport:
        """See AnalyticsService."""
        return await asyncio.to_thread(self._analytics.ads, channel, days, until, price)

    async def quality(self, channel: str, days: int = 90, until: int | None = None) -> Quality:
        """See AnalyticsService."""
        return await asyncio.to_thread(self._analytics.quality, channel, days, until)

    async def trend(self, channel: str, metric: str, days: int = 90, until: int | None = None) -> Trend:
        """See AnalyticsService."""
        return await asyncio.to_thread(self._analytics.trend, channel, metric, days, until)

    async def before_after(self, channel: str, metric: str, at: int, days: int = 28) -> BeforeAfter:
        """See AnalyticsService."""
        return await asyncio.to_thread(self._analytics.before_after, channel, metric, at, days)

    async def watch_lists(self) -> tuple[WatchList, ...]:
        """See AnalyticsService."""
        return await asyncio.to_thread(self._analytics.watch_lists)

    async def watch_list(self, name: str) -> WatchList:
        """See AnalyticsService."""
        return await asyncio.to_thread(self._analytics.watch_list, name)

    async def put_watch_list(self, name: str, channels: Sequence[str]) -> WatchList:
        """See AnalyticsService."""
        return await asyncio.to_thread(self._analytics.put_watch_list, name, channels)

    async def remove_watch_list(self, name: str) -> None:
        """See AnalyticsService."""
        await asyncio.to_thread(self._analytics.remove_watch_list, name)

    async def discover(self, channel: str, limit: int = 20) -> Discovery:
        """See AnalyticsService."""
        return await asyncio.to_thread(self._analytics.discover, channel, limit)

    async def competition(
        self,
        channel: str,
        others: Sequence[str] = (),
        watch_list: str | None = None,
        days: int = 30,
        until: int | None = None,
    ) -> Competition:
        """See AnalyticsService."""
        return await asyncio.to_thread(self._analytics.competition, channel, others, watch_list, days, until)

    async def report(self, channel: str, format: ReportFormat, days: int = 30, until: int | None = None) -> Report:
        """See AnalyticsService."""
        return await asyncio.to_thread(self._analytics.report, channel, format, days, until)

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
