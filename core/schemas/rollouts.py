"""Roll-outs as callers see them; the state machine's own record is in actors/adaptive_learning/deployment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Literal, cast

from core.codec import from_plain
from core.errors import InvalidInput


class Phase(StrEnum):
    """What a roll-out does; callers see the share with it, as `label(phase, weight)`."""

    PREPARING = "preparing"
    TRIAL = "trial"
    PROMOTED = "promoted"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    HALTED = "halted"


TERMINAL = frozenset({Phase.PROMOTED, Phase.ROLLED_BACK, Phase.HALTED})


def label(phase: Phase, weight: float) -> str:
    """What callers and logs call it: canary_10, canary_50, canary_100; shadow while the share is nothing."""
    if phase is not Phase.TRIAL:
        return phase.value
    return f"canary_{weight * 100:g}" if weight else "shadow"


#: Counts of executions that may condemn a version on trial. `errors` are all failures; timeouts and invalid answers are
#: among them; slow_pNN: slower than stable's own quantile, by more than is allowed.
COUNTED = ("errors", "timeouts", "invalid", "slow_p50", "slow_p90", "slow_p99")
#: Everything that may condemn.
GUARDS = (*COUNTED, "quality")
#: Evidence of safety that a step may ask for. `errors`: rate below the objective. `NAME_ratio`: less than twice as
#: often as stable's, or rarer than half the objective. `quality`: paired loss within the margin.
GATES = ("errors", *(f"{name}_ratio" for name in COUNTED), "quality")

Approval = Literal["start", "rise", "promote"]
Strategy = Literal["canary", "rolling", "blue_green", "direct"]
WhenBusy = Literal["queue", "replace", "reject"]


@dataclass(frozen=True, slots=True)
class RolloutConfig:
    """Steps, patience, guards and gates of one roll-out. Every step has one hold and one tuple of gates."""

    steps: tuple[float, ...] = (0.10, 0.50, 1.0)  # rising, to 1; a first 0 scores in the background only
    hold_s: tuple[float, ...] = (120.0, 240.0, 240.0)  # least time at each step
    gates: tuple[tuple[str, ...], ...] = (("errors",), ("errors_ratio", "quality"), ("errors_ratio", "quality"))
    guards: tuple[str, ...] = GUARDS
    by_known_age: bool = False  # watch every count for each known age too
    approvals: tuple[Approval, ...] = ()  # where a person's word is needed: before the first share, any rise, the end
    freeze: tuple[str, ...] = ()  # weekly windows without a rise: "Fri 16:00 - Mon 08:00 Europe/Berlin"
    deadline_s: float = 14 * 86400.0
    alpha: float = 0.05
    beta: float = 0.05
    error_slo: float = 0.01
    latency_tolerance: float = 0.5  # slower by this share of stable's quantile is allowed
    latency_floor_ms: float = 5.0  # and so is slower by this much
    latency_ratio: float = 2.0  # slow answers may come this many times as often: the trial runs in a process of its own
    quality_margin: float = 0.05
    quality_clip: float = 0.5
    label_coverage: float = 0.5  # of matured posts at least this share must get an outcome
    lease_s: float = 30.0
    abandon_s: float = 300.0
    prepare_s: float = 180.0  # the challenger must be ready by then
    skip_validation: bool = False  # put a version on trial that the offline comparison refused; noted in the log


#: Other ways into service: other lists of steps for the same machine.
STRATEGIES: dict[Strategy, dict[str, Any]] = {
    "canary": {},
    "rolling": {
        "steps": (0.25, 0.5, 0.75, 1.0),
        "hold_s": (120.0,) * 4,
        "gates": (("errors",), *((("errors_ratio", "quality"),) * 3)),
    },
    # Everything is proven in the background, then all traffic moves at once; the old version stays warm to the end.
    "blue_green": {
        "steps": (0.0, 1.0),
        "hold_s": (240.0, 240.0),
        "gates": (("errors", "quality"), ("errors_ratio", "quality")),
    },
    "direct": {"steps": (1.0,), "hold_s": (60.0,), "gates": (("errors",),)},
}


def configured(
    defaults: Mapping[str, Any], given: Mapping[str, Any], strategy: Strategy | None = None
) -> RolloutConfig:
    """What was asked for over what a strategy says over the settings; holds and gates follow the number of steps.

    given: fields of RolloutConfig. A step is the canary's share, or both shares: {"stable": 0.9, "canary": 0.1}.
    InvalidInput for an unknown field or strategy and for shares that do not sum to 1; whether the whole can work is
    checked where it is started.
    """
    if strategy is not None and strategy not in STRATEGIES:
        raise InvalidInput(f"strategy is one of {', '.join(STRATEGIES)}, not {strategy!r}", field="strategy")
    merged = dict(defaults) | (STRATEGIES[strategy] if strategy else {}) | dict(given)
    unknown = sorted(set(merged) - {field.name for field in fields(RolloutConfig)})
    if unknown:
        raise InvalidInput(f"rollout.{unknown[0]}: there is no such setting", field=f"rollout.{unknown[0]}")
    if "steps" in merged:
        merged["steps"] = tuple(map(_share, merged["steps"]))
    usual = RolloutConfig()
    n = len(merged.get("steps", usual.steps))
    chosen = {*given, *(STRATEGIES[strategy] if strategy else ())}
    for name in {"hold_s", "gates"} - chosen:
        values = merged.get(name, getattr(usual, name))
        if len(values) != n:  # meant for another number of steps
            merged[name] = tuple(values[min(i, len(values) - 1)] for i in range(n))
    return from_plain(RolloutConfig, merged)


def _share(step: Any) -> float:
    """The canary's share; where both are named they must fill the whole."""
    if not isinstance(step, Mapping):
        return cast(float, step)
    if set(step) != {"stable", "canary"} or not all(isinstance(share, int | float) for share in step.values()):
        raise InvalidInput(
            f"rollout.steps: {dict(step)!r} must name the shares of stable and canary", field="rollout.steps"
        )
    if not abs(step["stable"] + step["canary"] - 1.0) <= 1e-9:  # NaN fills nothing
        total = step["stable"] + step["canary"]
        raise InvalidInput(f"rollout.steps: shares {dict(step)!r} sum to {total:g}, not to 1", field="rollout.steps")
    return float(step["canary"])


