"""Routes about models: versions and aliases, quality in service, drift, trainings, what people say of predictions."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from core.errors import NotFound
from core.schemas.models import (
    Alias,
    AliasChange,
    ModelVersion,
    Strategy,
    TaskState,
    TrainingRequest,
    TrainingTask,
)
from core.schemas.monitoring import AlertChange, Degradation, DriftReport, SeriesLevels, SloReport, VersionMetrics
from core.schemas.predictions import ENGAGEMENT, FeedbackAck, FeedbackItem, FeedbackSummary, Target
from core.schemas.rollouts import SplitReport
from core.schemas.versions import ArtifactCheck, Comparison, Deployment, PruneReport
from core.store.ids import derived_id, new_id
from serve_apps import problems
from serve_apps.gateway.reply import cached, in_thread, json
from serve_apps.gateway.services import GatewayParts

Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=64)]

#: feedback items in one request
ITEMS = 1000


class AliasBody(BaseModel):
    """Move an alias: it must name `expect` now."""

    model_config = ConfigDict(extra="forbid")

    version: int | None = Field(ge=1)
    expect: int | None = Field(ge=1)
    reason: str = Field(min_length=1, max_length=1000)


class PruneBody(BaseModel):
    """Give up artifacts of old versions that nobody uses."""

    model_config = ConfigDict(extra="forbid")

    keep: int = Field(ge=1, description="how many of the newest versions stay whatever becomes of them")
    dry_run: bool = Field(False, description="only say what would go")


class TrainingBody(BaseModel):
    """A training or a search for better parameters."""

    model_config = ConfigDict(extra="forbid")

    model: str = ENGAGEMENT
    kind: str = Field("train", pattern="^(train|tune)$")
    strategy: Strategy = "batch"
    channels: tuple[str, ...] = Field((), max_length=1000, description="learn from these alone; none: all")
    until: int | None = Field(None, ge=0, description="use nothing known later, epoch seconds; default: now")
    published_from: int | None = Field(
        None, ge=0, description="learn from no post published earlier, epoch seconds: the world changed then"
    )
    warm_start: int | None = Field(None, ge=1, description="version whose weights to start from")
    compare_with: int | None = Field(None, ge=1, description="version to evaluate on the same holdout")
    params: dict[str, float | int | str | bool | list[int]] = Field(default_factory=dict)
    budget_s: float = Field(120.0, gt=0, le=24 * 3600)
    priority: int = Field(0, ge=-10, le=10)
    after: tuple[str, ...] = Field((), max_length=100, description="tasks that must be done before this one begins")
    timeout_s: float | None = Field(
        None, gt=0, le=7 * 24 * 3600, description="an attempt that takes longer is ended; default: ten times the budget"
    )
    attempts: int = Field(3, ge=1, le=20, description="how often it is begun before it is given up")

    def request(self, key: str) -> TrainingRequest:
        """As the learner takes it."""
        return TrainingRequest(key=key, **self.model_dump())


class FeedbackItemBody(BaseModel):
    """What a person says of a prediction: a rating 1..5, or the right value of a target."""

    model_config = ConfigDict(extra="forbid")

    prediction_id: str = Field(min_length=1, max_length=64)
    kind: Literal["rating", "correction"]
    value: float
    target: Target | None = None
    observed_at: int | None = Field(None, ge=0, description="when it was seen, epoch seconds; default: now")
    key: str | None = Field(None, min_length=1, max_length=100, description="default: of the Idempotency-Key header")


class FeedbackBody(BaseModel):
    """Some feedback; each item is judged by itself."""

    model_config = ConfigDict(extra="forbid")

    items: tuple[FeedbackItemBody, ...] = Field(min_length=1, max_length=ITEMS)

    def feedback(self, key: str) -> tuple[FeedbackItem, ...]:
        """The items; those without a key of their own get one from the request's and their place."""
        return tuple(
            FeedbackItem(i.prediction_id, i.kind, i.value, i.key or derived_id(key, place), i.target, i.observed_at)
            for place, i in enumerate(self.items)
        )


