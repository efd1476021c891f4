"""One step of a workflow: asks the services and says where the workflow goes next, or that it waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from actors.adaptive_learning.deployment.controller import Controller
from actors.adaptive_learning.orchestrator.checks import Validation, against_champion, against_rolling_median
from actors.adaptive_learning.orchestrator.holds import strong_channels, suspect
from core.clock import DAY, HOUR, Clock
from core.codec import from_plain
from core.errors import InsufficientData
from core.protocols import AnomalyService, DriftService, LearningService, MonitoringService, VersioningService
from core.schemas.models import FROM_A_VERSION, Strategy, TrainingRequest, TrainingTask
from core.schemas.rollouts import Phase, RolloutConfig
from core.schemas.workflows import Step, Workflow
from core.settings import Settings

#: Posts of a changed world below which a version of it is built from nothing each time.
YOUNG = 1_000
#: Time of the data until a changed world that was too young to learn from is looked at again.
LOOK_AGAIN_S = 12 * HOUR


@dataclass(frozen=True, slots=True)
class Transition:
    """Where a workflow goes, why, and what it must remember."""

    to: Step
    reason: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing to do before something else is done."""

    on: str


@dataclass(frozen=True)
class Steps:
    """The collaborators of a step. Every request carries a key made of the workflow's id: asking again is harmless."""

    clock: Clock
    settings: Settings
    channels: int
    versioning: VersioningService
    drift: DriftService
    monitoring: MonitoringService
    learning: LearningService
    anomaly: AnomalyService
    controller: Controller
    auto_rollout: Callable[[str], bool]  # by model

    def advance(self, workflow: Workflow) -> Transition | Waiting:
        """Do the present step's work."""
        match workflow.step:
            case Step.DIAGNOSE:
                return self._diagnose(workflow)
            case Step.TUNE:
                return self._tune(workflow)
            case Step.TRAIN:
                return self._train(workflow)
            case Step.VALIDATE:
                return self._validate(workflow)
            case Step.ROLLOUT:
                return self._install(workflow) if _is_first(workflow) else self._rollout(workflow)
            case Step.SETTLE:
                return self._settle(workflow)
            case _:
                return Waiting("nothing: it has ended")

    def withdraw(self, workflow: Workflow, reason: str) -> None:
        """Stop what a workflow has under way; Refused when its roll-out cannot be taken back any more."""
        rollout_id = workflow.data.get("rollout")
        if rollout_id is not None:
            status = self.controller.status(str(rollout_id))
            if not status.over:
                self.controller.steer(str(rollout_id), "abort", reason)
            return
        if workflow.step in (Step.TUNE, Step.TRAIN):
            # Asked for again under its key, which gives the task that is there: it may not have been noted yet.
            request = self._tuning(workflow) if workflow.step is Step.TUNE else self._training(workflow)
            self.learning.cancel(self.learning.submit(request).id)

    def _diagnose(self, workflow: Workflow) -> Transition | Waiting:
        """Ask drift and anomaly what changed; data that is suspect in most channels teaches nothing."""
        until = self.clock.now()
        if until < workflow.data.get("not_before", until):
            return Waiting("more posts of the changed world")
        found: dict[str, Any] = {"until": until}
        notes = []
        champion = self.versioning.resolve(workflow.model, "champion")
        if champion is not None:
            found["champion"] = champion.version
            begin = champion.lineage.published_from
            if begin is not None and _published_from(workflow) is None:
                found["published_from"] = begin  # what the champion left out stays out
            try:
                report = self.drift.check(workflow.model, champion.version)
                moved = [f.feature for f in report.features if f.rejected]
                notes.append(f"input drift {report.severity}" + (f" ({', '.join(moved[:3])})" if moved else ""))
            except InsufficientData as gap:
                notes.append(f"input drift not known: {gap}")
            notes.append(self._in_service(workflow.model, champion.version))
        recent = self.anomaly.findings(None, until - 3 * DAY)
        strong = len(strong_channels(recent))
        notes.append(f"strong anomalies in {strong} of {self.channels} channels in three days")
        if suspect(recent, self.channels) and workflow.trigger != "manual":
            return Transition(Step.STOPPED, "; ".join(notes) + ": the data is suspect, not the model", found)
        next_step = Step.TUNE if workflow.data.get("tune") else Step.TRAIN
        return Transition(next_step, "; ".join(notes), found)

    def _in_service(self, model: str, version: int) -> str:
        """How the champion did, in its slice with the most outcomes."""
        metrics = self.monitoring.summary(model, version)
        if not metrics.quality:
            return f"v{version}: {metrics.requests} requests, no outcomes yet"
        most = max(metrics.quality, key=lambda q: q.n)
        return (
            f"v{version}: |log error| {most.mae_log:.3f}, bias {most.bias_log:+.3f}, coverage {most.coverage:.2f} "
            f"({most.target} at {most.known_age_h} h, n {most.n})"
        )

    def _tuning(self, workflow: Workflow) -> TrainingRequest:
        return TrainingRequest(
            key=f"{workflow.id}:tune",
            model=workflow.model,
            kind="tune",
            until=workflow.data["until"],
            budget_s=self.settings.tune_budget_s,
        )

    def _tune(self, workflow: Workflow) -> Transition | Waiting:
        task = self.learning.submit(self._tuning(workflow))
        if task.state in ("queued", "running"):
            return Waiting(_progress("tuning", task))
        data = {"tune_task": task.id}
        if task.result is None or task.result.best_params is None:
            return Transition(Step.TRAIN, f"no parameters from tuning ({task.error}): the defaults are used", data)
        reason = f"{len(task.result.trials)} trials in {task.result.seconds:.0f} s"
        return Transition(Step.TRAIN, reason, {**data, "params": task.result.best_params})

    def _training(self, workflow: Workflow) -> TrainingRequest:
        champion = workflow.data.get("champion")
        strategy = self._strategy(workflow)
        return TrainingRequest(
            key=f"{workflow.id}:train:{strategy}:{workflow.data['until']}",
            model=workflow.model,
            strategy=strategy,
            until=workflow.data["until"],
            published_from=self._begin(workflow),
            warm_start=champion if strategy in FROM_A_VERSION else None,
            compare_with=champion,
            params=dict(workflow.data.get("params") or {}),
        )

    def _train(self, workflow: Workflow) -> Transition | Waiting:
        request = self._training(workflow)
        strategy = request.strategy
        task = self.learning.submit(request)
        if task.state in ("queued", "running"):
            return Waiting(_progress(f"training ({strategy})", task))
        data = {"train_task": task.id}
        if task.reason == InsufficientData.code and request.published_from is not None:
            # A young world grows: what is too little now is not a reason to give up.
            again = {**data, "not_before": self.clock.now() + LOOK_AGAIN_S}
            return Transition(Step.DIAGNOSE, f"not enough yet of the changed world: {task.error}", again)
        if task.result is None or task.result.version is None:
            return Transition(Step.STOPPED, f"no version: {task.error or task.state}", data)
        reason = f"v{task.result.version} in {task.result.seconds:.1f} s ({strategy})"
        return Transition(Step.VALIDATE, reason, {**data, "version": task.result.version, "strategy": strategy})

    def _strategy(self, workflow: Workflow) -> Strategy:
        asked = workflow.data.get("retry") or workflow.data.get("asked_strategy")
        if asked is not None:
            return from_plain(Strategy, asked)  # type: ignore[arg-type]
        if workflow.data.get("params"):
            return "tuned"  # parameters of a search are those of a fit from the start
        return "batch" if _is_first(workflow) or self._is_young(workflow) else "incremental"

    def _begin(self, workflow: Workflow) -> int | None:
        """No earlier post is learned from. A second try from the champion takes back this change, no earlier one."""
        champion = workflow.data.get("champion")
        if workflow.data.get("retry") == "incremental" and champion is not None:
            return self.versioning.get(workflow.model, int(champion)).lineage.published_from
        return _published_from(workflow)

    def _is_young(self, workflow: Workflow) -> bool:
        """Whether so little is known since the world changed that a rebuild costs no more than learning on.

        What the champion believes is wrong there, or rests on the accidents of a few posts: nothing to start from.
        """
        begin, champion = _published_from(workflow), workflow.data.get("champion")
        if begin is None or champion is None:
            return False
        lineage = self.versioning.get(workflow.model, int(champion)).lineage
        return lineage.data_until < begin or lineage.posts < YOUNG

    def _validate(self, workflow: Workflow) -> Transition | Waiting:
        version = self.versioning.get(workflow.model, int(workflow.data["version"]))
        if _is_first(workflow):
            checked = against_rolling_median(version.metrics, self.settings.rollout.quality_margin)
        else:
            checked = against_champion(version.metrics)
        if checked.outcome is Validation.PASS or workflow.data.get("skip_validation"):
            return Transition(Step.ROLLOUT, checked.reason)
        if checked.outcome is Validation.WORSE and "retry" not in workflow.data:
            if workflow.data.get("strategy") in FROM_A_VERSION:
                return Transition(Step.TRAIN, f"{checked.reason}; once more from the start", {"retry": "batch"})
            if _published_from(workflow) is not None and "asked_strategy" not in workflow.data:
                reason = f"{checked.reason}; once more from the champion, on all that it learned from"
                return Transition(Step.TRAIN, reason, {"retry": "incremental"})
        return Transition(Step.STOPPED, f"v{version.version} is not put on trial: {checked.reason}")

    def _install(self, workflow: Workflow) -> Transition | Waiting:
        """A first version has nothing to be compared with in service."""
        version = int(workflow.data["version"])
        self.controller.install(workflow.model, version, f"first version, workflow {workflow.id}")
        return Transition(Step.SETTLE, f"v{version} installed without a trial: there was no version before it")

    def _rollout(self, workflow: Workflow) -> Transition | Waiting:
        version, rollout_id = int(workflow.data["version"]), workflow.data.get("rollout")
        if rollout_id is None:
            defaults = self.settings.rollout.config()
            config = from_plain(RolloutConfig, workflow.data["config"]) if workflow.data.get("config") else defaults
            config = replace(config, skip_validation=bool(workflow.data.get("skip_validation")))
            approved = self.auto_rollout(workflow.model) or workflow.trigger == "manual"
            key = f"{workflow.id}:rollout"
            status = self.controller.start(workflow.model, version, config, key, approved=approved)
            reason = (
                f"roll-out of v{version} begins" if approved else f"v{version} waits for approval: resume to start it"
            )
            return Transition(Step.ROLLOUT, reason, {"rollout": status.id})
        status = self.controller.status(str(rollout_id))
        if status.phase == Phase.PROMOTED:
            return Transition(Step.SETTLE, status.reason)
        if status.phase in (Phase.ROLLED_BACK, Phase.HALTED):
            return Transition(Step.STOPPED, f"{status.phase}: {status.reason}")
        return Waiting(f"roll-out of v{version}: {status.phase}, {status.reason}")

    def _settle(self, workflow: Workflow) -> Transition | Waiting:
        """The new champion brings its own reference window."""
        version = int(workflow.data["version"])
        rows = self.drift.set_reference(workflow.model, version)
        return Transition(Step.DONE, f"v{version} is champion; drift reference of {rows} rows")


def _published_from(workflow: Workflow) -> int | None:
    """Earlier posts are of another world; None: there is but one."""
    found = workflow.data.get("published_from")
    return None if found is None else int(found)


def _is_first(workflow: Workflow) -> bool:
    """Whether there was no champion when the workflow looked: nothing to start from, nothing to be compared with."""
    return workflow.data.get("champion") is None


def _progress(what: str, task: TrainingTask) -> str:
    if task.progress is None:
        return f"{what}: {task.state}"
    return f"{what}: epoch {task.progress.epoch} of {task.progress.epochs}, loss {task.progress.loss:.4f}"
