"""Every HTTP question as a value: method, path, parameters, and the schema of the answer; sending it is another's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from core.codec import to_plain
from core.schemas.analytics import AnomalyFinding, DataStatus, Overview, PostRow, SeriesPoint
from core.schemas.channels import Channel, PostDraft
from core.schemas.content import ContentAnswer
from core.schemas.health import Health
from core.schemas.models import Alias, AliasChange, ModelVersion, TaskState, TrainingTask
from core.schemas.monitoring import AlertChange, Degradation, DriftReport, SeriesLevels, SloReport, VersionMetrics
from core.schemas.predictions import (
    BulkItem,
    FeedbackAck,
    FeedbackItem,
    FeedbackSummary,
    Prediction,
    PredictionRequest,
    SettledPrediction,
)
from core.schemas.rollouts import (
    Explanation,
    Replayed,
    RolloutEvent,
    RolloutPlan,
    RolloutStatus,
    SplitReport,
    Strategy,
    TrafficFigures,
    WhenBusy,
)
from core.schemas.versions import ArtifactCheck, Comparison, Deployment, PruneReport
from core.schemas.workflows import LoopView, Switch, Workflow
from core.store.ids import new_id

T = TypeVar("T")
Action = Literal["pause", "resume", "promote", "abort"]
#: figures that a plan may assume; the others say how they were measured
ASSUMED = ("requests_per_s", "error_rate", "pairs_per_day", "pair_sd")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One question; `kind` is what the answer is read as."""

    kind: Any
    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    key: str | None = None  # Idempotency-Key: repeating the call does it once
    patient: bool = True  # False: "no" is an answer here, not a reason to ask again


@dataclass(frozen=True, slots=True)
class ChannelPage:
    """Some channels by name; `cursor` asks for the next ones."""

    items: tuple[Channel, ...]
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether questions can be answered, and what is in the way."""

    ready: bool
    problems: dict[str, str] = field(default_factory=dict)
    model: str = ""


@dataclass(frozen=True, slots=True)
class SystemHealth:
    """The worst of all services, and each one's own answer."""

    status: Literal["ok", "degraded", "broken"]
    services: dict[str, Health]


def _get(kind: Any, path: str, **params: Any) -> Call[Any]:
    return Call(kind, "GET", path, {name: value for name, value in params.items() if value is not None})


def _post(kind: Any, path: str, body: Any = None, key: str | None = None) -> Call[Any]:
    return Call(kind, "POST", path, body=body, key=key or new_id())


def _name(text: str) -> str:
    return quote(text, safe="")


# ---------------------------------------------------------------- system


def ready() -> Call[Readiness]:
    """Can it answer?"""
    return Call(Readiness, "GET", "/readyz", patient=False)


def health() -> Call[SystemHealth]:
    """Each service, really asked."""
    return _get(SystemHealth, "/v1/health")


# ---------------------------------------------------------------- channels


def channels(cursor: str | None = None, limit: int = 500) -> Call[ChannelPage]:
    """A page of channels."""
    return _get(ChannelPage, "/v1/channels", cursor=cursor, limit=limit)


def channel(name: str) -> Call[Channel]:
    """One channel."""
    return _get(Channel, f"/v1/channels/{_name(name)}")


def data_status(name: str) -> Call[DataStatus]:
    """What is collected, and what is missing."""
    return _get(DataStatus, f"/v1/channels/{_name(name)}/status")


def overview(name: str, days: int, until: int | None) -> Call[Overview]:
    """A period against the one before."""
    return _get(Overview, f"/v1/channels/{_name(name)}/overview", days=days, until=until)


def posts(name: str, limit: int, order: str, age_h: int) -> Call[tuple[PostRow, ...]]:
    """Posts at equal age."""
    return _get(tuple[PostRow, ...], f"/v1/channels/{_name(name)}/posts", limit=limit, order=order, age_h=age_h)


def series(name: str, metric: str, bucket: str) -> Call[tuple[SeriesPoint, ...]]:
    """A metric over time."""
    return _get(tuple[SeriesPoint, ...], f"/v1/channels/{_name(name)}/series/{_name(metric)}", bucket=bucket)


def channel_anomalies(name: str, since: int | None) -> Call[tuple[AnomalyFinding, ...]]:
    """Findings of a channel."""
    return _get(tuple[AnomalyFinding, ...], f"/v1/channels/{_name(name)}/anomalies", since=since)


def anomalies(since: int | None, limit: int) -> Call[tuple[AnomalyFinding, ...]]:
    """Findings of all channels."""
    return _get(tuple[AnomalyFinding, ...], "/v1/anomalies", since=since, limit=limit)


# ---------------------------------------------------------------- predictions


