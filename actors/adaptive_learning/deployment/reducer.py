"""Decides, purely, what a roll-out does next: `step(record, event) -> (record, commands)`.

Rules: the first share is given when the challenger answers and the routers were heard; from there the weight rises only
on a tick, on shown safety, without any hold, after the least time at the step, with a person's word where one is asked
for, and when every router does what was intended. It falls on any event. The way back cannot be left, and ends.
"""

from __future__ import annotations

from dataclasses import replace

from actors.adaptive_learning.deployment import judge
from actors.adaptive_learning.deployment.events import (
    Aliased,
    AliasMoved,
    Baseline,
    Calendar,
    ChallengerFailed,
    ChallengerReady,
    Command,
    Counts,
    Drift,
    Event,
    Fenced,
    Matured,
    Observed,
    Pairs,
    Released,
    Restored,
    Started,
    Steer,
    Tick,
)
from actors.adaptive_learning.deployment.judge import Harm, Held, Hold, Open, Safe
from actors.adaptive_learning.deployment.record import (
    FRESH_PAIRS,
    NO_DATA_S,
    NO_LABELS_S,
    Record,
    Stage,
    gates,
    intended,
    outstanding,
    waits_for,
)
from core.schemas.rollouts import TERMINAL, Phase, SplitReport, TrafficSplit

#: What a person's word lifts; the others lift when what caused them is over.
_LIFTED = (Hold.PAUSED, Hold.AWAITING_APPROVAL, Hold.ALIAS_MOVED)
_STEERS = ("pause", "resume", "promote", "abort")


def step(record: Record, event: Event) -> tuple[Record, tuple[Command, ...]]:
    """The record after an event, and what is ordered now that was not before."""
    after = _decide(_absorb(record, event), event)
    before = outstanding(record)
    return after, tuple(command for command in outstanding(after) if command not in before)


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


# ---------------------------------------------------------------- facts


def _absorb(record: Record, event: Event) -> Record:
    """What an event tells, without any decision."""
    if record.stage is Stage.OVER:
        return record
    match event:
        case Tick():
            return _after_time(record, event.seconds)
        case Observed():
            return _after_observation(record, event.reports)
        case Counts():
            return _after_counts(record, event)
        case Pairs():
            return _after_pairs(record, event)
        case Baseline() if record.stable_quantiles_ms is None:
            return replace(record, stable_quantiles_ms=event.quantiles_ms)
        case Matured():
            book = judge.with_matured(record.book, event.due, event.labelled, record.config)
            after = replace(record, cursors=event.cursors, book=book)
            return _held(after, Hold.NO_LABELS) if judge.uncovered(book, record.config) else after
        case Calendar():
            return _set(record, Hold.FROZEN, bool(event.window) and record.stage is Stage.SERVING)
        case AliasMoved() if record.stage is Stage.SERVING:
            return replace(_held(record, Hold.ALIAS_MOVED), reason=event.reason)
        case Drift() if record.stage is Stage.SERVING:
            held = _held(record, Hold.DRIFT)
            return replace(held, fresh_needed=record.book.pairs + FRESH_PAIRS, reason=event.reason)
        case Steer(action="pause") if not refusal(record, "pause"):
            return replace(_held(record, Hold.PAUSED), reason=f"paused: {event.reason}")
        case Steer(action="resume") if not refusal(record, "resume"):
            return replace(_lifted(record, *_LIFTED), approved=True, reason=f"resumed: {event.reason}")
        case Steer(action="promote") if not refusal(record, "promote"):
            timers = replace(record.timers, hold_s=0.0)
            waived = replace(_lifted(record, *_LIFTED), approved=True, timers=timers)
            return replace(waived, reason=f"next step at a person's word: {event.reason}")
        case _:
            return record


