"""The predictor as a Serve deployment: builds the parts inside the replica, ticks, and takes splits over."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve import Application

from core import telemetry
from core.artifacts import ArtifactStore
from core.clock import Clock
from core.errors import AnalyticBotError
from core.schemas.content import ContentAnswer, ContentRequest
from core.schemas.health import Health
from core.schemas.predictions import ENGAGEMENT, Quantiles, Target
from core.schemas.rollouts import SplitReport, TrafficSplit
from core.schemas.scenarios import PlannedPost
from core.settings import Settings
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.keys import KeyStore
from core.store.predictions import PredictionLog
from core.store.registry import Registry
from core.store.splits import SplitStore
from serve_apps.access import Door
from serve_apps.canary import canary_name
from serve_apps.loading import WarmModels
from serve_apps.predictor.api import NAME, build_predictor_api
from serve_apps.predictor.arms import HandleArm, LocalArm
from serve_apps.predictor.content import ContentService
from serve_apps.predictor.question import Questions
from serve_apps.predictor.recorder import Recorder
from serve_apps.predictor.service import PredictionService
from serve_apps.predictor.traffic import Traffic

_log = telemetry.logger("predictor")


#: While a version is on trial the stored split is read this often, seconds: taking the canary's traffic away must not
#: wait for the push through Serve, which a busy replica answers late.
WATCH_S = 0.05


@dataclass(frozen=True)
class PredictorParts:
    """What a replica is made of; picklable."""

    database: Database
    artifacts: ArtifactStore
    settings: Settings
    clock: Clock
    model: str = ENGAGEMENT
    device: str = "cpu"
    canary_timeout_s: float = 1.0


def connect_canary(model: str, version: int, timeout_s: float) -> HandleArm:
    """The application of a version on trial; raises while there is none."""
    return HandleArm(version, serve.get_app_handle(canary_name(model, version)), timeout_s)


class Predictor:
    """One router with the stable version in its process."""

    def __init__(self, parts: PredictorParts) -> None:
        self._parts = parts
        self._splits = SplitStore(parts.database)
        warm = WarmModels.over(parts.database, parts.artifacts, parts.device, parts.settings.serving)
        self._traffic = Traffic(
            parts.model,
            lambda version: LocalArm(version, warm.get(parts.model, version)),
            lambda version: connect_canary(parts.model, version, parts.canary_timeout_s),
            parts.clock,
        )
        tenant = parts.settings.tenant
        store = ChannelStore(parts.database, tenant)
        log = PredictionLog(parts.database, tenant)
        self._recorder = Recorder(log)
        self._service = PredictionService(
            Questions(store, parts.clock),
            self._traffic,
            self._recorder,
            log,
            parts.clock,
            model=parts.model,
        )
        self._warm = warm
        self._content = ContentService(store, Registry(parts.database), warm, parts.clock)
        self._stop = threading.Event()
        self._watched = threading.Event()  # set: look at the table now
        self._read_split()
        self._traffic.tick()  # the version in service is loaded before the first request comes
        self._threads = [
            threading.Thread(target=turn, name=f"predictor-{name}", daemon=True)
            for name, turn in (("watch", self._watch), ("tick", self._tick))
        ]
        for thread in self._threads:
            thread.start()

    def __serve_build_asgi_app__(self) -> FastAPI:
        parts = self._parts
        door = Door(KeyStore(parts.database), parts.settings.tenant, parts.settings.keys_required)
        return build_predictor_api(lambda: self._service, door)

    async def apply_split(self, split: TrafficSplit) -> SplitReport:
        """Take a split over; the report's epoch is the one in force (a version may have to be loaded first)."""
        report = self._taken(split)
        self._watched.set()  # a trial that begins is watched from its beginning
        return report

    async def split_report(self) -> SplitReport:
        """What this router really serves."""
        return self._traffic.report()

    async def foretell(self, channel: str, posts: tuple[PlannedPost, ...]) -> tuple[dict[Target, Quantiles], ...]:
        """Views of posts that are to come, for scenarios; nothing is logged."""
        return await self._service.foretell(channel, posts)

    async def content(self, request: ContentRequest) -> ContentAnswer:
        """What the content version in service says of a post (asked by the gateway, on /v1/content)."""
        return await asyncio.get_running_loop().run_in_executor(None, self._content.answer, request)

    async def health(self) -> Health:
        """What the router does, and what troubles it."""
        report, trouble = self._traffic.report(), self._traffic.trouble
        details: dict[str, Any] = {
            "stable": report.stable,
            "canary": report.canary,
            "weight": report.weight,
            "epoch": report.epoch,
            "shadows_dropped": self._service.shadows_dropped,
            "shadows_lost": self._recorder.shadows_lost,
            "warm": [f"{model} v{version}" for model, version in self._warm.versions],
            "trouble": trouble,
        }
        ok = trouble is None and not report.breaker_open
        return Health(NAME, "ok" if ok else "degraded", "looked at the split in force", os.getpid(), details)

    def check_health(self) -> None:
        """Serve asks regularly; a replica whose own threads died must be replaced."""
        for thread in self._threads:
            if not thread.is_alive():
                raise RuntimeError(f"{thread.name} has ended")

    def close(self) -> None:
        """Stop ticking and commit what waits; safe to call twice."""
        self._stop.set()
        self._watched.set()
        self._traffic.wake.set()
        self._recorder.close()

    def __del__(self) -> None:
        # Serve calls it when a replica ends; a constructor that failed has nothing to close.
        if hasattr(self, "_stop"):
            self.close()

    def _tick(self) -> None:
        while not self._stop.is_set():
            self._traffic.wake.wait(self._parts.settings.tick_s)
            self._traffic.wake.clear()
            self._traffic.tick()

    def _watch(self) -> None:
        pause = self._parts.settings.tick_s
        while not self._stop.is_set():
            self._watched.wait(pause)
            self._watched.clear()
            fast = self._read_split() and self._traffic.on_trial
            pause = WATCH_S if fast else self._parts.settings.tick_s

    def _read_split(self) -> bool:
        """Take the stored split over; false when the storage is down, which lets the lease run out."""
        try:
            stored = self._splits.read(self._parts.model)
        except AnalyticBotError as error:
            _log.error("the split cannot be read", error=str(error))
            return False
        if stored is not None:
            self._taken(stored)
        return True

    def _taken(self, split: TrafficSplit) -> SplitReport:
        return self._traffic.apply(split)


@dataclass(frozen=True)
class PredictorFactory:
    """Builds the application; picklable."""

    parts: PredictorParts
    num_replicas: int = 1
    actor_options: dict[str, Any] = field(default_factory=lambda: {"num_cpus": 0.5})
    replica: type[Predictor] = Predictor

    def __call__(self) -> Application:
        """The application, to be run as "predictor" at /v1/predictions."""
        deployment = serve.deployment(
            name=NAME,
            num_replicas=self.num_replicas,
            ray_actor_options=dict(self.actor_options),
            max_ongoing_requests=64,
            max_queued_requests=256,
            max_surge_percent=100,
            health_check_period_s=5.0,
            health_check_timeout_s=10.0,
            graceful_shutdown_wait_loop_s=0.1,
            graceful_shutdown_timeout_s=10.0,
        )(serve.ingress()(self.replica))
        application: Application = deployment.bind(self.parts)
        return application


def build_predictor(parts: PredictorParts, *, num_replicas: int = 1, num_cpus: float = 0.5) -> Application:
    """The predictor application, run as "predictor" with the route prefix /v1/predictions."""
    return PredictorFactory(parts, num_replicas, {"num_cpus": num_cpus})()
