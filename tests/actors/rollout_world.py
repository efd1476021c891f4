"""Routers in memory, a registry and a prediction log: what a roll-out meets in service, without Serve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from actors.adaptive_learning.deployment.controller import Controller
from actors.adaptive_learning.versioning.actor import Versioning
from core.clock import ManualClock
from core.errors import ArtifactCorrupt, ServiceUnavailable
from core.protocols.traffic import Readiness
from core.schemas.models import Evaluation, Lineage, NewVersion, PairedComparison, Signature
from core.schemas.predictions import Failure, Outcome, Quantiles, Target
from core.schemas.rollouts import TERMINAL, RolloutConfig, RolloutStatus, SplitReport, TrafficSplit
from core.store.database import Database
from core.store.ids import derived_id
from core.store.outcomes import OutcomeStore
from core.store.predictions import PredictionLog, PredictionRow, ShadowRow
from core.store.splits import SplitStore

MODEL = "engagement"
CHANNELS = 40
CONFIG = RolloutConfig(hold_s=(1.0, 1.0, 1.0), deadline_s=600.0, error_slo=0.05)
#: Methods of the world outside that a kill may come before or after.
COMMANDS = frozenset({"warm", "set_split", "release"})


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


class Registered(Versioning):
    """The registry, whose artifacts are whole unless said otherwise."""

    corrupt: frozenset[int] = frozenset()

    def verify(self, model: str, version: int, *, predictions: bool = True) -> Any:
        if version in self.corrupt:
            raise ArtifactCorrupt(f"artifact of v{version}: weights do not match their hash")
        return self.get(model, version)


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
        self.versioning = Registered(self.database, self.clock)
        self.routers = Routers(self.database, self.clock)
        self.log = PredictionLog(self.database)
        self.splits = SplitStore(self.database)
        self.asked = 0
        self.published_at = 0
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
        routers = Mortal(self.routers, COMMANDS, self.points)
        made = Controller(self.database, self.clock, versioning, routers)  # type: ignore[arg-type]
        made._store = Mortal(made._store, frozenset({"append"}), self.points)  # type: ignore[assignment]
        return made

    def traffic(self, posts: int = CHANNELS, ids: str = "", *, labels: bool = True) -> None:
        """One request a channel under the split in force, scored by both versions; its outcome joined at once."""
        split = self.splits.read(MODEL)
        assert split is not None
        rows: list[PredictionRow] = []
        shadows: list[ShadowRow] = []
        for channel in range(posts):
            asked = self._asked(split, channel, posts, ids)
            rows += asked
            other = split.canary if asked[-1].version == split.stable else split.stable
            if split.shadow and other is not None and asked[0].arm != "rescued":
                scored = None if other in self.failing else self._answer(other, self.asked + channel)
                kind: Failure | None = None if scored else "error"
                shadows.append(ShadowRow(rows[-1].id, MODEL, other, split.epoch, scored, 1.0, kind, 1.0, kind))
        self.asked += posts
        self.log.append(rows)
        self.log.add_shadows(shadows)
        if labels:
            self.settle(*(row.id for row in rows if row.answer))

    def settle(self, *prediction_ids: str) -> None:
        """A thousand views measured for each."""
        outcomes = [Outcome(prediction, "views_24h", 1000.0, 1) for prediction in prediction_ids]
        with self.database.write() as connection:
            OutcomeStore(self.database).add(connection, outcomes, 1)

    def _asked(self, split: TrafficSplit, channel: int, posts: int, ids: str) -> list[PredictionRow]:
        """The log's rows of one request: two where both versions failed."""
        post = self.asked + channel
        on_trial = split.canary is not None and channel / posts < split.weight
        failed = on_trial and split.canary in self.failing
        down = split.stable in self.failing
        stable_answer = {} if down else self._answer(split.stable, post)
        row = PredictionRow(
            id=derived_id(ids, post),
            channel_id=channel,
            post_id=post,
            model=MODEL,
            version=split.stable,
            arm="failed" if down else "stable",
            epoch=split.epoch,
            known_age_h=0,
            published_at=self.published_at,
            as_of=0,
            answer=stable_answer,
            latency_ms=1.0,
            at=0,
            score_ms=None if down else 1.0,
            failure="error" if down else None,
        )
        if not on_trial:
            return [row]
        if failed:
            rescued = replace(row, id=derived_id(ids, post, "rescued"), arm="rescued", score_ms=None, failure="error")
            return [rescued, row] if down else [replace(rescued, id=row.id)]
        assert split.canary is not None
        answer = self._answer(split.canary, post)
        return [replace(row, version=split.canary, arm="canary", answer=answer, score_ms=1.0, failure=None)]

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
