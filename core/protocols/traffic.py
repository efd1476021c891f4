"""What a roll-out controller needs of whatever serves the models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from core.schemas.rollouts import SplitReport, TrafficSplit


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a version on trial can answer; `failed` says why it never will."""

    ready: bool
    failed: str | None = None


class TrafficActuator(Protocol):
    """Puts intents into effect. Every method may be repeated without harm and none waits for the effect."""

    def warm(self, model: str, version: int) -> None:
        """Begin to load a version beside the stable one, unless that was begun already."""
        ...

    def ready(self, model: str, version: int) -> Readiness:
        """How the loading goes."""
        ...

    def set_split(self, split: TrafficSplit) -> None:
        """Store the split and tell the routers; Conflict when a later one is in force."""
        ...

    def renew(self, model: str, epoch: int) -> None:
        """Keep the split's lease alive; Conflict when another epoch is in force."""
        ...

    def observed(self, model: str) -> tuple[SplitReport, ...]:
        """What each router really does now; empty: none answered."""
        ...

    def release(self, model: str, version: int) -> bool:
        """Take the version on trial away; true once it is gone."""
        ...
