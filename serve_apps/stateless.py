"""Domains that keep nothing but caches, as Serve applications without a route: replicas can be added at will.

    build_stateless(AnalyticsService, "analytics_fusion", make)  # make: Callable[[], AnalyticsService]
    served(AnalyticsService, "analytics_fusion").overview("@x")  # from anywhere: serve_apps.proxy

A replica has the methods of the domain's protocol and no others, so nothing needs to be written out by hand.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

from ray import serve
from ray.serve import Application

P = TypeVar("P")
Method = Callable[..., Awaitable[Any]]


def build_stateless(
    protocol: type[P],
    name: str,
    make: Callable[[], P],
    *,
    num_replicas: int = 1,
    actor_options: dict[str, Any] | None = None,
) -> Application:
    """The application, to be run under `name` without a route. make: picklable, called inside the replica."""
    deployment = serve.deployment(
        name=name,
        num_replicas=num_replicas,
        ray_actor_options=actor_options or {"num_cpus": 0.1},
        max_ongoing_requests=16,
        max_surge_percent=100,
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=10.0,
    )(replica(protocol))
    application: Application = deployment.bind(make)
    return application


def replica(protocol: type[P]) -> type[Any]:
    """A class made with `make`, whose methods are the protocol's, each awaited while a thread runs the domain's own.

    In threads, so that a long question does not hold up the replica. Names, signatures and docstrings are the
    protocol's; defaults are filled in by the domain.
    """

    def __init__(self: Any, make: Callable[[], P]) -> None:
        self._service = make()

    methods = inspect.getmembers(protocol, inspect.isfunction)
    forwards = {name: _forward(name, declared) for name, declared in methods if not name.startswith("_")}
    return type(f"{protocol.__name__}Replica", (), {"__init__": __init__, "__doc__": protocol.__doc__, **forwards})


def _forward(name: str, declared: Callable[..., Any]) -> Method:
    @wraps(declared)
    async def ask(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await asyncio.to_thread(getattr(self._service, name), *args, **kwargs)

    return ask
