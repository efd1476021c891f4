"""Puts the gateway's app together, with one OpenAPI document for it and the predictor."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from core.store.keys import KeyStore
from serve_apps import problems
from serve_apps.access import Door, Guard
from serve_apps.gateway import (
    alerts,
    channels,
    content,
    forecasts,
    models,
    outlook,
    reports,
    rollouts,
    studies,
    system,
    workflows,
)
from serve_apps.gateway.services import GatewayParts
from serve_apps.predictor.api import build_predictor_api

#: bytes of a request: a thousand feedback items and more
BODY_BYTES = 1024 * 1024


def build_api(parts: GatewayParts) -> FastAPI:
    """The app, over whatever services it is given."""
    app = FastAPI(
        title="AnalyticBot",
        version="1",
        description="Analytics of channels, and models that keep themselves right. Errors: RFC 9457 problem details.",
        max_body_size=BODY_BYTES,
        responses=problems.RESPONSES,
    )
    door = Door(KeyStore(parts.database), parts.settings.tenant, parts.settings.keys_required)
    app.add_middleware(Guard, door=door)
    problems.install(app)
    nouns = (channels, studies, content, forecasts, outlook, alerts, reports, models, rollouts, workflows, system)
    for noun in nouns:
        app.include_router(noun.build(parts))
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    """The gateway's document with the predictor's paths and schemas in it."""
    if app.openapi_schema is None:
        own = FastAPI.openapi(app)
        other = build_predictor_api(_nobody, None).openapi()
        own["paths"] |= other["paths"]
        own.setdefault("components", {}).setdefault("schemas", {}).update(other["components"]["schemas"])
        security = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        own["components"]["securitySchemes"] = security
        own["security"] = [{"bearer": []}, {"key": []}, {}]
        app.openapi_schema = own
    return app.openapi_schema


def _nobody() -> Any:
    raise AssertionError("the predictor's routes are served by the predictor")
