"""Routes about channels: what is collected, the numbers, and what was unusual."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from core.schemas.analytics import AnomalyFinding, DataStatus, Overview, PostRow, SeriesPoint
from core.schemas.channels import Channel
from serve_apps.gateway.reply import Page, cached, in_thread, page
from serve_apps.gateway.services import GatewayParts

Limit = Annotated[int, Query(ge=1, le=500)]
Moment = Annotated[int | None, Query(ge=0, le=4_102_444_800, description="epoch seconds")]


def build(parts: GatewayParts) -> APIRouter:
    """The routes."""
    routes, services = APIRouter(), parts.services

    @routes.get("/v1/channels", response_model=Page[Channel], tags=["channels"], summary="Channels by name")
    async def channels(request: Request, limit: Limit = 100, cursor: str | None = None) -> Response:
        found = await in_thread(parts.channels.channels)
        return cached(request, page(found, lambda channel: channel.name, cursor, limit))

    @routes.get("/v1/channels/{name}", response_model=Channel, tags=["channels"], summary="One channel")
    async def channel(request: Request, name: str) -> Response:
        return cached(request, await in_thread(parts.channels.channel, name))

    @routes.get(
        "/v1/channels/{name}/status",
        response_model=DataStatus,
        tags=["channels"],
        summary="What is collected, and what is missing",
    )
    async def status(request: Request, name: str) -> Response:
        return cached(request, await in_thread(services.analytics.data_status, name))

    @routes.get(
        "/v1/channels/{name}/overview",
        response_model=Overview,
        tags=["analytics"],
        summary="A period against the equal period before it",
    )
    async def overview(
        request: Request, name: str, days: Annotated[int, Query(ge=1, le=366)] = 30, until: Moment = None
    ) -> Response:
        return cached(request, await in_thread(services.analytics.overview, name, days, until))

    @routes.get(
        "/v1/channels/{name}/posts",
        response_model=tuple[PostRow, ...],
        tags=["analytics"],
        summary="Posts at equal age",
    )
    async def posts(
        request: Request,
        name: str,
        limit: Limit = 20,
        order: Literal["overperformance", "views", "er", "published_at"] = "overperformance",
        age_h: Annotated[int, Query(ge=1, le=720)] = 24,
    ) -> Response:
        return cached(request, await in_thread(services.analytics.posts, name, limit, order, age_h))

    @routes.get(
        "/v1/channels/{name}/series/{metric}",
        response_model=tuple[SeriesPoint, ...],
        tags=["analytics"],
        summary="A metric over time, in the channel's zone",
    )
    async def series(
        request: Request, name: str, metric: str, bucket: Literal["hour", "day", "week", "month"] = "day"
    ) -> Response:
        return cached(request, await in_thread(services.analytics.series, name, metric, bucket))

    @routes.get(
        "/v1/channels/{name}/anomalies",
        response_model=tuple[AnomalyFinding, ...],
        tags=["anomalies"],
        summary="What was unusual in a channel, newest first",
    )
    async def of_channel(request: Request, name: str, since: Moment = None) -> Response:
        await in_thread(parts.channels.channel, name)
        return cached(request, await in_thread(services.anomaly.findings, name, since))

    @routes.get(
        "/v1/anomalies",
        response_model=tuple[AnomalyFinding, ...],
        tags=["anomalies"],
        summary="What was unusual anywhere, newest first",
    )
    async def anomalies(request: Request, since: Moment = None, limit: Limit = 100) -> Response:
        found = await in_thread(services.anomaly.findings, None, since)
        return cached(request, found[:limit])

    return routes
