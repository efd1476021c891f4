"""The loop in one process: every part of the product but Ray, over data that is replayed along its own timeline.

The router asks the real service; a version on trial is the real canary's object without an application around it; the
learner works in its own thread, and the data's time waits for it. The data's time moves in steps; the durations of a
roll-out are counted apart from it, one second a tick.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.adaptive_learning.drift.actor import Drift
from actors.adaptive_learning.feedback.actor import Feedback
from actors.adaptive_learning.learning.actor import Learner
from actors.adaptive_learning.monitoring.actor import Monitoring
from actors.adaptive_learning.orchestrator.actor import Orchestrator
from actors.adaptive_learning.versioning.actor import Versioning
from actors.anomaly_analysis.actor import AnomalyAnalysis
from cluster.story.plan import Timetable, Visit, survey, timetable
from core.artifacts import ArtifactStore
from core.clock import DAY, Clock, ManualClock, SystemClock
from core.errors import Broken, InsufficientData
from core.ingest.importer import import_path
from core.ingest.replay import Replay
from core.protocols.traffic import Readiness
from core.schemas.predictions import ENGAGEMENT, PredictionRequest
from core.schemas.rollouts import SplitReport, TrafficSplit
from core.schemas.workflows import ENDED, LoopStatus, Workflow
from core.settings import RolloutDefaults, Settings
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.migrate import upgrade
from core.store.outcomes import JoinedOutcome, OutcomeStore
from core.store.predictions import PredictionLog
from core.store.splits import SplitStore
from serve_apps.canary import Canary
from serve_apps.loading import ModelLoader
from serve_apps.predictor.arms import HandleArm, LocalArm
from serve_apps.predictor.question import Questions
from serve_apps.predictor.recorder import Recorder
from serve_apps.predictor.service import PredictionService
from serve_apps.predictor.traffic import Traffic

#: Ticks of the orchestrator in a step of the data's time, a second of a roll-out's durations each.
TICKS = 3
#: Days of the data's time that a roll-out may take: the product's default.
DEADLINE_DAYS = 14
PATIENCE_S = 900.0
_LIVE = "live.db"


def shortened(step_s: int) -> RolloutDefaults:
    """The product's roll-out with shorter waits: 2 s a step of it, and as many ticks as there are in its deadline.

    What must be shown before a step is the product's own.
    """
    return RolloutDefaults(hold_s=(2.0, 2.0, 2.0), deadline_s=DEADLINE_DAYS * DAY / step_s * TICKS)


# ---------------------------------------------------------------- a version on trial without an application


@dataclass(frozen=True, slots=True)
class _Done:
    """What a call of a handle gives: awaited by the router, asked for its result by a probe."""

    value: Any

    def __await__(self) -> Iterator[Any]:
        return iter(_now(self.value).__await__())

    def result(self, timeout_s: float) -> Any:
        return self.value

    def cancel(self) -> None:
        return None


async def _now(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class _Call:
    method: Any

    def remote(self, *args: Any) -> _Done:
        return _Done(self.method(*args))


@dataclass(frozen=True, slots=True)
class _Handle:
    """A canary in this process behind the calls of a Serve handle."""

    canary: Canary

    def __getattr__(self, method: str) -> Any:
        return _Call(getattr(self.canary, method))


class Actuator:
    """Puts intents into effect in this process (core.protocols.TrafficActuator)."""

    def __init__(self, database: Database, clock: Clock, loader: ModelLoader) -> None:
        self._splits, self._clock, self._loader = SplitStore(database), clock, loader
        self._canaries: dict[int, Canary] = {}
        self.traffic = Traffic(
            ENGAGEMENT, lambda version: LocalArm(version, loader.load(version)), self._connect, clock
        )

    def warm(self, model: str, version: int) -> None:
        if version not in self._canaries:
            self._canaries[version] = Canary(self._loader, version)

    def ready(self, model: str, version: int) -> Readiness:
        return Readiness(version in self._canaries)

    def set_split(self, split: TrafficSplit) -> None:
        self._obey(self._splits.write(split, self._clock))

    def renew(self, model: str, epoch: int) -> None:
        self._splits.renew(model, epoch)
        self.look()

    def observed(self, model: str) -> tuple[SplitReport, ...]:
        return (self.traffic.report(),)

    def release(self, model: str, version: int) -> bool:
        self._canaries.pop(version, None)
        return True

    def look(self) -> None:
        """What a router does by itself: read the stored split, and probe."""
        split = self._splits.read(ENGAGEMENT)
        if split is not None:
            self._obey(split)

    def _obey(self, split: TrafficSplit) -> None:
        self.traffic.apply(split)
        self.traffic.tick()

    def _connect(self, version: int) -> HandleArm:
        return HandleArm(version, _Handle(self._canaries[version]))


# ---------------------------------------------------------------- the world


@dataclass
class LoopWorld:
    """Data to replay, the router, and the loop's services over one database."""

    plan: Timetable
    replay: Replay
    clock: ManualClock
    orchestrator: Orchestrator
    versioning: Versioning
    drift: Drift
    learner: Learner
    actuator: Actuator
    service: PredictionService
    outcomes: OutcomeStore
    published: dict[tuple[int, int], int]  # when a post was published, by channel and post
    home: Path
    answers: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)  # of this machine, by what took them
    now: int = 0
    _asked: int = 0
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def begin(self, params: dict[str, object]) -> Workflow:
        """Feed the history and put a first version into service; its workflow. params: of the training."""
        self._feed(self.plan.live_from)
        options: dict[str, object] = {"strategy": "batch", "params": params}
        workflow = self.orchestrator.start_workflow(ENGAGEMENT, "bootstrap", "bench:bootstrap", options)
        while self.orchestrator.workflow(workflow.id).step not in ENDED:
            self.tick()
        return self.orchestrator.workflow(workflow.id)

    def resume(self) -> None:
        """Go on where the copied world stood."""
        self.now = self.clock.time = self.replay.now() or self.plan.live_from
        self._asked = bisect_right(self.plan.visits, self.now, key=lambda visit: visit.as_of)
        self.actuator.look()

    def copied(self, home: Path) -> None:
        """Copy everything that the loop knows to another home: its database and its artifacts."""
        with closing(sqlite3.connect(self.home / _LIVE)) as ours, closing(sqlite3.connect(home / _LIVE)) as theirs:
            ours.backup(theirs)
        shutil.copytree(self.home / "artifacts", home / "artifacts")

    @property
    def exhausted(self) -> bool:
        """Whether the data is at its end."""
        return self.now >= self.plan.end

    def step(self) -> LoopStatus:
        """One step of the data's time: what became known, the predictions that are due, the loop's ticks."""
        until = min(self.now + self.plan.step_s, self.plan.end)
        self._feed(until)
        due = bisect_right(self.plan.visits, until, lo=self._asked, key=lambda visit: visit.as_of)
        with self._timed("predictions"):
            self._loop.run_until_complete(self._ask(self.plan.visits[self._asked : due]))
        self._asked = due
        for _ in range(TICKS - 1):
            self.tick()
        return self.tick()

    def tick(self) -> LoopStatus:
        """A second of durations, the router's look, the orchestrator's tick; a training is waited for."""
        self.clock.elapsed += 1.0
        self.actuator.look()
        with self._timed("orchestrator"):
            status = self.orchestrator.tick()
        with self._timed("training"):
            give_up = time.monotonic() + PATIENCE_S
            while self.learner.tasks(state="queued") or self.learner.tasks(state="running"):
                if time.monotonic() > give_up:
                    raise Broken(f"a training took longer than {PATIENCE_S:g} s")
                time.sleep(0.1)
        return status

    def errors(self) -> list[JoinedOutcome]:
        """Every outcome of an answer that was given before its value was known, in order of joining."""
        found: list[JoinedOutcome] = []
        last = 0
        while True:
            page, last = self.outcomes.after(last, 5000)
            if not page:
                return found
            found += [outcome for outcome in page if outcome.foreseen]

    def close(self) -> None:
        """End what was started."""
        self.learner.close()
        self._loop.run_until_complete(self.service.close())
        self._loop.close()

    def _feed(self, until: int) -> None:
        with self._timed("replay"):
            self.replay.feed(until, "bench")
        self.now = self.clock.time = until

    async def _ask(self, visits: tuple[Visit, ...]) -> None:
        self.answers.update(await asyncio.gather(*map(self._answer, visits)))
        await self.service.drain()

    async def _answer(self, visit: Visit) -> str:
        request = PredictionRequest(
            channel=visit.channel,
            post_id=visit.post_id,
            known_age_h=visit.known_age_h,
            as_of=visit.as_of,
            key=visit.key,
        )
        try:
            return (await self.service.predict(request)).arm
        except InsufficientData as gap:
            return gap.code

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.seconds[what] += time.perf_counter() - begun  # type: ignore[assignment]


