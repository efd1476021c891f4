"""Says how long a roll-out may still need at its step: from the pace of its evidence, or else from a plan. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from core.schemas.rollouts import Evidence, Phase, RolloutPlan, RolloutStatus, StepPlan

#: A pace is not told from less than this, seconds.
LOOKED_S = 5.0


@dataclass(frozen=True, slots=True)
class Glance:
    """What was seen of a roll-out, and when (epoch seconds)."""

    at: float
    status: RolloutStatus


@dataclass(frozen=True, slots=True)
class _Left:
    """How long a gate may still need, seconds, and where that figure is from; None: it cannot be said."""

    gate: str
    seconds: float | None
    source: str


def estimate(status: RolloutStatus, now: float, earlier: Glance | None = None, plan: RolloutPlan | None = None) -> str:
    """How long until the next step's decision, and what that is concluded from; in words, for a person.

    The pace is that of log e between `earlier` and now, if it grew; a plan's time counts for the part of the evidence
    that is still missing, which supposes that it comes evenly.
    """
    if status.over:
        return "it is over"
    if status.phase in (Phase.PREPARING, Phase.ROLLING_BACK):
        return "no evidence is asked for in this phase"
    if status.holds:
        return "none while it is held"
    short = _short(status)
    wait = f"{lasting(status.hold_remaining_s)} (time at this step)"
    if not short:
        return f"evidence is complete; in {wait}" if status.hold_remaining_s > 0 else "evidence is complete"
    looked = now - earlier.at if earlier is not None and _comparable(earlier.status, status) else 0.0
    before = earlier.status if earlier is not None and looked >= LOOKED_S else None
    lefts = [_left(found, before, looked, _step(plan, status)) for found in short]
    unknown = [left.gate for left in lefts if left.seconds is None]
    if unknown:
        return f"cannot be said: {', '.join(unknown)} gained nothing while watched, and no plan says when"
    last = max(lefts, key=lambda left: left.seconds or 0.0)
    if (last.seconds or 0.0) < status.hold_remaining_s:
        return f"in about {wait}"
    return f"in about {lasting(last.seconds or 0.0)}, bound by {last.gate} ({last.source})"


def lasting(seconds: float) -> str:
    """A duration in its two largest units."""
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    left, parts = round(max(seconds, 0.0)), []
    for name, size in units:
        parts.append((left // size, name))
        left %= size
    for first, second in pairwise(parts):
        if first[0]:
            return f"{first[0]:,} {first[1]}" + (f" {second[0]} {second[1]}" if second[0] else "")
    return f"{parts[-1][0]} s"


def share(weight: float) -> str:
    """A share of the traffic."""
    return f"{weight * 100:g} %"


def _short(status: RolloutStatus) -> list[Evidence]:
    gates = status.config.gates[status.step] if status.step < len(status.config.gates) else ()
    asked = {f"safety:{gate}" for gate in gates}
    return [found for found in status.evidence if found.name in asked and found.log_e < found.needed]


def _comparable(before: RolloutStatus, status: RolloutStatus) -> bool:
    return (before.id, before.phase, before.step, before.holds) == (status.id, status.phase, status.step, status.holds)


def _left(found: Evidence, before: RolloutStatus | None, looked: float, step: StepPlan | None) -> _Left:
    gate = found.name.removeprefix("safety:")
    past = next((e for e in before.evidence if e.name == found.name), None) if before is not None else None
    gained = found.log_e - past.log_e if past is not None else 0.0
    if gained > 0:
        seconds = (found.needed - found.log_e) * looked / gained
        return _Left(gate, seconds, f"at the pace of the last {lasting(looked)}")
    planned = step.by_gate.get(gate) if step is not None else None
    if planned is None:
        return _Left(gate, None, "")
    return _Left(gate, planned * min(1.0, 1.0 - found.log_e / found.needed), "as planned")


def _step(plan: RolloutPlan | None, status: RolloutStatus) -> StepPlan | None:
    return plan.steps[status.step] if plan is not None and status.step < len(plan.steps) else None
