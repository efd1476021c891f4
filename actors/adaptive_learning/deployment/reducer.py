"""Decides, purely, what a roll-out does next: `step(record, event) -> (record, commands)`.

Rules: the first share is given when the challenger answers and the routers were heard; from there the weight rises only
on a tick, on shown safety, without any hold, after the least time at the step, with a person's word where one is asked
for, and when every router does what was intended. It falls on any event, but of itself never into a stable version
that is down. The way back cannot be left, and ends.
"""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

from actors.adaptive_learning.deployment import bookkeeping, judge
from actors.adaptive_learning.deployment.events import (
    Aliased,
    AliasMoved,
    ChallengerFailed,
    ChallengerReady,
    Command,
    Event,
    Fenced,
    Observed,
    Released,
    Restored,
    Started,
    Steer,
    Tick,
)
from actors.adaptive_learning.deployment.facts import absorbed
from actors.adaptive_learning.deployment.judge import Harm, Hold, Safe, Verdict
from actors.adaptive_learning.deployment.record import Record, Stage, gates, held, lifted, outstanding, waits_for
from actors.adaptive_learning.deployment.steering import refusal
from core.schemas.rollouts import TERMINAL, Phase

__all__ = ["refusal", "step"]


def step(record: Record, event: Event) -> tuple[Record, tuple[Command, ...]]:
    """The record after an event, and what is ordered now that was not before.

    A tick that is no time (zero, negative, no number) decides nothing.
    """
    if isinstance(event, Tick) and not (isfinite(event.seconds) and event.seconds > 0):
        return record, ()
    after = _decide(absorbed(record, event), event)
    if after is record:
        return record, ()
    before = outstanding(record)
    return after, tuple(command for command in outstanding(after) if command not in before)


def _decide(record: Record, event: Event) -> Record:
    if isinstance(event, Fenced) and record.phase not in TERMINAL:
        return replace(record, phase=Phase.HALTED, stage=Stage.OVER, holds=(), reason=event.reason)
    match record.phase:
        case Phase.PREPARING:
            return _preparing(record, event)
        case Phase.TRIAL:
            return _on_trial(record, event)
        case Phase.ROLLING_BACK:
            return _rolling_back(record, event)
        case Phase.PROMOTED:
            return _promoted(record, event)
        case Phase.ROLLED_BACK | Phase.HALTED:
            return record


def _preparing(record: Record, event: Event) -> Record:
    match event:
        case Started() if record.stage is Stage.QUEUED and not record.holds:
            timers = replace(record.timers, deadline_s=record.config.deadline_s, patience_s=record.config.prepare_s)
            return replace(
                record,
                stable=event.stable,
                epoch=event.epoch,
                first_epoch=event.epoch + 1,
                cursors=event.cursors,
                stage=Stage.LOADING,
                timers=timers,
                reason=f"loading v{record.challenger}",
            )
        case AliasMoved() if record.stage is Stage.QUEUED:
            return replace(held(record, Hold.ALIAS_MOVED), reason=f"cannot start: {event.reason}")
        case ChallengerReady() if _may_begin(record):
            return _risen(record, 0, f"v{record.challenger} is loaded, verified and answers")
        case ChallengerFailed() if record.stage is Stage.LOADING:
            return _back(record, f"v{record.challenger} cannot be served: {event.reason}")
        case Steer(action="abort"):
            return _back(record, f"aborted: {event.reason}")
        case Tick() if record.stage is Stage.LOADING and min(record.timers.patience_s, record.timers.deadline_s) <= 0:
            still = f", held: {', '.join(record.holds)}" if record.holds else ""
            return _back(record, f"v{record.challenger} was not ready within {record.config.prepare_s:g} s{still}")
        case _:
            return record


def _on_trial(record: Record, event: Event) -> Record:
    returnable = Hold.STABLE_DOWN not in record.holds  # a person may order it all the same
    match event:
        case Steer(action="abort"):
            return _back(record, f"aborted: {event.reason}")
        case Observed() if returnable and record.stage is Stage.SERVING and (lost := _lost(record, event)):
            return _back(record, lost)
        case Observed() if record.stage is Stage.SWAPPING and record.confirmed:
            return replace(record, stage=Stage.RELEASING)
        case Aliased() if record.stage is Stage.ALIASING:
            timers = replace(record.timers, patience_s=record.config.prepare_s)
            swapped = replace(record, stage=Stage.SWAPPING, certified=True, timers=timers)
            return _new_epoch(swapped, f"v{record.challenger} is champion; routers are loading it as stable")
        case AliasMoved() if record.stage is Stage.ALIASING:
            refused = held(record, Hold.ALIAS_MOVED)
            return replace(refused, stage=Stage.SERVING, reason=f"not promoted: {event.reason}")
        case Released() if record.stage is Stage.RELEASING:
            reason = f"v{record.challenger} has replaced v{record.stable}: {_case(record)}"
            return replace(record, phase=Phase.PROMOTED, stage=Stage.OVER, holds=(), reason=reason)
    if record.stage is Stage.RELEASING or not returnable:
        return record
    found = judge.verdict(record.book, record.config, gates(record))
    if isinstance(found, Harm):
        return _back(record, f"worse by {found.name}: {_case(record)}")
    return _on_tick(record, found) if isinstance(event, Tick) else record