def _after_time(record: Record, seconds: float) -> Record:
    timers, stage = record.timers, record.stage
    serving = stage is Stage.SERVING
    running = stage in (Stage.LOADING, Stage.SERVING, Stage.ALIASING) and Hold.PAUSED not in record.holds
    waiting = stage in (Stage.LOADING, Stage.SWAPPING, Stage.REVERTING)
    timers = replace(
        timers,
        deadline_s=timers.deadline_s - seconds if running else timers.deadline_s,
        patience_s=timers.patience_s - seconds if waiting else timers.patience_s,
        hold_s=timers.hold_s - seconds if serving and record.confirmed and not record.holds else timers.hold_s,
        quiet_s=timers.quiet_s + seconds if serving else 0.0,
        unlabelled_s=timers.unlabelled_s + seconds if serving else 0.0,
        down_s=timers.down_s + seconds if Hold.CANARY_DOWN in record.holds else 0.0,
    )
    after = replace(record, timers=timers)
    if serving and timers.quiet_s >= NO_DATA_S:
        after = _held(after, Hold.NO_DATA)
    if serving and timers.unlabelled_s >= NO_LABELS_S and "quality" in gates(record):
        after = _held(after, Hold.NO_LABELS)
    return after


def _after_observation(record: Record, reports: tuple[SplitReport, ...]) -> Record:
    split = intended(record)
    weights = {report.weight for report in reports}
    after = replace(
        record,
        confirmed=split is not None and bool(reports) and all(_does(report, split) for report in reports),
        observed_weight=weights.pop() if len(weights) == 1 else None,
    )
    if record.stage not in (Stage.LOADING, Stage.SERVING):
        return after
    current = [report for report in reports if report.epoch == record.epoch]
    serving = record.stage is Stage.SERVING
    after = _set(after, Hold.STABLE_DOWN, not reports or any(report.stable != record.stable for report in reports))
    after = _set(after, Hold.LEASE, serving and any(report.frozen for report in current))
    return _set(after, Hold.CANARY_DOWN, serving and any(not report.canary_ready for report in current))


def _does(report: SplitReport, split: TrafficSplit) -> bool:
    return (report.epoch, report.stable, report.canary, report.weight) == (
        split.epoch,
        split.stable,
        split.canary,
        split.weight,
    )


def _after_counts(record: Record, event: Counts) -> Record:
    book = judge.with_counts(record.book, event.executions, record.config)
    book = judge.with_keys(book, event.stable_keys, event.canary_keys, record.weight)
    after = replace(
        record, cursors=event.cursors, book=book, first_attempts=record.first_attempts + event.first_attempts
    )
    whole = event.executions.get("")
    if whole is not None and whole.canary_n:
        after = _lifted(replace(after, timers=replace(after.timers, quiet_s=0.0)), Hold.NO_DATA)
    after = _set(after, Hold.SAMPLE_RATIO, judge.skewed(book))
    return _set(after, Hold.BOTH_BAD, judge.both_bad(book, record.config))


def _after_pairs(record: Record, event: Pairs) -> Record:
    book = record.book
    for difference in event.differences:
        book = judge.with_pair(book, difference, record.config)
    after = replace(record, cursors=event.cursors, book=book)
    if event.differences:
        after = replace(after, timers=replace(after.timers, unlabelled_s=0.0))
        after = _set(after, Hold.NO_LABELS, judge.uncovered(book, record.config))
    return _lifted(after, Hold.DRIFT) if book.pairs >= record.fresh_needed else after


def _set(record: Record, hold: Hold, wanted: bool) -> Record:
    return _held(record, hold) if wanted else _lifted(record, hold)


def _held(record: Record, hold: Hold) -> Record:
    return record if hold in record.holds else replace(record, holds=tuple(sorted((*record.holds, hold))))


def _lifted(record: Record, *holds: Hold) -> Record:
    kept = tuple(hold for hold in record.holds if hold not in holds)
    return record if kept == record.holds else replace(record, holds=kept)


