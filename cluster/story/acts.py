"""The story's acts: a first model, the loop that keeps it right, and a bad model that is taken back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from cluster.services import Proxies
from cluster.story.replayer import Replayer
from cluster.story.screen import Screen, day
from core.errors import ServiceUnavailable
from core.schemas.models import TrainingRequest, TrainingTask
from core.schemas.predictions import ENGAGEMENT
from core.schemas.rollouts import Phase, RolloutConfig, RolloutStatus
from core.schemas.workflows import ENDED, LoopStatus, Step, Workflow

#: Without any trigger of its own by this share of the replay, the loop is asked to retrain (and the screen says so).
ASK_AT = 0.35


@dataclass(slots=True)
class Result:
    """How the story ended."""

    first: int | None = None
    promoted: list[int] = field(default_factory=list)
    rolled_back: list[int] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Acts:
    """Plays the acts against running services."""

    screen: Screen
    replayer: Replayer
    services: Proxies
    config: RolloutConfig
    result: Result = field(default_factory=Result)
    patience_s: float = 600.0
    _phases: dict[str, str] = field(default_factory=dict)

    # ------------------------------------------------------------ act 1: a first model

    def first_model(self) -> bool:
        """Tune, train and put the first version into service; False when a rule stopped it."""
        workflow = self.services.orchestrator.start_workflow(ENGAGEMENT, "bootstrap", "story:bootstrap", {"tune": True})
        workflow = self._until(lambda w: w.step in ENDED, workflow)
        self._report_training(workflow)
        if workflow.step is not Step.DONE:
            self.screen.missing("first model", _last_reason(workflow))
            self.result.missing.append("first model")
            return False
        champion = self.services.versioning.resolve(ENGAGEMENT, "champion")
        self.result.first = champion.version if champion else None
        self.screen.line(f"v{self.result.first} is in service")
        return True

    # ------------------------------------------------------------ act 2: the loop

    def loop(self) -> None:
        """Replay until the loop has put a better version into service, or the data ends."""
        begun: set[str] = set()
        while not self.replayer.exhausted:
            status = self.replayer.step()
            self._show_progress(status)
            workflow = status.workflow
            if workflow is None or workflow.trigger == "bootstrap":
                if self.replayer.share_done >= ASK_AT:
                    self.screen.line(f"no trigger by {day(self.replayer.now)}: asking for a retraining by hand")
                    self.services.orchestrator.start_workflow(ENGAGEMENT, "manual", "story:manual", None)
                continue
            if workflow.id not in begun:
                begun.add(workflow.id)
                self.screen.line(f"{day(self.replayer.now)}  retraining begins: {workflow.trigger}")
            if workflow.step in (Step.DIAGNOSE, Step.TUNE, Step.TRAIN, Step.VALIDATE):
                # Training takes wall time, not the data's: the replay waits for it.
                workflow = self._until(
                    lambda w: w.step not in (Step.DIAGNOSE, Step.TUNE, Step.TRAIN, Step.VALIDATE), workflow
                )
                self._report_training(workflow)
            if workflow.step in ENDED and self._settled(workflow):
                return
            self._wait_while_preparing(status.rollout or workflow.data.get("rollout"))
        self.screen.missing("roll-out", "the data ended before the evidence was enough")
        self.result.missing.append("roll-out")

    def _settled(self, workflow: Workflow) -> bool:
        full = self.services.orchestrator.workflow(workflow.id)
        if full.data.get("rollout"):
            self._show_rollout(self.services.orchestrator.rollout(str(full.data["rollout"])))
        if full.step is Step.DONE:
            return True
        if self.replayer.share_done < ASK_AT:
            return False
        self.screen.line(f"that workflow ended without a new version: {_last_reason(full)}")
        key = f"story:again:{full.id}"
        self.services.orchestrator.start_workflow(ENGAGEMENT, "manual", key, {"strategy": "batch"})
        return False

    # ------------------------------------------------------------ act 3: a bad model

    def damaged_model(self) -> None:
        """Train on wrongly joined outcomes, skip the offline check, and watch the roll-out take it back."""
        champion = self.services.versioning.resolve(ENGAGEMENT, "champion")
        if champion is None:
            return
        request = TrainingRequest(
            key="story:damaged", model=ENGAGEMENT, strategy="damaged", compare_with=champion.version
        )
        task = self._until_task(self.services.learning.submit(request))
        if task.result is None or task.result.version is None:
            self.screen.missing("roll-back", task.error or "the damaged version was not trained")
            return
        self.screen.line(
            f"v{task.result.version}: trained with outcomes joined to the wrong posts, as a broken join would"
        )
        if task.result.evaluation and task.result.evaluation.versus_champion:
            self.screen.comparison(task.result.evaluation.versus_champion)
        self.screen.line("the offline check would refuse it; it is skipped here, to see the roll-out defend itself")
        config = replace(self.config, skip_validation=True)
        status = self.services.orchestrator.start_rollout(ENGAGEMENT, task.result.version, config, "story:damaged")
        while not self.replayer.exhausted:
            self._wait_while_preparing(status.id)
            self.replayer.step()
            status = self.services.orchestrator.rollout(status.id)
            self._show_rollout(status)
            if status.over:
                return
        status = self._drain(status)
        if not status.over:
            self.screen.missing("roll-back", "the data ended before the evidence was enough")
            self.result.missing.append("roll-back")

    def _drain(self, status: RolloutStatus) -> RolloutStatus:
        """Let a roll-back that has begun finish after the data's end."""
        give_up = time.monotonic() + 30
        while status.phase == Phase.ROLLING_BACK and time.monotonic() < give_up:
            self.services.orchestrator.tick()
            time.sleep(0.2)
            status = self.services.orchestrator.rollout(status.id)
            self._show_rollout(status)
        return status

    # ------------------------------------------------------------ waiting and showing

    def _until(self, reached: Callable[[Workflow], bool], workflow: Workflow) -> Workflow:
        """Tick until the workflow is there; wall time passes, the data's does not."""
        give_up = time.monotonic() + self.patience_s
        seen: Step | None = None
        while True:
            workflow = self.services.orchestrator.workflow(workflow.id)
            if workflow.step is not seen:
                seen = workflow.step
                self.screen.line(f"{workflow.trigger}: {seen}: {_last_reason(workflow)}")
            if reached(workflow):
                return workflow
            if time.monotonic() > give_up:
                raise ServiceUnavailable(f"the workflow stayed at {workflow.step} for {self.patience_s:g} s")
            self.services.orchestrator.tick()
            time.sleep(0.2)

    def _until_task(self, task: TrainingTask) -> TrainingTask:
        give_up = time.monotonic() + self.patience_s
        while task.state in ("queued", "running"):
            if time.monotonic() > give_up:
                raise ServiceUnavailable(f"the training stayed {task.state} for {self.patience_s:g} s")
            time.sleep(0.2)
            task = self.services.learning.task(task.id)
        return task

    def _wait_while_preparing(self, rollout_id: object) -> None:
        """Loading the challenger takes wall time: the replay waits."""
        if not rollout_id:
            return
        give_up = time.monotonic() + self.patience_s
        while True:
            status = self.services.orchestrator.rollout(str(rollout_id))
            self._show_rollout(status)
            if status.phase != Phase.PREPARING or time.monotonic() > give_up:
                return
            self.services.orchestrator.tick()
            time.sleep(0.2)

    def _show_rollout(self, status: RolloutStatus) -> None:
        before = self._phases.get(status.id)
        if status.phase == before:
            return
        self._phases[status.id] = status.phase
        self.screen.rollout(status, before)
        if status.phase == Phase.PROMOTED:
            self.result.promoted.append(status.challenger)
        if status.phase == Phase.ROLLED_BACK:
            self.result.rolled_back.append(status.challenger)

    def _show_progress(self, status: LoopStatus) -> None:
        if self.replayer.steps_done % 20:
            return
        text = f"{day(self.replayer.now)}  {sum(self._answers().values()):,} predictions answered"
        if status.champion is not None:
            metrics = self.services.monitoring.summary(ENGAGEMENT, status.champion)
            text += f"; v{status.champion}: {metrics.matured:,} outcomes"
            if metrics.quality:
                best = max(metrics.quality, key=lambda q: q.n)
                text += f", |log error| {best.mae_log:.3f} at {best.known_age_h} h for {best.target} (n {best.n})"
        self.screen.line(text)

    def _answers(self) -> dict[str, int]:
        counts = self.replayer.asker.counts
        return {arm: counts[arm] for arm in ("stable", "canary", "rescued")}

    def _report_training(self, workflow: Workflow) -> None:
        for name in ("tune_task", "train_task"):
            task_id = workflow.data.get(name)
            if not task_id:
                continue
            task = self.services.learning.task(str(task_id))
            if task.result is None:
                continue
            if task.kind == "tune":
                trials = len(task.result.trials)
                self.screen.line(
                    f"tuned: {trials} trials in {task.result.seconds:.0f} s, best {task.result.best_params}"
                )
                continue
            self.screen.line(f"trained v{task.result.version} in {task.result.seconds:.1f} s ({task.request.strategy})")
            if task.result.evaluation:
                self.screen.evaluation(task.result.evaluation)
                if task.result.evaluation.versus_champion:
                    self.screen.comparison(task.result.evaluation.versus_champion)


def _last_reason(workflow: Workflow) -> str:
    return workflow.events[-1].reason if workflow.events else "begun"
