"""The predictor's HTTP routes, with their whole public paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import FastAPI, Header, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from core.codec import to_json
from core.errors import AnalyticBotError
from core.schemas.predictions import BulkItem, Prediction, SettledPrediction
from serve_apps import problems
from serve_apps.access import Door, Guard
from serve_apps.predictor.body import BODY_BYTES, BulkBody, PredictionBody
from serve_apps.predictor.routing import parse_pin
from serve_apps.predictor.service import PredictionService

PREFIX = "/v1/predictions"
NAME = "predictor"


class WholePaths:
    """Routes by the whole path: Serve hands the prefix over as a mount point, but the routes know it already."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] in ("http", "websocket"):
            scope = {**scope, "root_path": ""}
        await self._app(scope, receive, send)


def build_predictor_api(service: Callable[[], PredictionService], door: Door | None) -> FastAPI:
    """The app. service: called at each request; door None: for the OpenAPI document only."""
    app = FastAPI(
        title="AnalyticBot predictor",
        max_body_size=BODY_BYTES,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        responses=problems.RESPONSES,
    )
    if door is not None:
        app.add_middleware(Guard, door=door)
    app.add_middleware(WholePaths)
    problems.install(app)

    @app.post(PREFIX, response_model=Prediction, tags=["predictions"], summary="Predict the views of a post")
    async def predict(
        body: PredictionBody,
        idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
        x_model_version: Annotated[str | None, Header(description="ask one of the versions in service")] = None,
    ) -> Response:
        answer = await service().predict(body.request(idempotency_key), parse_pin(x_model_version))
        return Response(
            to_json(answer), media_type="application/json", headers={"X-Model-Version": str(answer.version)}
        )

    @app.post(
        PREFIX + "/batch",
        response_model=tuple[BulkItem, ...],
        tags=["predictions"],
        summary="Predict many posts: an answer or a problem for each, in order",
    )
    async def predict_many(
        body: BulkBody, x_model_version: Annotated[str | None, Header(description="as for one")] = None
    ) -> Response:
        requests = [item.request(None) for item in body.items]
        came = await service().predict_many(requests, parse_pin(x_model_version))
        items = tuple(
            BulkItem(problem=one.problem()) if isinstance(one, AnalyticBotError) else BulkItem(one) for one in came
        )
        return Response(to_json(items), media_type="application/json")

    @app.get(
        PREFIX + "/{prediction_id}",
        response_model=SettledPrediction,
        tags=["predictions"],
        summary="A prediction and what was measured of it so far",
    )
    async def get(prediction_id: str) -> Response:
        return Response(to_json(await service().get(prediction_id)), media_type="application/json")

    return app
