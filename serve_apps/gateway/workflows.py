"""Routes about the loop that keeps models right: its workflows, its budget, its switches."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from core.schemas.predictions import ENGAGEMENT
from core.schemas.workflows import LoopView, Switch, Trigger, Workflow
from core.store.ids import new_id
from serve_apps.gateway.models import Key
from serve_apps.gateway.reply import cached, in_thread, json
from serve_apps.gateway.rollouts import ReasonBody
from serve_apps.gateway.services import GatewayParts


class WorkflowBody(BaseModel):
    """Begin a workflow by hand."""

    model_config = ConfigDict(extra="forbid")

    model: str = ENGAGEMENT
    trigger: Trigger = "manual"
    options: dict[str, Any] = Field(
        default_factory=dict, description="tune, params, strategy, rollout, skip_validation"
    )


class SwitchBody(BaseModel):
    """What the loop may do by itself; null leaves it to the settings."""

    model_config = ConfigDict(extra="forbid")

    model: str = ENGAGEMENT
    on: bool | None


def build(parts: GatewayParts) -> APIRouter:
    """The routes."""
    routes, orchestrator = APIRouter(), parts.services.orchestrator

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

    @routes.post("/v1/workflows/{workflow_id}/cancel", response_model=Workflow, tags=["workflows"])
    async def cancel(workflow_id: str, body: ReasonBody) -> Response:
        """End it: its training stops, its roll-out goes back to the stable version."""
        return json(await in_thread(orchestrator.cancel_workflow, workflow_id, body.reason))

    @routes.get("/v1/loop", response_model=LoopView, tags=["workflows"])
    async def loop(request: Request, model: str = ENGAGEMENT) -> Response:
        """What the loop may do by itself, what it has used of its budget, and what it waits for."""
        return cached(request, await in_thread(orchestrator.loop, model))

    @routes.post("/v1/loop/{name}", response_model=LoopView, tags=["workflows"])
    async def switch(name: Switch, body: SwitchBody) -> Response:
        """Let it train or roll out by itself, or not."""
        return json(await in_thread(orchestrator.switch, body.model, name, body.on))

    return routes