def predict(
    name: str,
    *,
    post_id: int | None,
    draft: PostDraft | None,
    published_at: int | None,
    known_age_h: int,
    as_of: int | None,
    key: str | None,
    explain: bool,
) -> Call[Prediction]:
    """Views of a stored post or of a draft."""
    body = {
        "channel": name,
        "post_id": post_id,
        "draft": _described(draft),
        "published_at": published_at,
        "known_age_h": known_age_h,
        "as_of": as_of,
        "explain": explain or None,
    }
    return _post(Prediction, "/v1/predictions", {k: v for k, v in body.items() if v is not None}, key)


def content(name: str, post_id: int | None, draft: PostDraft | None, published_at: int | None) -> Call[ContentAnswer]:
    """What a stored post or a draft says, and how it would be taken."""
    body = {"channel": name, "post_id": post_id, "draft": _described(draft), "published_at": published_at}
    return _post(ContentAnswer, "/v1/content", {k: v for k, v in body.items() if v is not None})


def _described(draft: PostDraft | None) -> dict[str, Any] | None:
    return None if draft is None else {k: v for k, v in asdict(draft).items() if v is not None}


def predict_many(requests: Sequence[PredictionRequest]) -> Call[tuple[BulkItem, ...]]:
    """Views of many posts."""
    items = [{**asdict(request), "draft": _described(request.draft)} for request in requests]
    plain = [{name: value for name, value in item.items() if value is not None} for item in items]
    return _post(tuple[BulkItem, ...], "/v1/predictions/batch", {"items": plain})


def prediction(prediction_id: str) -> Call[SettledPrediction]:
    """A prediction and what became of it."""
    return _get(SettledPrediction, f"/v1/predictions/{_name(prediction_id)}")


def feedback(items: Sequence[FeedbackItem]) -> Call[tuple[FeedbackAck, ...]]:
    """Ratings and corrections."""
    plain = [{k: v for k, v in to_plain(item).items() if v is not None} for item in items]
    return _post(tuple[FeedbackAck, ...], "/v1/feedback", {"items": plain})


def feedback_summary() -> Call[FeedbackSummary]:
    """What became of feedback, and what it said."""
    return _get(FeedbackSummary, "/v1/feedback/summary")


# ---------------------------------------------------------------- models


def versions(model: str) -> Call[tuple[ModelVersion, ...]]:
    """All versions, newest first."""
    return _get(tuple[ModelVersion, ...], f"/v1/models/{_name(model)}/versions")


def version(model: str, number: int) -> Call[ModelVersion]:
    """One version."""
    return _get(ModelVersion, f"/v1/models/{_name(model)}/versions/{number}")


def alias(model: str, name: Alias) -> Call[ModelVersion]:
    """The version that an alias names."""
    return _get(ModelVersion, f"/v1/models/{_name(model)}/aliases/{name}")


def set_alias(model: str, name: Alias, number: int | None, expect: int | None, reason: str) -> Call[AliasChange]:
    """Move an alias by hand."""
    body = {"version": number, "expect": expect, "reason": reason}
    return Call(AliasChange, "PUT", f"/v1/models/{_name(model)}/aliases/{name}", body=body)


def history(model: str) -> Call[tuple[AliasChange, ...]]:
    """Changes of aliases."""
    return _get(tuple[AliasChange, ...], f"/v1/models/{_name(model)}/history")


def deployment(model: str) -> Call[Deployment]:
    """Versions in charge."""
    return _get(Deployment, f"/v1/models/{_name(model)}/deployment")


def verify(model: str, number: int) -> Call[ArtifactCheck]:
    """Check an artifact."""
    return _get(ArtifactCheck, f"/v1/models/{_name(model)}/versions/{number}/verify")


def compare(model: str, first: int, second: int) -> Call[Comparison]:
    """One version against another."""
    return _get(Comparison, f"/v1/models/{_name(model)}/compare", first=first, second=second)


def prune(model: str, keep: int, dry_run: bool) -> Call[PruneReport]:
    """Give up old versions."""
    return _post(PruneReport, f"/v1/models/{_name(model)}/prune", {"keep": keep, "dry_run": dry_run})


def traffic(model: str) -> Call[SplitReport]:
    """What a router serves."""
    return _get(SplitReport, f"/v1/models/{_name(model)}/traffic")


def metrics(model: str, number: int) -> Call[VersionMetrics]:
    """Quality in service."""
    return _get(VersionMetrics, f"/v1/monitoring/{_name(model)}/{number}")


def degradation(model: str, number: int, recent_days: int) -> Call[tuple[Degradation, ...]]:
    """What got worse lately."""
    path = f"/v1/monitoring/{_name(model)}/{number}/degradation"
    return _get(tuple[Degradation, ...], path, recent_days=recent_days)


def levels(model: str, number: int | None) -> Call[tuple[SeriesLevels, ...]]:
    """When stored figures changed."""
    return _get(tuple[SeriesLevels, ...], f"/v1/models/{_name(model)}/levels", version=number)


def slo(model: str, number: int | None) -> Call[SloReport]:
    """Objectives and error budgets."""
    return _get(SloReport, f"/v1/models/{_name(model)}/slo", version=number)


