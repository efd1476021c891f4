"""Starts Serve and its applications: the predictor and the gateway with routes, the rest behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ray import serve
from ray.exceptions import RayError
from ray.serve.api import RunTarget
from ray.serve.schema import ApplicationStatus

from cluster.services import Wiring, serve_app
from cluster.state import HeadState
from core.errors import Broken

_ALIVE = frozenset({ApplicationStatus.RUNNING, ApplicationStatus.DEPLOYING})


@contextmanager
def _as_ours() -> Iterator[None]:
    """Serve's errors carry whole traces; the last line is the reason, the rest is in its logs."""
    try:
        yield
    except (RayError, RuntimeError, TimeoutError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise Broken(f"Serve did not start its applications: {lines[-1] if lines else error!r}") from error


@_as_ours()
def ensure(wiring: Wiring, prints: Mapping[str, str], known: HeadState) -> dict[str, str]:
    """Deploy what is missing or out of date and wait for it; returns the fingerprints of those.

    `serve.run` restarts replicas whenever it is called, so an application that is as it should be is left alone.
    """
    serve.start(
        proxy_location="EveryNode" if wiring.settings.profile == "cluster" else "HeadOnly",
        http_options={"host": known.host, "port": known.ports.http, "request_timeout_s": 60.0},
        logging_config={"enable_access_log": False, "encoding": "JSON" if _json(wiring) else "TEXT"},
    )
    there = serve.status().applications
    targets, deployed = [], {}
    for name, entry in wiring.topology.of_kind("serve").items():
        alive = name in there and there[name].status in _ALIVE
        if alive and known.deployed.get(name) == prints[name]:
            continue
        targets.append(RunTarget(serve_app(wiring, name), name=name, route_prefix=entry.route))
        deployed[name] = prints[name]
    if targets:
        serve.run_many(targets, wait_for_applications_running=True)
    return deployed


def _json(wiring: Wiring) -> bool:
    return wiring.settings.log_format == "json"
