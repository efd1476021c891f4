"""The driver orchestrator: one tick does what is due; everything it knows is in the database."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import structlog

from actors.adaptive_learning.deployment.controller import Controller
from actors.adaptive_learning.orchestrator import holds
from actors.adaptive_learning.orchestrator.notices import Notices
from actors.adaptive_learning.orchestrator.steps import Steps, Waiting
from actors.adaptive_learning.orchestrator.triggers import BUDGET_S, Changed, changed_at, decide
from core.clock import HOUR, Clock
from core.errors import AnalyticBotError, InsufficientData, InvalidInput, NoData, Refused, ServiceUnavailable
from core.protocols import (
    AnomalyService,
    DriftService,
    FeedbackService,
    LearningService,
    MonitoringService,
    VersioningService,
)
from core.protocols.traffic import TrafficActuator
from core.schemas.health import Health
from core.schemas.models import ModelVersion
from core.schemas.monitoring import DriftReport
from core.schemas.predictions import ENGAGEMENT
from core.schemas.rollouts import (
    Explanation,
    Replayed,
    RolloutConfig,
    RolloutEvent,
    RolloutPlan,
    RolloutStatus,
    TrafficFigures,
    WhenBusy,
)
from core.schemas.workflows import ENDED, LoopStatus, LoopView, Step, Switch, Trigger, Workflow
from core.settings import Settings
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.workflows import WorkflowStore

log = structlog.get_logger(__name__)

#: Time of the data between two comparisons of the inputs with the reference.
DRIFT_CHECK_S = 12 * HOUR
#: Seconds between two looks at the objectives: the shortest window of an alert is five minutes.
WATCH_S = 30.0
#: Transitions in one tick; more are left to the next, so that a tick stays short.
TRANSITIONS_A_TICK = 4
_OPTIONS = frozenset({"tune", "params", "strategy", "rollout", "skip_validation"})


@dataclass
class Orchestrator:
    """Coordinates versioning, drift, anomaly, learning and roll-outs.

    One thread at a time ticks (its own timer's or a caller's); a restart goes on from the stored workflow and roll-out.
    """

    database: Database
    clock: Clock
    settings: Settings
    versioning: VersioningService
    drift: DriftService
    feedback: FeedbackService
    monitoring: MonitoringService
    learning: LearningService
    anomaly: AnomalyService
    actuator: TrafficActuator
    autostart: bool = True

    def __post_init__(self) -> None:
        self._store = WorkflowStore(self.database)
        self._channels = ChannelStore(self.database, self.settings.tenant)
        self.controller = Controller(self.database, self.clock, self.versioning, self.actuator)
        self._notices = Notices.of(self.database, self.settings.rollout.webhook)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._referenced: int | None = None
        self._compared: tuple[int, int] | None = None  # champion whose inputs were compared last, and when
        self._waiting_for = "its first tick"
        self._watched: float | None = None  # when objectives were judged last, on the machine's clock
        if self.autostart:
            # A roll-out is watched by a thread of its own: a consumer that hangs must not delay a way back or a lease;
            # nor may somebody who is slow to take a notice.
            for name, turn in (("tick", self.tick), ("control", self.control), ("notices", self.notify)):
                threading.Thread(target=self._run, args=(turn,), name=name, daemon=True).start()

    # ------------------------------------------------------------ the loop

    def tick(self, model: str = ENGAGEMENT) -> LoopStatus:
        """Let the consumers catch up, move the roll-out, move the workflow or look for a trigger."""
        with self._lock:
            notes: list[str] = []
            self._nudge(notes)
            rollout = self._attempt(notes, "roll-out", lambda: self.control(model))
            champion = self.versioning.resolve(model, "champion")
            if champion is not None:
                self._attempt(notes, "drift", partial(self._mind_world, champion, rollout))
            workflow = self._store.active(model)
            if workflow is not None:
                workflow, waiting = self._advance(workflow, notes)
            else:
                waiting = self._watch(model, notes)
                workflow = self._store.latest(model)
            champion = self.versioning.resolve(model, "champion")
            self._waiting_for = waiting
            return LoopStatus(
                model=model,
                champion=None if champion is None else champion.version,
                workflow=workflow,
                rollout=rollout.id if rollout else None,
                waiting_for=waiting,
                notes=tuple(notes),
            )

    def control(self, model: str = ENGAGEMENT) -> RolloutStatus | None:
        """Move the active roll-out and renew its lease; None: there is none."""
        return self.controller.tick(model)

    def notify(self, model: str = ENGAGEMENT) -> int:
        """Tell people what roll-outs decided and which promises began or ceased to be broken; how many notices."""
        self._watch_promises(model)
        return self._notices.deliver(model)

    def _watch_promises(self, model: str) -> None:
        """What is stored already is told even where the objectives cannot be judged now."""
        now = self.clock.monotonic()
        if self._watched is not None and now - self._watched < WATCH_S:
            return
        try:
            self.monitoring.watch(model)
        except ServiceUnavailable as error:
            log.warning("service_unavailable", service="monitoring", error=str(error))
            return
        self._watched = now

    def _run(self, turn: Callable[[], object]) -> None:
        while True:  # at once: after a restart a roll-out waits to be steered
            try:
                turn()
            except AnalyticBotError as error:
                log.warning("tick_failed", error=str(error), code=error.code)
            except Exception:
                log.exception("tick_failed")  # a bug in one turn must not end all turns: a roll-out would be alone
            if self._stop.wait(self.settings.tick_s):
                return

    def stop(self) -> None:
        """End the timer."""
        self._stop.set()

    def _nudge(self, notes: list[str]) -> None:
        for name, consumer in (("feedback", self.feedback), ("drift", self.drift), ("anomaly", self.anomaly)):
            self._attempt(notes, name, consumer.catch_up)

    def _attempt(self, notes: list[str], name: str, call: Callable[[], Any]) -> Any:
        """What a restarting service or missing data keeps from being done is noted; the rest of the tick goes on."""
        try:
            return call()
        except ServiceUnavailable as error:
            notes.append(f"{name}: {error}")
            log.warning("service_unavailable", service=name, error=str(error))
        except InsufficientData as gap:
            notes.append(f"{name}: {gap}")
        return None

    def _advance(self, workflow: Workflow, notes: list[str]) -> tuple[Workflow, str]:
        steps = self._steps()
        for _ in range(TRANSITIONS_A_TICK):
            try:
                outcome = steps.advance(workflow)
            except ServiceUnavailable as error:
                notes.append(str(error))
                return workflow, str(error)
            except AnalyticBotError as error:
                kind = Step.STOPPED if isinstance(error, InsufficientData) else Step.FAILED
                workflow = self._store.move(workflow, kind, f"{error.title}: {error}", {}, self.clock.now())
                return workflow, str(error)
            if isinstance(outcome, Waiting):
                return workflow, outcome.on
            workflow = self._store.move(workflow, outcome.to, outcome.reason, outcome.data, self.clock.now())
            log.info("workflow", id=workflow.id, step=str(workflow.step), reason=outcome.reason)
            if workflow.step in ENDED:
                return workflow, outcome.reason
        return workflow, f"{workflow.step} goes on"

    def _watch(self, model: str, notes: list[str]) -> str:
        champion = self.versioning.resolve(model, "champion")
        if champion is None:
            return "a first version: start a workflow with trigger 'bootstrap'"
        if not self._is_on(model, "auto_train"):
            return "someone: automatic training is switched off"
        labels = self._store.labelled_posts_since(model, champion.lineage.data_until)
        now = self.clock.now()
        report = self._attempt(notes, "drift", lambda: self._drift(champion))
        moment = changed_at(report)
        changed = None
        if moment is not None:
            changed = Changed(moment, self._store.labelled_posts_since(model, moment, published_from=moment))
        decision = decide(
            now=now,
            rules=self.settings.loop,
            spent=self._store.spent_since(model, now - BUDGET_S),
            champion=champion,
            new_labels=labels,
            drift=report,
            degraded=self._attempt(notes, "monitoring", lambda: self.monitoring.degradation(model, champion.version))
            or (),
            last=self._store.latest(model),
            changed=changed,
        )
        if decision.trigger is not None:
            # One workflow for one state of affairs: a restart in the middle does not begin a second one.
            key = f"{decision.trigger}:v{champion.version}:{self._last_id(model)}"
            data = {} if decision.published_from is None else {"published_from": decision.published_from}
            self._store.begin(model, decision.trigger, key, Step.DIAGNOSE, decision.reason, data, now)
        return decision.reason

    def _is_on(self, model: str, name: Switch) -> bool:
        by_setting = {"auto_train": self.settings.auto_train, "auto_rollout": self.settings.auto_rollout}
        return self._store.switches(model).get(name, by_setting[name])

    def _mind_world(self, champion: ModelVersion, rollout: RolloutStatus | None) -> None:
        """A champion has its own reference, however it came there; a world that moves holds a roll-out."""
        if self._referenced != champion.version:
            self.drift.set_reference(champion.model, champion.version)
            self._referenced = champion.version
        if rollout is None:
            return
        report = self._drift(champion)
        # The report that a workflow began with may be of the very second in which its roll-out started.
        earlier = self.drift.latest(champion.model, champion.version, rollout.started_at + 1)
        findings, channels = self.anomaly.findings(None, rollout.started_at), len(self._channels.channels())
        for reason in holds.reasons(rollout, report, earlier, findings, channels):
            self.controller.drifted(champion.model, reason)

    def _last_id(self, model: str) -> str:
        last = self._store.latest(model)
        return last.id if last else "first"

    def _drift(self, champion: ModelVersion) -> DriftReport | None:
        """The latest report, made anew when it is older than half a day of the data's time."""
        now = self.clock.now()
        latest = self.drift.latest(champion.model, champion.version)
        # A comparison that found nothing new leaves the older report: it must not be made again in every tick.
        version, at = self._compared or (0, 0)
        compared = max(latest.at, at if version == champion.version else 0) if latest is not None else None
        if compared is not None and now - compared < DRIFT_CHECK_S:
            return latest
        try:
            report = self.drift.check(champion.model, champion.version)
        except InsufficientData:
            return latest
        self._compared = (champion.version, now)
        return report

    def _steps(self) -> Steps:
        return Steps(
            clock=self.clock,
            settings=self.settings,
            channels=len(self._channels.channels()),
            versioning=self.versioning,
            drift=self.drift,
            monitoring=self.monitoring,
            learning=self.learning,
            anomaly=self.anomaly,
            controller=self.controller,
            auto_rollout=partial(self._is_on, name="auto_rollout"),
        )

    # ------------------------------------------------------------ asked from outside

    def start_workflow(
        self, model: str, trigger: Trigger, key: str, options: dict[str, object] | None = None
    ) -> Workflow:
        """Begin a workflow unless one is active (Refused); the same key gives the same workflow."""
        given = dict(options or {})
        unknown = sorted(set(given) - _OPTIONS)
        if unknown:
            raise InvalidInput(f"unknown option {unknown[0]!r}; known: {', '.join(sorted(_OPTIONS))}", field=unknown[0])
        if given.get("strategy") == "bandit":
            raise InvalidInput("the bandit makes no version to roll out: train it as a task", field="strategy")
        if not self._channels.channels():
            raise NoData("there is no channel to learn from: import data first")
        data = {name: value for name, value in given.items() if name not in ("strategy", "rollout")}
        if given.get("strategy"):
            data["asked_strategy"] = given["strategy"]
        if given.get("rollout"):
            data["config"] = given["rollout"]
        return self._store.begin(model, trigger, key, Step.DIAGNOSE, f"asked for: {trigger}", data, self.clock.now())

    def workflow(self, workflow_id: str) -> Workflow:
        """One with its history; NotFound."""
        return self._store.get(workflow_id)

    def workflows(self, model: str) -> tuple[Workflow, ...]:
        """Newest first, without histories."""
        return self._store.all(model)

    def cancel_workflow(self, workflow_id: str, reason: str) -> Workflow:
        """End a workflow and what it has under way: its training stops, its roll-out goes back to the stable version.

        NotFound; Refused when it has ended, or its roll-out cannot be taken back any more.
        """
        with self._lock:
            workflow = self._store.get(workflow_id)
            if workflow.step in ENDED:
                raise Refused(f"workflow {workflow_id} has ended ({workflow.step})", workflow=workflow_id)
            self._steps().withdraw(workflow, reason)
            return self._store.move(workflow, Step.STOPPED, f"cancelled: {reason}", {}, self.clock.now())

    def loop(self, model: str) -> LoopView:
        """What the loop may do by itself, and what it waits for."""
        now, rules = self.clock.now(), self.settings.loop
        return LoopView(
            model=model,
            auto_train=self._is_on(model, "auto_train"),
            auto_rollout=self._is_on(model, "auto_rollout"),
            spent=self._store.spent_since(model, now - BUDGET_S),
            trainings_a_week=rules.trainings_a_week,
            training_s_a_week=rules.training_s_a_week,
            waiting_for=self._waiting_for,
        )

    def switch(self, model: str, name: Switch, on: bool | None) -> LoopView:
        """Let the loop do something by itself, or not; None leaves it to the settings. Lasts over restarts."""
        if name not in get_args(Switch):
            raise InvalidInput(f"there is no switch {name!r}: {', '.join(get_args(Switch))}", field="name")
        self._store.switch(model, name, on, self.clock.now())
        return self.loop(model)

    def plan_rollout(self, model: str, config: RolloutConfig, assumed: TrafficFigures | None = None) -> RolloutPlan:
        """How long each step will need at the traffic measured, or assumed; changes nothing."""
        return self.controller.plan(model, config, assumed)

    def start_rollout(
        self, model: str, version: int, config: RolloutConfig, key: str, when_busy: WhenBusy = "queue"
    ) -> RolloutStatus:
        """Roll a registered version out; a second one queues behind the first, replaces it, or is refused."""
        return self.controller.start(model, version, config, key, when_busy=when_busy)

    def rollout(self, rollout_id: str) -> RolloutStatus:
        """State and evidence; NotFound."""
        return self.controller.status(rollout_id)

    def rollouts(self, model: str) -> tuple[RolloutStatus, ...]:
        """Newest first."""
        return self.controller.statuses(model)

    def rollout_events(self, rollout_id: str) -> tuple[RolloutEvent, ...]:
        """The audit log, oldest first."""
        return self.controller.events(rollout_id)

    def replay_rollout(self, rollout_id: str, config: RolloutConfig | None = None) -> Replayed:
        """Step through the log again: bit for bit, or as another configuration would have decided."""
        return self.controller.replay(rollout_id, config)

    def explain_rollout(self, rollout_id: str) -> Explanation:
        """Why it stands where it stands, from the verified log."""
        return self.controller.explain(rollout_id)

    def steer(self, rollout_id: str, action: str, reason: str) -> RolloutStatus:
        """pause, resume, promote, abort; Refused when the phase or the evidence does not allow it."""
        return self.controller.steer(rollout_id, action, reason)

    def health(self) -> Health:
        """Read the loop's state."""
        try:
            active = self._store.active(ENGAGEMENT)
        except AnalyticBotError as error:
            return Health("orchestrator", "broken", str(error), os.getpid())
        named = "none" if active is None else f"{active.id} at {active.step}"
        return Health("orchestrator", "ok", f"read the active workflow of {ENGAGEMENT}: {named}", os.getpid())
