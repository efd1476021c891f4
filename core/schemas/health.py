"""Health: a service says "ok" only after doing what it vouches for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Health:
    """One service's answer to `health()`."""

    service: str
    status: Literal["ok", "degraded", "broken"]
    did: str  # what was really done to find out
    pid: int
    details: dict[str, Any] = field(default_factory=dict)
