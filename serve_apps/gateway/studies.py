"""Routes that look closer: one post, kinds of posts, cohorts, ads, signs, trends, competitors, reports."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from core.schemas.analytics import PostCurve
from core.schemas.channel_studies import AdReport, BeforeAfter, ChannelComparison, Mix, Percentiles, Quality, Trend
from core.schemas.competitors import Competition, Discovery, WatchList
from core.schemas.reports import MEDIA_TYPES, ReportFormat
from serve_apps.gateway.channels import Moment
from serve_apps.gateway.reply import cached, in_thread, json
from serve_apps.gateway.services import GatewayParts

Days = Annotated[int, Query(ge=1, le=3650)]
Names = Annotated[list[str], Query(max_length=20)]
AT = "/v1/channels/{name}"


class WatchListBody(BaseModel):
    """The channels of a list."""

    model_config = ConfigDict(extra="forbid")

    channels: tuple[str, ...] = Field(min_length=1, max_length=100)


def build(parts: GatewayParts) -> APIRouter:
    """The routes."""
    routes = APIRouter()
    _of_a_channel(routes, parts)
    _of_many(routes, parts)
    return routes


def _of_a_channel(routes: APIRouter, parts: GatewayParts) -> None:
    numbers = parts.services.analytics

    @routes.get(
        AT + "/posts/{post_id}/curve",
        response_model=PostCurve,
        tags=["analytics"],
        summary="A post's views by age, beside the channel's usual",
    )
    async def curve(request: Request, name: str, post_id: int) -> Response:
        return cached(request, await in_thread(numbers.curve, name, post_id))

    @routes.get(
        AT + "/mix", response_model=Mix, tags=["analytics"], summary="Kinds of posts, and what each does to views"
    )
    async def mix(request: Request, name: str, days: Days = 90, until: Moment = None) -> Response:
        return cached(request, await in_thread(numbers.mix, name, days, until))

    @routes.get(
        AT + "/percentiles", response_model=Percentiles, tags=["analytics"], summary="Among comparable stored channels"
    )
    async def percentiles(request: Request, name: str, days: Days = 30) -> Response:
        return cached(request, await in_thread(numbers.percentiles, name, days))

    @routes.get(
        AT + "/ads", response_model=AdReport, tags=["analytics"], summary="What ad-marked posts reach at 12, 24, 48 h"
    )
    async def ads(
        request: Request,
        name: str,
        days: Days = 90,
        until: Moment = None,
        price: Annotated[float | None, Query(gt=0, lt=1e12, description="of one post, in any currency")] = None,
    ) -> Response:
        return cached(request, await in_thread(numbers.ads, name, days, until, price))

    @routes.get(
        AT + "/quality", response_model=Quality, tags=["analytics"], summary="Signs of a bought audience, as evidence"
    )
    async def quality(request: Request, name: str, days: Days = 90, until: Moment = None) -> Response:
        return cached(request, await in_thread(numbers.quality, name, days, until))

    @routes.get(
        AT + "/trend/{metric}", response_model=Trend, tags=["analytics"], summary="Slope, test and changes of level"
    )
    async def trend(request: Request, name: str, metric: str, days: Days = 90, until: Moment = None) -> Response:
        return cached(request, await in_thread(numbers.trend, name, metric, days, until))

    @routes.get(
        AT + "/before-after/{metric}",
        response_model=BeforeAfter,
        tags=["analytics"],
        summary="A metric before and after a moment",
    )
    async def before_after(
        request: Request,
        name: str,
        metric: str,
        at: Annotated[int, Query(ge=0, le=4_102_444_800, description="epoch seconds")],
        days: Annotated[int, Query(ge=1, le=366)] = 28,
    ) -> Response:
        return cached(request, await in_thread(numbers.before_after, name, metric, at, days))

    @routes.get(
        AT + "/report",
        tags=["reports"],
        summary="The channel's numbers as a file",
        response_class=Response,
        responses={200: {"content": {kind: {} for kind in MEDIA_TYPES.values()}}},
    )
    async def report(
        name: str, format: ReportFormat = "html", days: Annotated[int, Query(ge=1, le=366)] = 30, until: Moment = None
    ) -> Response:
        found = await in_thread(numbers.report, name, format, days, until)
        headers = {"Content-Disposition": f'attachment; filename="{found.name.encode("ascii", "replace").decode()}"'}
        return Response(found.content, media_type=found.media_type, headers=headers)


def _of_many(routes: APIRouter, parts: GatewayParts) -> None:
    numbers = parts.services.analytics

    @routes.get("/v1/compare", response_model=ChannelComparison, tags=["analytics"], summary="Channels side by side")
    async def compare(request: Request, channel: Names, days: Days = 30, until: Moment = None) -> Response:
        return cached(request, await in_thread(numbers.compare, channel, days, until))

    @routes.get(
        "/v1/competitors/{name}",
        response_model=Competition,
        tags=["competitors"],
        summary="A channel beside others: voice, cadence, figures, gaps",
    )
    async def competition(
        request: Request,
        name: str,
        other: Names = [],  # noqa: B006 - FastAPI copies defaults
        watch_list: str | None = None,
        days: Annotated[int, Query(ge=1, le=366)] = 30,
        until: Moment = None,
    ) -> Response:
        return cached(request, await in_thread(numbers.competition, name, other, watch_list, days, until))

    @routes.get(
        "/v1/competitors/{name}/candidates",
        response_model=Discovery,
        tags=["competitors"],
        summary="Channels near a channel: by mentions and by topic",
    )
    async def candidates(request: Request, name: str, limit: Annotated[int, Query(ge=1, le=200)] = 20) -> Response:
        return cached(request, await in_thread(numbers.discover, name, limit))

    @routes.get("/v1/watch-lists", response_model=tuple[WatchList, ...], tags=["competitors"], summary="Watch lists")
    async def watch_lists(request: Request) -> Response:
        return cached(request, await in_thread(numbers.watch_lists))

    @routes.get("/v1/watch-lists/{name}", response_model=WatchList, tags=["competitors"], summary="One watch list")
    async def watch_list(request: Request, name: str) -> Response:
        return cached(request, await in_thread(numbers.watch_list, name))

    @routes.put(
        "/v1/watch-lists/{name}",
        response_model=WatchList,
        tags=["competitors"],
        summary="Make a watch list, or give it other channels",
    )
    async def put(name: str, body: WatchListBody) -> Response:
        return json(await in_thread(numbers.put_watch_list, name, body.channels))

    @routes.delete("/v1/watch-lists/{name}", status_code=204, tags=["competitors"], summary="Take a watch list away")
    async def remove(name: str) -> Response:
        await in_thread(numbers.remove_watch_list, name)
        return Response(status_code=204)
