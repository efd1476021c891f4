"""Routes about putting versions into service: roll-outs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from actors.adaptive_learning.deployment import admission
from core.codec import to_plain
from core.errors import InvalidInput
from core.schemas.predictions import ENGAGEMENT
from core.schemas.rollouts import (
    Approval,
    Explanation,
    Replayed,
    RolloutConfig,
    RolloutEvent,
    RolloutPlan,
    RolloutStatus,
    Strategy,
    TrafficFigures,
    WhenBusy,
    configured,
)
from core.settings import RolloutDefaults
from core.store.ids import new_id
from serve_apps.gateway.models import Key
from serve_apps.gateway.reply import cached, in_thread, json
from serve_apps.gateway.services import GatewayParts

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]

Action = Literal["pause", "resume", "promote", "abort"]

#: steps of one roll-out
STEPS = 20
#: fields of a body that are fields of RolloutConfig
_CONFIG = frozenset(field.name for field in fields(RolloutConfig))


class Shares(BaseModel):
    """A step by both shares; they sum to 1."""

    model_config = ConfigDict(extra="forbid")

    stable: float
    canary: float


def _described(document: dict[str, Any]) -> None:
    """Fields are described where their defaults are: in the settings."""
    for name, described in document["properties"].items():
        known = RolloutDefaults.model_fields.get(name)
        if known is not None and known.description:
            described.setdefault("description", known.description)


class ConfigBody(BaseModel):
    """Settings of one roll-out; what is left out is as the strategy says, then as the settings say."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, json_schema_extra=_described)

    strategy: Strategy | None = Field(
        None, description="canary: the settings' steps; rolling: 25, 50, 75, 100 %; blue_green: 0, then all; direct"
    )
    steps: tuple[float | Shares, ...] | None = Field(None, min_length=1, max_length=STEPS)
    hold_s: tuple[Seconds, ...] | None = Field(None, max_length=STEPS)
    gates: tuple[tuple[str, ...], ...] | None = Field(None, max_length=STEPS)
    guards: tuple[str, ...] | None = None
    by_known_age: bool | None = None
    approvals: tuple[Approval, ...] | None = None
    freeze: tuple[str, ...] | None = Field(None, max_length=20)
    deadline_s: Seconds | None = None
    alpha: float | None = None
    beta: float | None = None
    error_slo: float | None = None
    latency_tolerance: float | None = None
    latency_floor_ms: float | None = None
    latency_ratio: float | None = None
    quality_margin: float | None = None
    quality_clip: float | None = None
    label_coverage: float | None = None
    lease_s: Seconds | None = None
    abandon_s: Seconds | None = None
    prepare_s: Seconds | None = None
    skip_validation: bool | None = Field(None, description="although the offline comparison refused the version")

    def given(self) -> dict[str, Any]:
        """The fields of RolloutConfig that the caller set."""
        return {k: v for k, v in self.model_dump(exclude_none=True).items() if k in _CONFIG}

    def config(self, defaults: Mapping[str, Any]) -> RolloutConfig:
        """The whole configuration over some defaults; InvalidInput, naming the body's field, where it cannot work."""
        try:
            config = configured(defaults, self.given(), self.strategy)
            admission.check(config)
        except InvalidInput as error:
            field = str(error.details.get("field", "")).removeprefix("rollout.")
            raise InvalidInput(error.message, **error.details | {"field": field}) from error
        return config


class RolloutBody(ConfigBody):
    """Put a registered version on trial."""

    model: str = ENGAGEMENT
    version: int = Field(ge=1)
    when_busy: WhenBusy = Field(
        "queue", description="with a roll-out of the model under way: after it, instead, or 409"
    )


class FiguresBody(BaseModel):
    """Traffic to plan for, where none is measured yet or another is expected."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    requests_per_s: float = Field(gt=0)
    error_rate: Share = Field(description="of the stable version")
    pairs_per_day: float = Field(ge=0, description="posts whose outcome comes in, of those asked about")
    pair_sd: Share = Field(description="of the clipped, scaled difference of |log errors|")

    def figures(self) -> TrafficFigures:
        """As the planner takes it."""
        return TrafficFigures(**self.model_dump())


class PlanBody(ConfigBody):
    """A roll-out that is thought about; `assumed` stands for the traffic that would be measured."""

    model: str = ENGAGEMENT
    assumed: FiguresBody | None = None


class ReplayBody(ConfigBody):
    """Another configuration for a recorded roll-out: laid over the roll-out's own; nothing: replay it as it was."""


