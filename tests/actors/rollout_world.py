"""Routers in memory, a registry and a prediction log: what a roll-out meets in service, without Serve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from actors.adaptive_learning.deployment.controller import Controller
from actors.adaptive_learning.versioning.actor import Versioning
from core.clock import ManualClock
from core.errors import ServiceUnavailable
from core.protocols.traffic import Readiness
from core.schemas.models import Evaluation, Lineage, NewVersion, PairedComparison, Signature
from core.schemas.predictions import Quantiles, Target
from core.schemas.rollouts import TERMINAL, RolloutConfig, RolloutStatus, SplitReport, TrafficSplit
from core.store import schema
from core.store.database import Database
from core.store.ids import derived_id
from core.store.predictions import PredictionLog, PredictionRow, ShadowRow
from core.store.splits import SplitStore

MODEL = "engagement"
CHANNELS = 40
CONFIG = RolloutConfig(hold_s=(1.0, 1.0, 1.0), deadline_s=600.0, error_slo=0.05)


class Killed(Exception):
    """The controller's process ends here."""


@dataclass
class Routers:
    """Stands for Serve: two routers that obey the stored split, and one application a version on trial."""

    database: Database
    clock: ManualClock
    apps: set[int] = field(default_factory=set)
    broken: dict[int, str] = field(default_factory=dict)  # versions that cannot be loaded
    deaf: bool = False
    changes: dict[str, Any] = field(default_factory=dict)  # what reports say otherwise

    def warm(self, model: str, version: int) -> None:
        self.apps.add(version)

    def ready(self, model: str, version: int) -> Readiness:
        failed = self.broken.get(version)
        return Readiness(version in self.apps and failed is None, failed)

    def set_split(self, split: TrafficSplit) -> None:
        SplitStore(self.database).write(split, self.clock)

    def renew(self, model: str, epoch: int) -> None:
        SplitStore(self.database).renew(model, epoch)

    def observed(self, model: str) -> tuple[SplitReport, ...]:
        if self.deaf:
            raise ServiceUnavailable("routers do not answer")
        split = SplitStore(self.database).read(model)
        if split is None:
            return ()
        ready = split.canary is None or split.canary in self.apps
        report = SplitReport(split.epoch, split.stable, split.canary, split.weight, ready, False, False, 1)
        return tuple(replace(report, **{"pid": pid, **self.changes}) for pid in (2, 1))

    def release(self, model: str, version: int) -> bool:
        gone = version not in self.apps
        self.apps.discard(version)
        return gone


@dataclass
class Mortal:
    """Passes calls on, and kills the caller before or after the n-th of some of them."""

    target: Any
    methods: frozenset[str]
    points: list[int]  # shared countdown: [0] is left until death, negative: never

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self.target, name)
        if name not in self.methods:
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            self._point()
            result = method(*args, **kwargs)
            self._point()
            return result

        return call

    def _point(self) -> None:
        self.points[0] -= 1
        if self.points[0] == 0:
            raise Killed


@dataclass
class World:
    """A database with versions, and traffic that obeys the split."""

    database: Database
    clock: ManualClock
    bad: frozenset[int] = frozenset()  # versions whose forecasts are far off
    failing: frozenset[int] = frozenset()  # versions that fail every time

    def __post_init__(self) -> None:
        self.versioning = Versioning(self.database, self.clock)
        self.routers = Routers(self.database, self.clock)
        self.log = PredictionLog(self.database)
        self.splits = SplitStore(self.database)
        self.asked = 0
        self.points = [-1]

    def register(self, *verdicts: str | None) -> None:
        for verdict in verdicts:
            versus = None if verdict is None else PairedComparison(50, -0.01, -0.02, 0.0, verdict, 0.05)  # type: ignore[arg-type]
            self.versioning.register(
                NewVersion(
                    model=MODEL,
                    sha256="a" * 64,
                    signature=Signature(("hour",), ("views_24h",), "1"),
                    params={},
                    metrics=Evaluation(0, 1, {}, versus),
                    lineage=Lineage(None, 0, 0, 100, "b" * 64, "test", 7, "batch"),
                    key=f"v{len(self.versioning.versions(MODEL))}",
                )
            )

    def controller(self) -> Controller:
        """A fresh process."""
        versioning = Mortal(self.versioning, frozenset({"set_alias"}), self.points)
        routers = Mortal(self.routers, frozenset({"warm", "set_split", "release"}), self.points)
        made = Controller(self.database, self.clock, versioning, routers)  # type: ignore[arg-type]
        made._store = Mortal(made._store, frozenset({"append"}), self.points)  # type: ignore[assignment]
        return made

    def traffic(self, posts: int = CHANNELS, ids: str = "") -> None:
        """One request a channel under the split in force, scored by both versions, its outcome joined."""
        split = self.splits.read(MODEL)
        assert split is not None
        rows, shadows, outcomes = [], [], []
        for channel in range(posts):
            post = self.asked + channel
            on_trial = split.canary is not None and channel / posts < split.weight
            version = split.canary if on_trial and split.canary is not None else split.stable
            failed = on_trial and version in self.failing
            answer = self._answer(split.stable if failed else version, post)
            row = PredictionRow(
                id=derived_id(ids, post),
                channel_id=channel,
                post_id=post,
                model=MODEL,
                version=version,
                arm="rescued" if failed else "canary" if on_trial else "stable",
                epoch=split.epoch,
                known_age_h=0,
                published_at=0,
                as_of=0,
                answer=answer,
                latency_ms=1.0,
                at=0,
            )
            rows.append(row)
            other = split.canary if version == split.stable else split.stable
            if split.shadow and other is not None:
                scored = None if other in self.failing else self._answer(other, post)
                shadows.append(ShadowRow(row.id, MODEL, other, split.epoch, scored, 1.0, None if scored else "failed"))
            settled = {"prediction_id": row.id, "target": "views_24h", "value": 1000.0, "known_at": 1, "joined_at": 1}
            outcomes.append(settled)
        self.asked += posts
        self.log.append(rows)
        self.log.add_shadows(shadows)
        with self.database.write() as connection:
            self.database.append(connection, schema.outcome, outcomes)

    def _answer(self, version: int, post: int) -> dict[Target, Quantiles]:
        wobble = 1.0 + ((post * 7919 + version * 104729) % 21 - 10) / 200
        q50 = 1000.0 * wobble * (2.5 if version in self.bad else 1.0)
        return {"views_24h": Quantiles(q50 / 2, q50, q50 * 2)}

    def served(self, controller: Controller) -> None:
        """The first version in service."""
        controller.install(MODEL, 1, "first")

    def play(self, controller: Controller, rollout: str, ticks: int = 40) -> tuple[RolloutStatus, Controller]:
        """Traffic and ticks until the roll-out is over; a killed controller is replaced by a fresh one."""
        for _ in range(ticks):
            self.clock.advance(1.0)
            self.traffic()
            for _ in range(3):
                try:
                    controller.tick(MODEL)
                    break
                except Killed:
                    controller = self.controller()
            if controller.status(rollout).phase in TERMINAL:
                return controller.status(rollout), controller
        return controller.status(rollout), controller
