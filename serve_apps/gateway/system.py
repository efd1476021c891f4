"""Routes about the system itself: the process, readiness, every service's real health."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import Literal

from fastapi import APIRouter, Response

from core.errors import AnalyticBotError
from core.schemas.health import Health
from core.schemas.rollouts import SplitReport
from core.store import migrate
from serve_apps.gateway.reply import in_thread, json
from serve_apps.gateway.services import GatewayParts, PredictorService, brief

#: how long a service may take to say how it is
ASK_S = 5.0


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether questions can be answered, and what is in the way."""

    ready: bool
    problems: dict[str, str] = field(default_factory=dict)
    model: str = "no champion yet"  # "version N" once one is in service


@dataclass(frozen=True, slots=True)
class SystemHealth:
    """The worst of all services, and each one's own answer."""

    status: Literal["ok", "degraded", "broken"]
    services: dict[str, Health]


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where something is that this process does not serve."""

    detail: str


def build(parts: GatewayParts) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["system"])

    @routes.get("/healthz", summary="This process runs")
    async def healthz() -> dict[str, int | str]:
        return {"status": "ok", "pid": os.getpid()}

    @routes.get("/readyz", response_model=Readiness, summary="Questions can be answered", responses={503: {}})
    async def readyz() -> Response:
        found = await readiness(parts)
        return json(found, 200 if found.ready else 503)

    @routes.get("/v1/health", response_model=SystemHealth, summary="Each service, checked for real")
    async def health() -> Response:
        return json(await system_health(parts))

    @routes.get("/metrics", response_model=Pointer, summary="Where metrics are exported")
    async def metrics() -> Response:
        return json(
            Pointer("Prometheus metrics are exported by Ray on each node's own metrics port (`analyticbot status`)")
        )

    return routes


async def system_health(parts: GatewayParts) -> SystemHealth:
    """Ask all services at once; one that does not answer in time is broken."""
    named = parts.services.named()
    found = dict(zip(named, await asyncio.gather(*(_ask(n, s) for n, s in named.items())), strict=True))
    order: dict[str, int] = {"ok": 0, "degraded": 1, "broken": 2}
    worst = max((health.status for health in found.values()), key=order.__getitem__)
    return SystemHealth(worst, found)


async def readiness(parts: GatewayParts) -> Readiness:
    """Every service answers, the database is at this program's revision, the predictor serves or has nothing yet."""
    health, database, split = await asyncio.gather(
        system_health(parts), in_thread(_database_problem, parts), _split(parts.services.predictor)
    )
    problems = {n: h.did for n, h in health.services.items() if h.status == "broken"}
    if database is not None:
        problems["database"] = database
    if split is None or split.stable is None:
        stored = None if database is not None else await in_thread(parts.splits.read, "engagement")
        if stored is not None and "predictor" not in problems:
            problems["predictor"] = f"version {stored.stable} is not loaded yet"
        return Readiness(not problems, problems)
    return Readiness(not problems, problems, f"version {split.stable}")


async def _ask(name: str, service: object) -> Health:
    try:
        async with asyncio.timeout(ASK_S + 1):
            answer: Health = await in_thread(brief(service, ASK_S).health)
            return answer
    except TimeoutError:
        return Health(name, "broken", f"no answer within {ASK_S:g} s", 0)
    except AnalyticBotError as error:
        return Health(name, "broken", error.message, 0)


async def _split(predictor: PredictorService) -> SplitReport | None:
    try:
        async with asyncio.timeout(ASK_S + 1):
            report: SplitReport = await in_thread(brief(predictor, ASK_S).split_report)
            return report
    except (TimeoutError, AnalyticBotError):
        return None  # its health says what is wrong


def _database_problem(parts: GatewayParts) -> str | None:
    try:
        at, needed = migrate.revision(parts.database), migrate.head()
    except AnalyticBotError as error:
        return error.message
    return None if at == needed else f"at revision {at}, this program needs {needed}: run `analyticbot db upgrade`"
