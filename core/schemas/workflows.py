"""The orchestrator's durable workflow: watch → diagnose → train → (tune) → validate → rollout → settle."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

Trigger = Literal["bootstrap", "drift", "performance", "outcomes", "schedule", "manual"]
Switch = Literal["auto_train", "auto_rollout"]


class Step(StrEnum):
    """Where a workflow stands; DONE, STOPPED and FAILED end it."""

    DIAGNOSE = "diagnose"
    TUNE = "tune"
    TRAIN = "train"
    VALIDATE = "validate"
    ROLLOUT = "rollout"
    SETTLE = "settle"
    DONE = "done"  # the version it trained is champion
    STOPPED = "stopped"  # ended by a rule, with the reason: not enough data, worse result, rolled back, switch off
    FAILED = "failed"  # something broke


ENDED = frozenset({Step.DONE, Step.STOPPED, Step.FAILED})


@dataclass(frozen=True, slots=True)
class WorkflowEvent:
    """A transition, committed before it acted."""

    seq: int
    at: int
    from_step: Step | None
    to_step: Step
    reason: str


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow and its history."""

    id: str
    model: str
    trigger: Trigger
    step: Step
    data: dict[str, Any]  # task ids, versions, diagnosis, rollout id
    created_at: int
    updated_at: int
    events: tuple[WorkflowEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Spent:
    """Trainings and searches that ended within some time, and what they took together."""

    trainings: int
    seconds: float


@dataclass(frozen=True, slots=True)
class LoopView:
    """What the loop may do by itself, what it has used of its weekly budget, and what it waits for."""

    model: str
    auto_train: bool
    auto_rollout: bool
    spent: Spent
    trainings_a_week: int
    training_s_a_week: float
    waiting_for: str


@dataclass(frozen=True, slots=True)
class LoopStatus:
    """Answer of one orchestrator tick: what stands where."""

    model: str
    champion: int | None
    workflow: Workflow | None  # the active one, else the last
    rollout: str | None  # id of the active roll-out
    waiting_for: str  # one line for a person
    notes: tuple[str, ...] = field(default_factory=tuple)