def alerts(model: str, limit: int) -> Call[tuple[AlertChange, ...]]:
    """Alerts that began or ended."""
    return _get(tuple[AlertChange, ...], f"/v1/models/{_name(model)}/alerts", limit=limit)


def drift(model: str, number: int) -> Call[DriftReport]:
    """The last drift report."""
    return _get(DriftReport, f"/v1/drift/{_name(model)}/{number}")


def check_drift(model: str, number: int) -> Call[DriftReport]:
    """A drift report made now."""
    return _post(DriftReport, f"/v1/drift/{_name(model)}/{number}/check")


# ---------------------------------------------------------------- trainings, roll-outs, workflows


def train(body: Mapping[str, Any], key: str | None) -> Call[TrainingTask]:
    """Queue a training or a search."""
    return _post(TrainingTask, "/v1/tasks", dict(body), key)


def task(task_id: str) -> Call[TrainingTask]:
    """State of a training."""
    return _get(TrainingTask, f"/v1/tasks/{_name(task_id)}")


def tasks(model: str | None, state: TaskState | None, limit: int) -> Call[tuple[TrainingTask, ...]]:
    """Trainings, newest first."""
    return _get(tuple[TrainingTask, ...], "/v1/tasks", model=model, state=state, limit=limit)


def cancel(task_id: str) -> Call[TrainingTask]:
    """Stop a training."""
    return _post(TrainingTask, f"/v1/tasks/{_name(task_id)}/cancel")


def rollouts(model: str) -> Call[tuple[RolloutStatus, ...]]:
    """Roll-outs, newest first."""
    return _get(tuple[RolloutStatus, ...], "/v1/rollouts", model=model)


def start_rollout(
    model: str,
    number: int,
    strategy: Strategy | None,
    when_busy: WhenBusy,
    config: Mapping[str, Any],
    key: str | None,
) -> Call[RolloutStatus]:
    """Put a version on trial."""
    body = {"model": model, "version": number, "when_busy": when_busy, **_config(strategy, config)}
    return _post(RolloutStatus, "/v1/rollouts", body, key)


def plan_rollout(
    model: str, strategy: Strategy | None, assumed: TrafficFigures | None, config: Mapping[str, Any]
) -> Call[RolloutPlan]:
    """How long a trial would take; asking changes nothing."""
    body = {"model": model, **_config(strategy, config)}
    if assumed is not None:
        figures = to_plain(assumed)
        body["assumed"] = {name: figures[name] for name in ASSUMED}
    return _post(RolloutPlan, "/v1/rollouts/plan", body)


def rollout(rollout_id: str) -> Call[RolloutStatus]:
    """One roll-out."""
    return _get(RolloutStatus, f"/v1/rollouts/{_name(rollout_id)}")


def rollout_events(rollout_id: str) -> Call[tuple[RolloutEvent, ...]]:
    """Its audit log."""
    return _get(tuple[RolloutEvent, ...], f"/v1/rollouts/{_name(rollout_id)}/events")


def replay_rollout(rollout_id: str, strategy: Strategy | None, config: Mapping[str, Any]) -> Call[Replayed]:
    """Its log stepped through again."""
    return _post(Replayed, f"/v1/rollouts/{_name(rollout_id)}/replay", _config(strategy, config))


def explain_rollout(rollout_id: str) -> Call[Explanation]:
    """Why it stands where it stands."""
    return _get(Explanation, f"/v1/rollouts/{_name(rollout_id)}/explain")


def steer(rollout_id: str, action: Action, reason: str) -> Call[RolloutStatus]:
    """Step in."""
    return _post(RolloutStatus, f"/v1/rollouts/{_name(rollout_id)}/{action}", {"reason": reason})


def _config(strategy: Strategy | None, config: Mapping[str, Any]) -> dict[str, Any]:
    return dict(config) if strategy is None else {"strategy": strategy, **config}


def workflows(model: str) -> Call[tuple[Workflow, ...]]:
    """Workflows, newest first."""
    return _get(tuple[Workflow, ...], "/v1/workflows", model=model)


def start_workflow(model: str, options: Mapping[str, Any], key: str | None) -> Call[Workflow]:
    """Retrain by hand."""
    return _post(Workflow, "/v1/workflows", {"model": model, "trigger": "manual", "options": dict(options)}, key)


def workflow(workflow_id: str) -> Call[Workflow]:
    """One with its history."""
    return _get(Workflow, f"/v1/workflows/{_name(workflow_id)}")


def cancel_workflow(workflow_id: str, reason: str) -> Call[Workflow]:
    """End one."""
    return _post(Workflow, f"/v1/workflows/{_name(workflow_id)}/cancel", {"reason": reason})


def loop(model: str) -> Call[LoopView]:
    """What the loop may do by itself."""
    return _get(LoopView, "/v1/loop", model=model)


def switch(model: str, name: Switch, on: bool | None) -> Call[LoopView]:
    """Change that."""
    return _post(LoopView, f"/v1/loop/{_name(name)}", {"model": model, "on": on})