# ---------------------------------------------------------------- decisions


def _decide(record: Record, event: Event) -> Record:
    if isinstance(event, Fenced) and record.phase not in TERMINAL:
        return replace(record, phase=Phase.HALTED, stage=Stage.OVER, reason=event.reason)
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
            return replace(_held(record, Hold.ALIAS_MOVED), reason=f"cannot start: {event.reason}")
        case ChallengerReady() if _may_begin(record):
            return _risen(record, 0, f"v{record.challenger} is loaded, verified and answers")
        case ChallengerFailed() if record.stage is Stage.LOADING:
            return _back(record, f"v{record.challenger} cannot be served: {event.reason}")
        case Steer(action="abort"):
            return _back(record, f"aborted: {event.reason}")
        case Tick() if record.stage is Stage.LOADING and min(record.timers.patience_s, record.timers.deadline_s) <= 0:
            return _back(record, f"v{record.challenger} was not ready within {record.config.prepare_s:g} s")
        case _:
            return record


def _on_trial(record: Record, event: Event) -> Record:
    match event:
        case Steer(action="abort"):
            return _back(record, f"aborted: {event.reason}")
        case Observed() if record.stage is Stage.SERVING and (lost := _lost(record, event)):
            return _back(record, lost)
        case Observed() if record.stage is Stage.SWAPPING and record.confirmed:
            return replace(record, stage=Stage.RELEASING)
        case Aliased() if record.stage is Stage.ALIASING:
            timers = replace(record.timers, patience_s=record.config.prepare_s)
            swapped = replace(record, stage=Stage.SWAPPING, certified=True, timers=timers)
            return _new_epoch(swapped, f"v{record.challenger} is champion; routers are loading it as stable")
        case AliasMoved() if record.stage is Stage.ALIASING:
            held = _held(record, Hold.ALIAS_MOVED)
            return replace(held, stage=Stage.SERVING, reason=f"not promoted: {event.reason}")
        case Released() if record.stage is Stage.RELEASING:
            reason = f"v{record.challenger} has replaced v{record.stable}: {_case(record)}"
            return replace(record, phase=Phase.PROMOTED, stage=Stage.OVER, reason=reason)
    if record.stage is not Stage.RELEASING and Hold.STABLE_DOWN not in record.holds:
        found = judge.verdict(record.book, record.config, gates(record))
        if isinstance(found, Harm):
            return _back(record, f"worse by {found.name}: {_case(record)}")
    return _on_tick(record) if isinstance(event, Tick) else record


def _on_tick(record: Record) -> Record:
    """What only the passing of time may decide: giving up, and rising."""
    timers, config = record.timers, record.config
    if record.stage is Stage.SWAPPING and timers.patience_s <= 0:
        return _back(record, f"not every router served v{record.challenger} as stable within {config.prepare_s:g} s")
    if record.stage is not Stage.SERVING or Hold.STABLE_DOWN in record.holds:
        return record
    if timers.deadline_s <= 0:
        return _back(record, f"not enough evidence within {config.deadline_s:g} s: {waits_for(record)}")
    if timers.down_s >= config.lease_s:
        return _back(record, f"the canary has not answered its probe for {config.lease_s:g} s")
    if record.holds or not record.confirmed or timers.hold_s > 0:
        return record
    if not isinstance(judge.verdict(record.book, config, gates(record)), Safe):
        return record
    last = record.place + 1 == len(config.steps)
    if ("promote" if last else "rise") in config.approvals and not record.approved:
        return replace(_held(record, Hold.AWAITING_APPROVAL), reason=f"waits for approval: {_case(record)}")
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
    book = judge.without_keys(record.book)
    risen = replace(record, phase=Phase.TRIAL, stage=Stage.SERVING, place=place, weight=config.steps[place], book=book)
    risen = _lifted(replace(risen, timers=timers, approved=False), Hold.SAMPLE_RATIO)
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
