"""Roll-outs as callers see them; the state machine's own record is in actors/adaptive_learning/deployment."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Phase(StrEnum):
    """Where a roll-out stands."""

    PREPARING = "preparing"
    CANARY_10 = "canary_10"
    CANARY_50 = "canary_50"
    CANARY_100 = "canary_100"
    PROMOTED = "promoted"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    HALTED = "halted"


TERMINAL = frozenset({Phase.PROMOTED, Phase.ROLLED_BACK, Phase.HALTED})


@dataclass(frozen=True, slots=True)
class RolloutConfig:
    """Steps, patience and gates of one roll-out."""

    steps: tuple[float, ...] = (0.10, 0.50, 1.0)
    hold_s: tuple[float, ...] = (120.0, 240.0, 240.0)
    deadline_s: float = 14 * 86400.0
    alpha: float = 0.05
    beta: float = 0.05
    error_slo: float = 0.01
    quality_margin: float = 0.05
    quality_clip: float = 0.5
    lease_s: float = 30.0
    abandon_s: float = 300.0
    prepare_s: float = 180.0  # the challenger must be ready by then
    skip_validation: bool = False  # put a version on trial that the offline comparison refused; noted in the log


@dataclass(frozen=True, slots=True)
class Evidence:
    """One line of the judge's book: what is known, and how much is still needed."""

    name: str  # harm:errors, safety:errors, harm:quality, safety:quality
    log_e: float  # natural log of the e-value
    needed: float  # log threshold
    n: int  # observations that it rests on
    estimate: float | None = None  # e.g. mean paired difference, error rate
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """A roll-out in one screen."""

    id: str
    model: str
    challenger: int
    stable: int
    phase: Phase
    weight: float  # intended
    observed_weight: float | None  # what every router has confirmed
    holds: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    reason: str
    started_at: int
    updated_at: int
    requests: dict[str, int] = field(default_factory=dict)  # by arm
    config: RolloutConfig = field(default_factory=RolloutConfig)


@dataclass(frozen=True, slots=True)
class RolloutEvent:
    """A row of the audit log: replaying the events reproduces every decision."""

    seq: int
    at: int
    event: dict[str, Any]
    phase: Phase
    commands: tuple[dict[str, Any], ...]
    hash: str


@dataclass(frozen=True, slots=True)
class TrafficSplit:
    """What routers obey: canary's share by channel hash, until the lease runs out."""

    model: str
    epoch: int
    stable: int
    canary: int | None
    weight: float
    shadow: bool
    lease_s: float
    abandon_s: float
    renewals: int


@dataclass(frozen=True, slots=True)
class SplitReport:
    """What one router really does now, which may lag behind what it was told."""

    epoch: int  # of the split in force; a newer one whose version is still loading is not in force yet
    stable: int | None  # None: no version is in service
    canary: int | None
    weight: float  # in force: 0 while the breaker is open or the lease is abandoned
    canary_ready: bool  # the canary answered its last probe
    breaker_open: bool
    frozen: bool  # nobody renewed the lease in time
    pid: int
