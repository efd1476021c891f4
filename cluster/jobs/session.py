"""A job's own connection: settings as `up` was given them, and Ray as the job's cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cluster import environment, state
from cluster.up import connect_ray
from core import telemetry
from core.errors import ServiceUnavailable
from core.settings import Settings
from core.store.ids import new_id


@contextmanager
def job(name: str) -> Iterator[Settings]:
    """Inside: connected to Ray, logs under one request id. ServiceUnavailable where nothing runs."""
    settings = environment.absolute(Settings())
    telemetry.configure(settings.log_format, settings.log_level)
    known = state.running(settings)
    if known is None:
        raise ServiceUnavailable(f"nothing runs in {settings.home}: start it with `analyticbot up`")
    with telemetry.request(f"{name}-{new_id()[:8]}"):
        connect_ray(settings, known)
        import ray

        try:
            yield settings
        finally:
            ray.shutdown()