def _on_tick(record: Record, found: Verdict) -> Record:
    """What only the passing of time may decide, with a stable version that answers: giving up, and rising."""
    timers, config = record.timers, record.config
    if record.stage is Stage.SWAPPING and timers.patience_s <= 0:
        return _back(record, f"not every router served v{record.challenger} as stable within {config.prepare_s:g} s")
    if record.stage is not Stage.SERVING:
        return record
    if timers.deadline_s <= 0 and Hold.BOTH_BAD not in record.holds:  # no way back into a version that is as sick
        return _back(record, f"not enough evidence within {config.deadline_s:g} s: {waits_for(record)}")
    if timers.down_s >= config.lease_s:
        return _back(record, f"the canary has not answered its probe for {config.lease_s:g} s")
    if record.holds or not record.confirmed or timers.hold_s > 0 or not isinstance(found, Safe):
        return record
    last = record.place + 1 == len(config.steps)
    if ("promote" if last else "rise") in config.approvals and not record.approved:
        return replace(held(record, Hold.AWAITING_APPROVAL), reason=f"waits for approval: {_case(record)}")
    if last:
        return replace(record, stage=Stage.ALIASING, reason=f"certified: {_case(record)}")
    return _risen(record, record.place + 1, _case(record))


def _rolling_back(record: Record, event: Event) -> Record:
    match record.stage, event:
        case Stage.REVERTING, Observed() if record.confirmed:
            return _reverted(record)
        case Stage.REVERTING, Tick() if record.timers.patience_s <= 0:
            return _reverted(replace(record, unconfirmed_end=True))
        case Stage.UNALIASING, Restored():
            note = f"; {event.note}" if event.note else ""
            return replace(record, stage=Stage.RELEASING, certified=False, reason=record.reason + note)
        case Stage.RELEASING, Released():
            if not record.unconfirmed_end:
                return replace(record, phase=Phase.ROLLED_BACK, stage=Stage.OVER)
            reason = f"{record.reason}; not every router confirmed it within {record.config.abandon_s:g} s"
            return replace(record, phase=Phase.HALTED, stage=Stage.OVER, reason=reason)
        case _:
            return record


def _reverted(record: Record) -> Record:
    return replace(record, stage=Stage.UNALIASING if record.certified else Stage.RELEASING)


def _promoted(record: Record, event: Event) -> Record:
    if isinstance(event, Steer) and event.action == "abort":
        return _back(record, f"aborted after promotion: {event.reason}")
    return record


# ---------------------------------------------------------------- moves


def _risen(record: Record, place: int, reason: str) -> Record:
    config = record.config
    timers = replace(record.timers, hold_s=config.hold_s[place], quiet_s=0.0, unlabelled_s=0.0)
    book = bookkeeping.without_keys(record.book)
    risen = replace(record, phase=Phase.TRIAL, stage=Stage.SERVING, place=place, weight=config.steps[place], book=book)
    risen = lifted(replace(risen, timers=timers, approved=False), Hold.SAMPLE_RATIO)
    return _new_epoch(risen, reason)


def _back(record: Record, reason: str) -> Record:
    """Begin the way back; where no router was ever told of the challenger there is nothing to revert."""
    # While the alias is being moved nobody knows yet where it points: moving it back is harmless if it never moved.
    certified = record.certified or record.stage is Stage.ALIASING
    back = replace(record, phase=Phase.ROLLING_BACK, weight=0.0, holds=(), certified=certified, reason=reason)
    if record.stage is Stage.QUEUED:
        return replace(back, phase=Phase.ROLLED_BACK, stage=Stage.OVER)
    if record.stage is Stage.LOADING:
        return replace(back, stage=Stage.RELEASING)
    timers = replace(record.timers, patience_s=record.config.abandon_s)
    return _new_epoch(replace(back, stage=Stage.REVERTING, timers=timers), reason)


def _new_epoch(record: Record, reason: str) -> Record:
    return replace(record, epoch=record.epoch + 1, confirmed=False, observed_weight=None, reason=reason)


def _may_begin(record: Record) -> bool:
    """Loaded, nothing holds, and the routers have been heard."""
    return record.stage is Stage.LOADING and not record.holds and record.observed_weight is not None


def _lost(record: Record, event: Observed) -> str:
    """Why the canary cannot go on, as routers see it; empty: it can."""
    current = [report for report in event.reports if report.epoch == record.epoch]
    if any(report.breaker_open for report in current):
        return "a router's breaker opened: the canary failed too often"
    if any(report.canary_gone for report in current):
        return "the canary's process is gone"
    return ""


def _case(record: Record) -> str:
    """The evidence in one line."""
    parts = []
    for line in judge.lines(record.book, record.config):
        kind, _, gate = line.name.partition(":")
        if kind == "safety" and line.estimate is not None and not gate.endswith("_ratio"):
            unit = "error rate" if gate == "errors" else "difference of |log error|"
            parts.append(f"{unit} {line.estimate:+.4f} (n {line.n}, log e {line.log_e:.2f} of {line.needed:.2f})")
    return "; ".join(parts) or "nothing was executed yet"
