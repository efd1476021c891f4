"""Routes that look ahead: forecasts and how they did."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from core.schemas.forecasts import MOST_DAYS, Forecast, ForecastMetric, Ledger
from serve_apps.gateway.reply import cached, in_thread
from serve_apps.gateway.services import GatewayParts

AT = "/v1/channels/{name}"


def build(parts: GatewayParts) -> APIRouter:
    """The routes."""
    routes = APIRouter()
    ahead = parts.services.intelligence

    @routes.get(
        AT + "/forecasts/{metric}",
        response_model=Forecast,
        tags=["forecasts"],
        summary="The days ahead, with 80 and 95 % intervals and how earlier forecasts did",
    )
    async def forecast(
        request: Request, name: str, metric: ForecastMetric, days: Annotated[int, Query(ge=1, le=MOST_DAYS)] = 30
    ) -> Response:
        return cached(request, await in_thread(ahead.forecast, name, metric, days))

    @routes.get(
        AT + "/forecasts/{metric}/ledger",
        response_model=Ledger,
        tags=["forecasts"],
        summary="Forecasts that were given, beside what came",
    )
    async def ledger(
        request: Request, name: str, metric: ForecastMetric, limit: Annotated[int, Query(ge=1, le=1000)] = 100
    ) -> Response:
        return cached(request, await in_thread(ahead.ledger, name, metric, limit))

    return routes
