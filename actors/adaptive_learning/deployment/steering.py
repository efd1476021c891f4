"""Decides what a person may do to a roll-out now, and what their word changes: time and approval, never evidence."""

from __future__ import annotations

from dataclasses import replace

from actors.adaptive_learning.deployment import judge
from actors.adaptive_learning.deployment.events import Steer
from actors.adaptive_learning.deployment.judge import Harm, Held, Hold, Open, Safe
from actors.adaptive_learning.deployment.record import Record, Stage, gates, held, lifted
from core.schemas.rollouts import TERMINAL, Phase

#: What a person's word lifts; the others lift when what caused them is over.
_LIFTED = (Hold.PAUSED, Hold.AWAITING_APPROVAL, Hold.ALIAS_MOVED)
_STEERS = ("pause", "resume", "promote", "abort")


def refusal(record: Record, action: str) -> str:
    """Why a person may not do this now; empty: they may."""
    if action not in _STEERS:
        return f"{action!r} is not one of {', '.join(_STEERS)}"
    if action == "abort":
        return ""
    if record.phase in TERMINAL or record.phase is Phase.ROLLING_BACK:
        return f"the roll-out is {record.phase.value.replace('_', ' ')}: there is nothing to {action}"
    if action == "resume":
        return ""
    if action == "promote":
        return _unready(record)
    if record.stage not in (Stage.QUEUED, Stage.LOADING, Stage.SERVING):
        return "the roll-out is being completed: abort it instead"
    return ""


def _unready(record: Record) -> str:
    """Why a person's word cannot take the next step now: time and approval are theirs to give, evidence is not."""
    if record.stage is not Stage.SERVING:
        return f"the roll-out is {record.stage.value}: there is no step to take"
    holds = [hold for hold in record.holds if hold not in _LIFTED]
    if holds:
        return f"held: {', '.join(holds)}"
    found = judge.verdict(record.book, record.config, gates(record))
    match found:
        case Safe():
            return "" if record.confirmed else "not every router does what is intended yet"
        case Open():
            return f"not enough evidence: {found.name} log e {found.log_e:.2f} of {found.needed:.2f}"
        case Harm():
            return f"worse by {found.name}"
        case Held():
            return f"held: {found.reason}"


def steered(record: Record, event: Steer) -> Record:
    """What a person's word changes at once; an abort is decided elsewhere, and what is refused changes nothing."""
    if event.action == "abort" or refusal(record, event.action):
        return record
    if event.action == "pause":
        return replace(held(record, Hold.PAUSED), reason=f"paused: {event.reason}")
    free = lifted(record, *_LIFTED)
    if event.action == "resume":
        # Going on after a pause approves nothing in advance: only an answer to the question does.
        approved = record.approved or Hold.AWAITING_APPROVAL in record.holds
        return replace(free, approved=approved, reason=f"resumed: {event.reason}")
    timers = replace(record.timers, hold_s=0.0)
    return replace(free, approved=True, timers=timers, reason=f"next step at a person's word: {event.reason}")