class ReasonBody(BaseModel):
    """Why a person steps in."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=1000)


def build(parts: GatewayParts) -> APIRouter:
    """The routes."""
    routes = APIRouter()
    _hindsight(routes, parts)  # before the routes whose last part may be any action
    _rollouts(routes, parts)
    return routes


def _rollouts(routes: APIRouter, parts: GatewayParts) -> None:
    orchestrator, defaults = parts.services.orchestrator, parts.settings.rollout

    @routes.get("/v1/rollouts", response_model=tuple[RolloutStatus, ...], tags=["rollouts"])
    async def rollouts(request: Request, model: str = ENGAGEMENT) -> Response:
        """Roll-outs of a model, newest first."""
        return cached(request, await in_thread(orchestrator.rollouts, model))

    @routes.post("/v1/rollouts", response_model=RolloutStatus, status_code=202, tags=["rollouts"])
    async def start(body: RolloutBody, key: Key = None) -> Response:
        """Start a roll-out; with one under way: queue behind it, replace it, or be refused (409)."""
        config = body.config(defaults.fields())
        call, name = orchestrator.start_rollout, key or new_id()
        status = await in_thread(call, body.model, body.version, config, name, body.when_busy)
        return json(status, 202, {"Location": f"/v1/rollouts/{status.id}"})

    @routes.post("/v1/rollouts/plan", response_model=RolloutPlan, tags=["rollouts"])
    async def plan(body: PlanBody) -> Response:
        """How long each step would need at the traffic measured or assumed; changes nothing."""
        assumed = None if body.assumed is None else body.assumed.figures()
        return json(await in_thread(orchestrator.plan_rollout, body.model, body.config(defaults.fields()), assumed))

    @routes.get("/v1/rollouts/{rollout_id}", response_model=RolloutStatus, tags=["rollouts"])
    async def rollout(request: Request, rollout_id: str) -> Response:
        """Phase, weight, holds and evidence."""
        return cached(request, await in_thread(orchestrator.rollout, rollout_id))

    @routes.get("/v1/rollouts/{rollout_id}/events", response_model=tuple[RolloutEvent, ...], tags=["rollouts"])
    async def events(request: Request, rollout_id: str) -> Response:
        """The audit log, oldest first."""
        return cached(request, await in_thread(orchestrator.rollout_events, rollout_id))

    @routes.post("/v1/rollouts/{rollout_id}/{action}", response_model=RolloutStatus, tags=["rollouts"])
    async def steer(rollout_id: str, action: Action, body: ReasonBody) -> Response:
        """Pause, resume (which also approves), take the next step without waiting, or go back."""
        return json(await in_thread(orchestrator.steer, rollout_id, action, body.reason))


def _hindsight(routes: APIRouter, parts: GatewayParts) -> None:
    orchestrator = parts.services.orchestrator

    @routes.get("/v1/rollouts/{rollout_id}/explain", response_model=Explanation, tags=["rollouts"])
    async def explain(request: Request, rollout_id: str) -> Response:
        """Why it stands where it stands: transitions with their evidence, from the verified log."""
        return cached(request, await in_thread(orchestrator.explain_rollout, rollout_id))

    @routes.post("/v1/rollouts/{rollout_id}/replay", response_model=Replayed, tags=["rollouts"])
    async def replay(rollout_id: str, body: ReplayBody | None = None) -> Response:
        """Step through the log again: bit for bit, or as another configuration would have decided; changes nothing."""
        config = None
        if body is not None and (body.strategy or body.given()):
            own = (await in_thread(orchestrator.rollout, rollout_id)).config
            config = body.config(to_plain(own))
        return json(await in_thread(orchestrator.replay_rollout, rollout_id, config))