@dataclass(frozen=True, slots=True)
class Evidence:
    """One line of the judge's book: what is known, and how much is still needed."""

    name: str  # harm:NAME, safety:NAME, hold:NAME
    log_e: float  # natural log of the e-value
    needed: float  # log threshold
    n: int  # observations that it rests on
    estimate: float | None = None  # e.g. mean paired difference, error rate
    low: float | None = None
    high: float | None = None
    segment: str = ""  # "": everything


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """A roll-out in one screen."""

    id: str
    model: str
    challenger: int
    stable: int
    phase: str  # `label`
    weight: float  # intended
    observed_weight: float | None  # what every router has confirmed
    holds: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    reason: str
    started_at: int
    updated_at: int
    requests: dict[str, int] = field(default_factory=dict)  # by arm
    config: RolloutConfig = field(default_factory=RolloutConfig)
    step: int = 0  # place in config.steps
    hold_remaining_s: float = 0.0
    deadline_remaining_s: float = 0.0
    waits_for: str = ""  # what is short before the next rise, in words; empty: nothing, or it is over
    labels: dict[str, int] = field(default_factory=dict)  # pairs, due, labelled

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.phase in TERMINAL


@dataclass(frozen=True, slots=True)
class RolloutEvent:
    """A row of the audit log: replaying the events reproduces every decision."""

    seq: int
    at: int
    event: dict[str, Any]
    phase: str
    commands: tuple[dict[str, Any], ...]
    hash: str
    reason: str = ""
    holds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RolloutNotice:
    """What people are told when a roll-out decided something; (rollout, seq) names it, also when it comes twice."""

    rollout: str
    model: str
    seq: int
    at: int
    challenger: int
    stable: int
    phase: str  # `label`
    weight: float
    holds: tuple[str, ...]
    reason: str

    @property
    def key(self) -> str:
        """Identity of the notice."""
        return f"{self.rollout}:{self.seq}"


@dataclass(frozen=True, slots=True)
class TrafficFigures:
    """What a plan is made from: measured on the serving path, or said by the caller."""

    requests_per_s: float
    error_rate: float  # of the stable version
    pairs_per_day: float  # posts whose outcome comes in, of those asked about
    pair_sd: float  # of the clipped, scaled difference of |log errors|
    measured_over_s: float = 0.0  # 0: assumed
    n: int = 0
    label_delay_s: float = 0.0  # from an execution to its outcome
    rates: dict[str, float] = field(default_factory=dict)  # of other counts per execution; slow_pNN left out: not known


@dataclass(frozen=True, slots=True)
class StepPlan:
    """How long one step will need."""

    weight: float
    hold_s: float
    needed_s: float | None  # from its beginning; None: never at these figures, or not known
    bound_by: str  # the gate that takes longest
    by_gate: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """What to expect before a roll-out starts."""

    model: str
    figures: TrafficFigures
    steps: tuple[StepPlan, ...]
    total_s: float | None
    detect_s: dict[str, float | None]  # e.g. "errors x10": time until harm of that size is found at the first step
    warnings: tuple[str, ...] = ()  # e.g. a hold shorter than the time needed
    refusals: tuple[str, ...] = ()  # the deadline comes before the evidence


@dataclass(frozen=True, slots=True)
class Replayed:
    """A roll-out's log stepped through again: bit for bit, or under another configuration."""

    rollout: str
    events: int
    identical: bool | None  # None: another configuration, so nothing to be identical with
    recorded_s: float  # of the roll-out, as far as it was stepped through
    took_s: float
    phase: str  # where it ends
    reason: str
    weight: float
    transitions: tuple[dict[str, Any], ...] = ()  # {"at_s", "phase", "reason"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a roll-out ended as it did, in one screen."""

    status: RolloutStatus
    transitions: tuple[dict[str, Any], ...]  # {"seq", "at", "at_s", "from", "to", "reason", "evidence", "hash"}
    held_s: dict[str, float]  # how long each hold lasted, roll-out time
    late_labels: int  # outcomes that came after the decision
    verified: bool  # the chain of hashes and the replay are whole
    events: int


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
    canary_gone: bool = False  # its process died or was taken away; not merely slow