def build(parts: GatewayParts) -> APIRouter:
    """The routes."""
    routes = APIRouter()
    _versions(routes, parts)
    _lifecycle(routes, parts)
    _service(routes, parts)
    _trainings(routes, parts)
    _feedback(routes, parts)
    return routes


def _versions(routes: APIRouter, parts: GatewayParts) -> None:
    versioning = parts.services.versioning

    @routes.get("/v1/models/{model}/versions", response_model=tuple[ModelVersion, ...], tags=["models"])
    async def versions(request: Request, model: str) -> Response:
        """Every version, newest first, with its evaluation and where it comes from."""
        return cached(request, await in_thread(versioning.versions, model))

    @routes.get("/v1/models/{model}/versions/{version}", response_model=ModelVersion, tags=["models"])
    async def version(request: Request, model: str, version: int) -> Response:
        """One version."""
        return cached(request, await in_thread(versioning.get, model, version))

    @routes.get("/v1/models/{model}/aliases/{alias}", response_model=ModelVersion, tags=["models"])
    async def alias(request: Request, model: str, alias: Alias) -> Response:
        """The version that champion, challenger or previous names."""
        found = await in_thread(versioning.resolve, model, alias)
        if found is None:
            raise NotFound(f"{alias} of {model!r} names no version yet", model=model, alias=alias)
        return cached(request, found)

    @routes.put("/v1/models/{model}/aliases/{alias}", response_model=AliasChange, tags=["models"])
    async def set_alias(model: str, alias: Alias, body: AliasBody) -> Response:
        """Move an alias by hand; a roll-out under way notices and holds."""
        change = await in_thread(
            versioning.set_alias,
            model,
            alias,
            body.version,
            expect=body.expect,
            reason=body.reason,
            actor="api",
        )
        return json(change)

    @routes.get("/v1/models/{model}/history", response_model=tuple[AliasChange, ...], tags=["models"])
    async def history(request: Request, model: str) -> Response:
        """Every change of every alias, newest first."""
        return cached(request, await in_thread(versioning.history, model))


def _lifecycle(routes: APIRouter, parts: GatewayParts) -> None:
    versioning = parts.services.versioning

    @routes.get("/v1/models/{model}/deployment", response_model=Deployment, tags=["models"])
    async def deployment(request: Request, model: str) -> Response:
        """Which versions are in charge, since when, by whom and why, and what routers are told."""
        return cached(request, await in_thread(versioning.deployment, model))

    @routes.get("/v1/models/{model}/versions/{version}/verify", response_model=ArtifactCheck, tags=["models"])
    async def verify(model: str, version: int) -> Response:
        """Read a version's artifact and check that it may be put into service; an error says why not."""
        return json(await in_thread(versioning.verify, model, version))

    @routes.get("/v1/models/{model}/compare", response_model=Comparison, tags=["models"])
    async def compare(request: Request, model: str, first: int, second: int) -> Response:
        """The second version against the first, on the same posts, over everything and slice by slice."""
        return cached(request, await in_thread(versioning.compare, model, first, second))

    @routes.post("/v1/models/{model}/prune", response_model=PruneReport, tags=["models"])
    async def prune(model: str, body: PruneBody) -> Response:
        """Give up old versions that no alias, roll-out or training needs; says what stays and why."""
        return json(await in_thread(versioning.prune, model, body.keep, body.dry_run))


