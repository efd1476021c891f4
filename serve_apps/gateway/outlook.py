"""Routes of when, with whom and what if: times of publishing, links between channels, scenarios, context."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from core.schemas.links import CrossChannel, Influence, MentionLifts
from core.schemas.scenarios import Scenario
from core.schemas.timing import BestTimes, Context, Seasonality
from serve_apps.gateway.reply import cached, in_thread
from serve_apps.gateway.services import GatewayParts

AT = "/v1/channels/{name}"

Days = Annotated[int, Query(ge=1, le=3650, description="the last complete days")]
Limit = Annotated[int, Query(ge=1, le=500)]


def build(parts: GatewayParts) -> APIRouter:
    """The routes."""
    routes = APIRouter()
    _of_one(routes, parts)
    _of_many(routes, parts)
    return routes


def _of_one(routes: APIRouter, parts: GatewayParts) -> None:
    ahead = parts.services.intelligence

    @routes.get(
        AT + "/best-times",
        response_model=BestTimes,
        tags=["timing"],
        summary="What hour and weekday do to views, and which are better beyond chance",
    )
    async def best_times(request: Request, name: str, days: Days = 180) -> Response:
        return cached(request, await in_thread(ahead.best_times, name, days))

    @routes.get(
        AT + "/seasonality",
        response_model=Seasonality,
        tags=["timing"],
        summary="Daily and weekly rhythm of views, half-life of posts",
    )
    async def seasonality(request: Request, name: str, days: Days = 180) -> Response:
        return cached(request, await in_thread(ahead.seasonality, name, days))

    @routes.get(
        AT + "/context",
        response_model=Context,
        tags=["timing"],
        summary="Factors of the configured calendar, cited, with their measured effects",
    )
    async def context(request: Request, name: str, days: Days = 180) -> Response:
        return cached(request, await in_thread(ahead.context, name, days))

    @routes.get(
        AT + "/scenario",
        response_model=Scenario,
        tags=["scenarios"],
        summary="What would change if the channel published otherwise",
    )
    async def scenario(
        request: Request,
        name: str,
        posts_per_day: Annotated[float | None, Query(gt=0, le=50)] = None,
        hour: Annotated[int | None, Query(ge=0, le=23, description="of the channel's zone")] = None,
        text_len: Annotated[int | None, Query(ge=0, le=10_000, description="characters")] = None,
        media: Annotated[str | None, Query(max_length=40)] = None,
    ) -> Response:
        return cached(request, await in_thread(ahead.scenario, name, posts_per_day, hour, text_len, media))

    @routes.get(
        AT + "/influence", response_model=Influence, tags=["links"], summary="Who names the channel and whom it names"
    )
    async def influence_of(request: Request, name: str, limit: Limit = 100) -> Response:
        return cached(request, await in_thread(ahead.influence, name, limit))

    @routes.get(
        AT + "/mention-lift",
        response_model=MentionLifts,
        tags=["links"],
        summary="Subscribers that each source's mentions bring, beside other moments",
    )
    async def lift_of(request: Request, name: str) -> Response:
        return cached(request, await in_thread(ahead.mention_lift, name))


def _of_many(routes: APIRouter, parts: GatewayParts) -> None:
    ahead = parts.services.intelligence

    @routes.get(
        "/v1/cross-channel",
        response_model=CrossChannel,
        tags=["links"],
        summary="Which channels' days follow which others', beyond chance",
    )
    async def cross_channel(
        request: Request,
        metric: Literal["net_growth", "views_gained"] = "net_growth",
        channel: Annotated[list[str], Query(max_length=200, description="none: all stored ones")] = [],  # noqa: B006
        days: Days = 180,
        lags: Annotated[int, Query(ge=0, le=14, description="days, in both directions")] = 7,
    ) -> Response:
        return cached(request, await in_thread(ahead.cross_channel, metric, channel, days, lags))

    @routes.get(
        "/v1/influence", response_model=Influence, tags=["links"], summary="The graph of mentions and its ranks"
    )
    async def influence(request: Request, limit: Limit = 100) -> Response:
        return cached(request, await in_thread(ahead.influence, None, limit))

    @routes.get("/v1/mention-lift", response_model=MentionLifts, tags=["links"], summary="Mention lift of all links")
    async def lift(request: Request) -> Response:
        return cached(request, await in_thread(ahead.mention_lift))
