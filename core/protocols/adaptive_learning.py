"""The loop that keeps models right: feedback, monitoring, drift, learning, versioning, and the orchestrator above."""

from __future__ import annotations

from typing import Protocol

from core.protocols.common import Consumer, Service
from core.schemas.models import (
    Alias,
    AliasChange,
    ModelVersion,
    NewVersion,
    TaskState,
    TrainingRequest,
    TrainingTask,
)
from core.schemas.monitoring import AlertChange, Degradation, DriftReport, SeriesLevels, SloReport, VersionMetrics
from core.schemas.predictions import FeedbackAck, FeedbackItem, FeedbackSummary, JoinReport
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
from core.schemas.versions import ArtifactCheck, Comparison, Deployment, PruneReport
from core.schemas.workflows import LoopStatus, LoopView, Switch, Trigger, Workflow


class VersioningService(Service, Protocol):
    """Single writer of model versions and aliases."""

    def register(self, new: NewVersion) -> ModelVersion:
        """Store a version under the next number; the same key gives the same version again.

        NotFound when its artifact is not in the store.
        """
        ...

    def get(self, model: str, version: int) -> ModelVersion:
        """One version; NotFound."""
        ...

    def versions(self, model: str) -> tuple[ModelVersion, ...]:
        """All, newest first."""
        ...

    def resolve(self, model: str, alias: Alias) -> ModelVersion | None:
        """The version that an alias names."""
        ...

    def set_alias(
        self, model: str, alias: Alias, version: int | None, *, expect: int | None, reason: str, actor: str
    ) -> AliasChange:
        """Compare-and-set: the alias must name `expect` now (or already `version`), else Conflict.

        NotFound for an unknown version, Refused for a pruned one.
        """
        ...

    def history(self, model: str) -> tuple[AliasChange, ...]:
        """Every change of every alias, newest first."""
        ...

    def verify(self, model: str, version: int, *, predictions: bool = True) -> ArtifactCheck:
        """Whether a version may be put into service: its artifact is whole, the registered one, and served here.

        predictions: also compute the stored ones again, which loads the network.
        NotFound, ArtifactCorrupt, Refused (pruned, other signature, other features), NotConfigured, StorageBroken.
        """
        ...

    def compare(self, model: str, first: int, second: int) -> Comparison:
        """The second version against the first on the same posts; NotFound, InvalidInput, Refused, InsufficientData."""
        ...

    def prune(self, model: str, keep: int, dry_run: bool = False) -> PruneReport:
        """Give up artifacts of old versions that nobody uses; called again it finishes what was cut short."""
        ...

    def deployment(self, model: str) -> Deployment:
        """Which versions are in charge, since when and by whom, and what routers are told."""
        ...


class FeedbackService(Consumer, Protocol):
    """Joins outcomes to predictions; takes corrections and ratings."""

    def submit(self, items: tuple[FeedbackItem, ...]) -> tuple[FeedbackAck, ...]:
        """An answer for each item, in order: stored and how it came, or refused and why; answered means committed."""
        ...

    def summary(self) -> FeedbackSummary:
        """Items by what became of them, and what was said of each version's answers."""
        ...

    def catch_up(self) -> JoinReport:
        """Join what the new readings settle."""
        ...


class MonitoringService(Service, Protocol):
    """Measures versions in service."""

    def summary(self, model: str, version: int) -> VersionMetrics:
        """Requests, errors, latency and quality of a version since it began to answer."""
        ...

    def degradation(self, model: str, version: int, recent_days: int = 7) -> tuple[Degradation, ...]:
        """Errors, coverage and failures of the recent days against the days before; each in its own direction."""
        ...

    def levels(self, model: str, version: int | None = None) -> tuple[SeriesLevels, ...]:
        """When each stored figure changed, from what to what: of a version, or of the model over all versions."""
        ...

    def slo(self, model: str, version: int | None = None) -> SloReport:
        """Objectives, error budgets and alerts: as askers met the model, or of one version."""
        ...

    def watch(self, model: str) -> tuple[AlertChange, ...]:
        """Store which alerts of the model began or ended since the last time; what was new."""
        ...

    def alerts(self, model: str, limit: int = 50) -> tuple[AlertChange, ...]:
        """Alerts that began or ended, newest first."""
        ...


