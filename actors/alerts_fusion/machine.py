"""The life of a rule's alert in a channel: raised at a breach, ended at the clear level, at rest for a while after.

Between threshold and clear level nothing changes (hysteresis), nor while a value is not known: no news is no recovery.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from actors.alerts_fusion.measure import Verdict
from core.schemas.alerts import RuleSpec

Step = Literal["raise", "hold", "resolve", "none"]

#: findings remembered, so that one is told once
SEEN = 64


@dataclass(slots=True)
class RuleState:
    """All that is kept of a rule in a channel beside its open alert."""

    last_day: int | None = None  # ordinal of the last day judged
    firing: bool = False
    rest_until: int = 0  # cool-down
    last_data: int | None = None  # newest reading or post that events told of
    seen: list[str] = field(default_factory=list)  # ids of findings, newest last


def step(state: RuleState, spec: RuleSpec, verdict: Verdict, at: int) -> Step:
    """Take the verdict of a moment and change the state in place. at: epoch seconds of the window's end."""
    if state.firing:
        if verdict == "clear":
            end(state, spec, at)
            return "resolve"
        return "hold" if verdict == "breach" else "none"
    if verdict == "breach" and at >= state.rest_until:
        state.firing = True
        return "raise"
    return "none"


def end(state: RuleState, spec: RuleSpec, at: int) -> None:
    """The alert is over: the cool-down begins."""
    state.firing = False
    state.rest_until = at + spec.cool_down_s


def remember(state: RuleState, ids: list[str]) -> None:
    """Note findings that were told; the oldest are forgotten."""
    state.seen = [*(i for i in state.seen if i not in ids), *ids][-SEEN:]