@contextmanager
def loop_world(bundle: Path, home: Path, live_days: float, step_s: int) -> Iterator[LoopWorld]:
    """Stage a bundle whose last `live_days` are left to be lived through, and build the loop in a home.

    An empty home begins anew; one that another world left (`LoopWorld.copied`) goes on where that one stood.
    """
    with tempfile.TemporaryDirectory(prefix="bench-staging-") as folder:
        staging, live = Database(f"sqlite:///{Path(folder) / 'staging.db'}"), Database(f"sqlite:///{home / _LIVE}")
        for database in (staging, live):
            upgrade(database)
        import_path(bundle, staging, clock=SystemClock())
        store = ChannelStore(staging)
        histories = [store.history(channel) for channel in store.channels()]
        told = Settings(home=home, clock="replay", rollout=shortened(step_s))
        made = _built(told, live, Replay(staging, live), _planned(histories, live_days, step_s))
        made.published = {
            (h.channel.id, int(post)): int(at)
            for h in histories
            for post, at in zip(h.post_ids, h.published_at, strict=True)
        }
        try:
            yield made
        finally:
            made.close()
            staging.dispose()
            live.dispose()


def _planned(histories: list[Any], live_days: float, step_s: int) -> Timetable:
    """The story's timetable with its history ending so many days before the data does, in steps of one length."""
    found = survey(histories)
    share = 1 - live_days / found.days
    if share < 0.2:
        raise InsufficientData(
            "days of data: a history is needed too", needed=int(live_days / 0.8), have=int(found.days)
        )
    first = timetable(histories, history_share=share)
    return timetable(histories, history_share=share, steps=-(-(first.end - first.live_from) // step_s))


def _built(settings: Settings, live: Database, replay: Replay, plan: Timetable) -> LoopWorld:
    clock = ManualClock()
    artifacts = ArtifactStore(settings.artifacts)
    versioning = Versioning(live, clock, artifacts)
    drift = Drift(live, artifacts, clock, versioning)
    actuator = Actuator(live, clock, ModelLoader(live, artifacts, ENGAGEMENT))
    learner = Learner(live, artifacts, clock, settings, versioning)
    orchestrator = Orchestrator(
        live,
        clock,
        settings,
        versioning,
        drift,
        Feedback(live, clock),
        Monitoring(live, clock, settings.slo),
        learner,
        AnomalyAnalysis(live, clock),
        actuator,
        autostart=False,
    )
    log = PredictionLog(live)
    questions = Questions(ChannelStore(live), clock)
    service = PredictionService(questions, actuator.traffic, Recorder(log), log, clock, threads=1)
    return LoopWorld(
        plan,
        replay,
        clock,
        orchestrator,
        versioning,
        drift,
        learner,
        actuator,
        service,
        OutcomeStore(live),
        {},
        settings.home,
    )
