"""The gateway as a Serve deployment."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve import Application

from serve_apps.gateway.api import build_api
from serve_apps.gateway.services import GatewayParts

NAME = "gateway"


class Gateway:
    """Holds no state: any number of replicas may run."""

    def __init__(self, parts: GatewayParts) -> None:
        self._parts = parts

    def __serve_build_asgi_app__(self) -> FastAPI:
        return build_api(self._parts)


def build_gateway(
    parts: GatewayParts, *, num_replicas: int = 1, actor_options: dict[str, Any] | None = None
) -> Application:
    """The gateway application, run as "gateway" with the route prefix "/"."""
    deployment = serve.deployment(
        name=NAME,
        num_replicas=num_replicas,
        ray_actor_options=actor_options or {"num_cpus": 0.25},
        max_ongoing_requests=64,
        max_queued_requests=256,
        max_surge_percent=100,
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=10.0,
    )(serve.ingress()(Gateway))
    application: Application = deployment.bind(parts)
    return application
