"""Routes about changing models: roll-outs and the workflows that lead to them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from core.errors import InvalidInput
from core.schemas.predictions import ENGAGEMENT
from core.schemas.rollouts import RolloutConfig, RolloutEvent, RolloutStatus
from core.schemas.workflows import Trigger, Workflow
from core.settings import RolloutDefaults
from core.store.ids import new_id
from serve_apps.gateway.models import Key
from serve_apps.gateway.reply import cached, in_thread, json
from serve_apps.gateway.services import GatewayParts

Share = Annotated[float, Field(gt=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=30 * 24 * 3600)]


class RolloutBody(BaseModel):
    """Put a registered version on trial; what is left out is as the settings say."""

    model_config = ConfigDict(extra="forbid")

    model: str = ENGAGEMENT
    version: int = Field(ge=1)
    steps: tuple[Share, ...] | None = Field(None, min_length=1, max_length=20)
    hold_s: tuple[Seconds, ...] | None = None
    deadline_s: Seconds | None = None
    alpha: Annotated[float, Field(gt=0, lt=1)] | None = None
    beta: Annotated[float, Field(gt=0, lt=1)] | None = None
    error_slo: Annotated[float, Field(gt=0, lt=1)] | None = None
    quality_margin: Annotated[float, Field(gt=0, le=1)] | None = None
    quality_clip: Annotated[float, Field(gt=0, le=10)] | None = None
    lease_s: Annotated[float, Field(gt=0)] | None = None
    abandon_s: Annotated[float, Field(gt=0)] | None = None
    prepare_s: Annotated[float, Field(gt=0)] | None = None
    skip_validation: bool = False

    def config(self, defaults: RolloutDefaults) -> RolloutConfig:
        """The whole configuration; InvalidInput where its parts do not fit each other."""
        given = self.model_dump(exclude={"model", "version"}, exclude_none=True)
        config = RolloutConfig(**(defaults.model_dump() | given))
        if len(config.hold_s) != len(config.steps):
            raise InvalidInput(f"hold_s needs one value for each of {len(config.steps)} steps", field="hold_s")
        if any(later <= earlier for earlier, later in zip(config.steps, config.steps[1:], strict=False)):
            raise InvalidInput(f"steps must rise, not {list(config.steps)}", field="steps")
        if config.abandon_s < config.lease_s:
            raise InvalidInput("abandon_s must not be shorter than lease_s", field="abandon_s")
        return config


class SteerBody(BaseModel):
    """Why a person steps in."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=1000)


class WorkflowBody(BaseModel):
    """Begin a workflow by hand."""

    model_config = ConfigDict(extra="forbid")

    model: str = ENGAGEMENT
    trigger: Trigger = "manual"
    options: dict[str, Any] = Field(
        default_factory=dict, description="tune, params, strategy, rollout, skip_validation"
    )


def build(parts: GatewayParts) -> APIRouter:
    """The routes."""
    routes = APIRouter()
    _rollouts(routes, parts)
    _workflows(routes, parts)
    return routes


def _rollouts(routes: APIRouter, parts: GatewayParts) -> None:
    orchestrator = parts.services.orchestrator

    @routes.get("/v1/rollouts", response_model=tuple[RolloutStatus, ...], tags=["rollouts"])
    async def rollouts(request: Request, model: str = ENGAGEMENT) -> Response:
        """Roll-outs of a model, newest first."""
        return cached(request, await in_thread(orchestrator.rollouts, model))

    @routes.post("/v1/rollouts", response_model=RolloutStatus, status_code=202, tags=["rollouts"])
    async def start(body: RolloutBody, key: Key = None) -> Response:
        """Start a roll-out, or queue it behind the active one."""
        config = body.config(parts.settings.rollout)
        status = await in_thread(orchestrator.start_rollout, body.model, body.version, config, key or new_id())
        return json(status, 202, {"Location": f"/v1/rollouts/{status.id}"})

    @routes.get("/v1/rollouts/{rollout_id}", response_model=RolloutStatus, tags=["rollouts"])
    async def rollout(request: Request, rollout_id: str) -> Response:
        """Phase, weight, holds and evidence."""
        return cached(request, await in_thread(orchestrator.rollout, rollout_id))

    @routes.get("/v1/rollouts/{rollout_id}/events", response_model=tuple[RolloutEvent, ...], tags=["rollouts"])
    async def events(request: Request, rollout_id: str) -> Response:
        """The audit log, oldest first."""
        return cached(request, await in_thread(orchestrator.rollout_events, rollout_id))

    @routes.post("/v1/rollouts/{rollout_id}/{action}", response_model=RolloutStatus, tags=["rollouts"])
    async def steer(rollout_id: str, action: Literal["pause", "resume", "abort"], body: SteerBody) -> Response:
        """Pause, resume or abort."""
        return json(await in_thread(orchestrator.steer, rollout_id, action, body.reason))


def _workflows(routes: APIRouter, parts: GatewayParts) -> None:
    orchestrator = parts.services.orchestrator

    @routes.get("/v1/workflows", response_model=tuple[Workflow, ...], tags=["workflows"])
    async def workflows(request: Request, model: str = ENGAGEMENT) -> Response:
        """Workflows of a model, newest first, without their histories."""
        return cached(request, await in_thread(orchestrator.workflows, model))

    @routes.post("/v1/workflows", response_model=Workflow, status_code=202, tags=["workflows"])
    async def start(body: WorkflowBody, key: Key = None) -> Response:
        """Retrain: diagnose, train, validate, roll out."""
        workflow = await in_thread(orchestrator.start_workflow, body.model, body.trigger, key or new_id(), body.options)
        return json(workflow, 202, {"Location": f"/v1/workflows/{workflow.id}"})

    @routes.get("/v1/workflows/{workflow_id}", response_model=Workflow, tags=["workflows"])
    async def workflow(request: Request, workflow_id: str) -> Response:
        """One workflow with its history."""
        return cached(request, await in_thread(orchestrator.workflow, workflow_id))