def _service(routes: APIRouter, parts: GatewayParts) -> None:
    services = parts.services

    @routes.get("/v1/models/{model}/traffic", response_model=SplitReport, tags=["models"])
    async def traffic(model: str) -> Response:
        """What one router really serves now."""
        return json(await in_thread(services.predictor.split_report))

    @routes.get("/v1/monitoring/{model}/{version}", response_model=VersionMetrics, tags=["monitoring"])
    async def metrics(request: Request, model: str, version: int) -> Response:
        """Requests, errors, latency and quality of a version in service."""
        return cached(request, await in_thread(services.monitoring.summary, model, version))

    @routes.get(
        "/v1/monitoring/{model}/{version}/degradation", response_model=tuple[Degradation, ...], tags=["monitoring"]
    )
    async def degradation(
        request: Request, model: str, version: int, recent_days: Annotated[int, Query(ge=1, le=366)] = 7
    ) -> Response:
        """What got worse or better in recent days, figure by figure, each in its own direction."""
        return cached(request, await in_thread(services.monitoring.degradation, model, version, recent_days))

    @routes.get("/v1/models/{model}/levels", response_model=tuple[SeriesLevels, ...], tags=["monitoring"])
    async def levels(request: Request, model: str, version: Annotated[int | None, Query(ge=1)] = None) -> Response:
        """When each figure changed, from what to what: of the model over all versions, or of one, if named."""
        return cached(request, await in_thread(services.monitoring.levels, model, version))

    @routes.get("/v1/models/{model}/slo", response_model=SloReport, tags=["monitoring"])
    async def slo(request: Request, model: str, version: Annotated[int | None, Query(ge=1)] = None) -> Response:
        """Objectives, what is left of their error budgets, and alerts; of one version, if named."""
        return cached(request, await in_thread(services.monitoring.slo, model, version))

    @routes.get("/v1/models/{model}/alerts", response_model=tuple[AlertChange, ...], tags=["monitoring"])
    async def alerts(request: Request, model: str, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> Response:
        """Promises that began to be broken or are kept again, newest first."""
        return cached(request, await in_thread(services.monitoring.alerts, model, limit))

    @routes.get("/v1/drift/{model}/{version}", response_model=DriftReport, tags=["drift"])
    async def drift(request: Request, model: str, version: int) -> Response:
        """The last drift report of a version."""
        found = await in_thread(services.drift.latest, model, version)
        if found is None:
            raise NotFound(f"no drift report of version {version} of {model!r} yet", model=model, version=version)
        return cached(request, found)

    @routes.post("/v1/drift/{model}/{version}/check", response_model=DriftReport, tags=["drift"])
    async def check(model: str, version: int) -> Response:
        """Compare recent requests with what a version learned from, now."""
        return json(await in_thread(services.drift.check, model, version))


def _trainings(routes: APIRouter, parts: GatewayParts) -> None:
    learning = parts.services.learning

    @routes.post("/v1/tasks", response_model=TrainingTask, status_code=202, tags=["tasks"])
    async def submit(body: TrainingBody, key: Key = None) -> Response:
        """Queue a training; the answer is the task, which `GET /v1/tasks/{id}` follows."""
        task = await in_thread(learning.submit, body.request(key or new_id()))
        return json(task, 202, {"Location": f"/v1/tasks/{task.id}"})

    @routes.get("/v1/tasks", response_model=tuple[TrainingTask, ...], tags=["tasks"])
    async def tasks(
        model: str | None = None,
        state: TaskState | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        """Trainings and studies, newest first."""
        return json(await in_thread(learning.tasks, model, state, limit))

    @routes.get("/v1/tasks/{task_id}", response_model=TrainingTask, tags=["tasks"])
    async def task(task_id: str) -> Response:
        """State, progress and result of a training."""
        return json(await in_thread(learning.task, task_id))

    @routes.post("/v1/tasks/{task_id}/cancel", response_model=TrainingTask, tags=["tasks"])
    async def cancel(task_id: str) -> Response:
        """Ask a training to stop at its next step."""
        return json(await in_thread(learning.cancel, task_id))


def _feedback(routes: APIRouter, parts: GatewayParts) -> None:
    feedback = parts.services.feedback

    @routes.post("/v1/feedback", response_model=tuple[FeedbackAck, ...], tags=["feedback"])
    async def submit(body: FeedbackBody, key: Key = None) -> Response:
        """Ratings 1..5 and corrections: an answer for each item, in order; one with an id is stored.

        A bad item does not keep others out. One that is sent alone and refused is an error like any other.
        """
        acks = await in_thread(feedback.submit, body.feedback(key or new_id()))
        if len(acks) == 1 and acks[0].problem is not None:
            return problems.answer(acks[0].problem)
        return json(acks)

    @routes.get("/v1/feedback/summary", response_model=FeedbackSummary, tags=["feedback"])
    async def summary(request: Request) -> Response:
        """Items by what became of them, the refused ones included, and what was said of each version's answers."""
        return cached(request, await in_thread(feedback.summary))
