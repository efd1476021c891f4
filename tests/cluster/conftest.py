"""A deployment without Ray: the real gateway and predictor over real services in this process, on a real port."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from actors.adaptive_learning.drift.actor import Drift
from actors.adaptive_learning.feedback.actor import Feedback
from actors.adaptive_learning.learning.actor import Learner
from actors.adaptive_learning.monitoring.actor import Monitoring
from actors.adaptive_learning.orchestrator.actor import Orchestrator
from actors.adaptive_learning.versioning.actor import Versioning
from actors.alerts_fusion.actor import Alerts
from actors.analytics_fusion.actor import Analytics
from actors.anomaly_analysis.actor import AnomalyAnalysis
from actors.predictive_intelligence.actor import Intelligence
from core.artifacts import ArtifactStore
from core.clock import ManualClock
from core.schemas.content import ContentAnswer, ContentRequest
from core.schemas.health import Health
from core.schemas.predictions import ENGAGEMENT, Quantiles, Target
from core.schemas.rollouts import SplitReport
from core.schemas.scenarios import PlannedPost
from core.settings import ServingSettings, Settings
from core.store import migrate
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.registry import Registry
from core.store.splits import SplitStore
from serve_apps.gateway.api import build_api
from serve_apps.gateway.services import GatewayParts, Services
from serve_apps.loading import WarmModels
from serve_apps.predictor.api import PREFIX, build_predictor_api
from serve_apps.predictor.content import ContentService
from tests.actors.rollout_world import Routers
from tests.serve_apps.world import GAP, POSTS, START, Bench, World, fill, register, tiny_model


@dataclass
class Deployment:
    """Where it answers, and what is behind it."""

    url: str
    world: World
    settings: Settings
    orchestrator: Orchestrator
    alerts: Alerts


class InProcessPredictor:
    """The predictor's answers beside HTTP."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def split_report(self) -> SplitReport:
        return self._bench.traffic.report()

    def foretell(self, channel: str, posts: tuple[PlannedPost, ...]) -> tuple[dict[Target, Quantiles], ...]:
        return asyncio.run(self._bench.service.foretell(channel, posts))

    def content(self, request: ContentRequest) -> ContentAnswer:
        world = self._bench.world
        warm = WarmModels.over(world.database, world.artifacts, "cpu", ServingSettings())
        service = ContentService(ChannelStore(world.database), Registry(world.database), warm, world.clock)
        return service.answer(request)

    def health(self) -> Health:
        return Health("predictor", "ok", "looked at the split in force", 1)


class Paths:
    """Serve's routing: predictions to the predictor, the rest to the gateway."""

    def __init__(self, gateway: ASGIApp, predictor: ASGIApp) -> None:
        self._gateway, self._predictor = gateway, predictor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._predictor if scope.get("path", "").startswith(PREFIX) else self._gateway
        await app(scope, receive, send)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    home = tmp_path_factory.mktemp("deployment")
    settings = Settings(home=home)
    database = Database(settings.database)
    migrate.upgrade(database)
    channel = fill(database, "@town", 3)
    fill(database, "a/b c", 4)  # names may need quoting in a path
    clock = ManualClock(time=START + POSTS * GAP)
    world = World(database, clock, ArtifactStore(settings.artifacts), channel)
    for number, shift in ((1, 0.0), (2, 0.2)):
        assert register(world, tiny_model(shift), f"v{number}") == number
    SplitStore(database).write(world.split(), clock)
    bench = Bench(world)
    bench.serve(world.split())
    services, orchestrator = _services(settings, world, bench)
    gateway = build_api(GatewayParts(services, database, clock, settings))
    predictor = build_predictor_api(lambda: bench.service, None)
    with _serving(Paths(gateway, predictor)) as url:
        yield Deployment(url, world, settings, orchestrator, cast(Alerts, services.alerts))
    bench.recorder.close()
    database.dispose()


def _services(settings: Settings, world: World, bench: Bench) -> tuple[Services, Orchestrator]:
    database, clock = world.database, world.clock
    versioning = Versioning(database, clock, world.artifacts)
    drift = Drift(database, world.artifacts, clock, versioning)
    feedback, monitoring = Feedback(database, clock), Monitoring(database, clock)
    anomaly = AnomalyAnalysis(database, clock)
    learner = Learner(database, world.artifacts, clock, settings, versioning, autostart=False)
    routers, predictor = Routers(database, clock), InProcessPredictor(bench)
    analytics = Analytics(database, clock)
    orchestrator = Orchestrator(
        database,
        clock,
        settings,
        versioning,
        drift,
        feedback,
        monitoring,
        learner,
        anomaly,
        routers,
        autostart=False,
    )
    intelligence = Intelligence(database, clock, foreteller=predictor)
    services = Services(
        versioning=versioning,
        drift=drift,
        feedback=feedback,
        monitoring=monitoring,
        learning=learner,
        orchestrator=orchestrator,
        anomaly=anomaly,
        intelligence=intelligence,
        analytics=analytics,
        alerts=Alerts(database, clock, anomaly, analytics, settings.alerts, intelligence=intelligence, autostart=False),
        predictor=cast(Any, predictor),
    )
    versioning.set_alias(ENGAGEMENT, "champion", 1, expect=None, reason="test", actor="test")
    return services, orchestrator


class _serving:
    """A server in a thread, on a free port of this machine."""

    def __init__(self, app: Any) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        give_up = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < give_up
            time.sleep(0.01)
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home for the command line, with nothing else from the environment."""
    import os

    for name in list(os.environ):
        if name.startswith("ANALYTICBOT_") or name in ("DATABASE_URL", "REDIS_URL"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ANALYTICBOT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)  # no .env of a developer's
    return tmp_path / "home"