class DriftService(Service, Protocol):
    """Compares now with what a version learned from."""

    def set_reference(self, model: str, version: int) -> int:
        """Store the reference window of a version (its training rows' features); returns the rows kept."""
        ...

    def catch_up(self) -> int:
        """Feed newly joined outcomes to the residual detectors; returns how many."""
        ...

    def check(self, model: str, version: int) -> DriftReport:
        """Compare recent prediction requests with the reference; InsufficientData when either is too small."""
        ...

    def latest(self, model: str, version: int, before: int | None = None) -> DriftReport | None:
        """The last stored report, or the last one made before a moment."""
        ...


class LearningService(Service, Protocol):
    """Runs trainings and studies from a durable queue."""

    def submit(self, request: TrainingRequest) -> TrainingTask:
        """Queue it; the same key gives the same task."""
        ...

    def task(self, task_id: str) -> TrainingTask:
        """State, progress and result; NotFound."""
        ...

    def tasks(
        self, model: str | None = None, state: TaskState | None = None, limit: int = 100
    ) -> tuple[TrainingTask, ...]:
        """Newest first, of one model or in one state where asked for."""
        ...

    def cancel(self, task_id: str) -> TrainingTask:
        """Ask the training loop to stop at its next step."""
        ...


class OrchestratorService(Service, Protocol):
    """The driver: coordinates versioning, drift, anomaly, learning and roll-outs. One tick is one safe step."""

    def tick(self) -> LoopStatus:
        """Do what is due now; also called by the actor's own timer."""
        ...

    def start_workflow(
        self, model: str, trigger: Trigger, key: str, options: dict[str, object] | None = None
    ) -> Workflow:
        """Begin a workflow unless one is active (Refused); the same key gives the same workflow.

        options: tune (bool), params (dict), strategy, rollout (RolloutConfig as dict).
        """
        ...

    def workflow(self, workflow_id: str) -> Workflow:
        """One with its history; NotFound."""
        ...

    def workflows(self, model: str) -> tuple[Workflow, ...]:
        """Newest first, without histories."""
        ...

    def cancel_workflow(self, workflow_id: str, reason: str) -> Workflow:
        """End it, and the training or roll-out it has under way; NotFound, Refused when it has ended."""
        ...

    def loop(self, model: str) -> LoopView:
        """What the loop may do by itself, what is left of its budget, and what it waits for."""
        ...

    def switch(self, model: str, name: Switch, on: bool | None) -> LoopView:
        """Let the loop train or roll out by itself, or not; None leaves it to the settings."""
        ...

    def plan_rollout(self, model: str, config: RolloutConfig, assumed: TrafficFigures | None = None) -> RolloutPlan:
        """How long each step will need at the traffic measured, or assumed; changes nothing."""
        ...

    def start_rollout(
        self, model: str, version: int, config: RolloutConfig, key: str, when_busy: WhenBusy = "queue"
    ) -> RolloutStatus:
        """Roll a registered version out; a second one queues behind the first, replaces it, or is refused."""
        ...

    def rollout(self, rollout_id: str) -> RolloutStatus:
        """State and evidence; NotFound."""
        ...

    def rollouts(self, model: str) -> tuple[RolloutStatus, ...]:
        """Newest first."""
        ...

    def rollout_events(self, rollout_id: str) -> tuple[RolloutEvent, ...]:
        """The audit log, oldest first."""
        ...

    def replay_rollout(self, rollout_id: str, config: RolloutConfig | None = None) -> Replayed:
        """Step through the log again: bit for bit, or as another configuration would have decided."""
        ...

    def explain_rollout(self, rollout_id: str) -> Explanation:
        """Why it stands where it stands, from the verified log."""
        ...

    def steer(self, rollout_id: str, action: str, reason: str) -> RolloutStatus:
        """pause, resume, promote, abort; Refused when the phase or the evidence does not allow it."""
        ...
