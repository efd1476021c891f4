"""Decides what an event tells of a roll-out: its figures, its durations, and what holds it. Nothing moves here.

What is no number never enters: quantiles and weights that are none are ignored here, seconds in `reducer.step`, pairs
in the judge.
"""

from __future__ import annotations

from dataclasses import replace
from math import isfinite, nan

from actors.adaptive_learning.deployment import bookkeeping, judge
from actors.adaptive_learning.deployment.events import (
    AliasMoved,
    Baseline,
    Calendar,
    Counts,
    Drift,
    Event,
    Matured,
    Observed,
    Pairs,
    Steer,
    Tick,
)
from actors.adaptive_learning.deployment.judge import Hold
from actors.adaptive_learning.deployment.record import (
    FRESH_PAIRS,
    NO_DATA_S,
    NO_LABELS_S,
    Record,
    Stage,
    gates,
    held,
    intended,
    lifted,
)
from actors.adaptive_learning.deployment.steering import steered
from core.schemas.rollouts import SplitReport, TrafficSplit

#: Stages in which routers answer with the stable version, or are about to.
_WATCHED = (Stage.LOADING, Stage.SERVING, Stage.ALIASING, Stage.SWAPPING)


def absorbed(record: Record, event: Event) -> Record:
    """The record that knows of an event: figures, durations, holds."""
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
        case Baseline() if record.stable_quantiles_ms is None and all(map(isfinite, event.quantiles_ms)):
            return replace(record, stable_quantiles_ms=event.quantiles_ms)
        case Matured():
            book = bookkeeping.with_matured(record.book, event.due, event.labelled, record.config)
            after = replace(record, cursors=event.cursors, book=book)
            return held(after, Hold.NO_LABELS) if _unlabelled(after) else after
        case Calendar():
            return _set(record, Hold.FROZEN, bool(event.window) and record.stage in (Stage.LOADING, Stage.SERVING))
        case AliasMoved() if record.stage in (Stage.LOADING, Stage.SERVING):
            return replace(held(record, Hold.ALIAS_MOVED), reason=event.reason)
        case Drift() if record.stage is Stage.SERVING:
            moved = held(record, Hold.DRIFT)
            return replace(moved, fresh_needed=record.book.pairs + FRESH_PAIRS, reason=event.reason)
        case Steer():
            return steered(record, event)
        case _:
            return record


def _after_time(record: Record, seconds: float) -> Record:
    timers, stage = record.timers, record.stage
    serving = stage is Stage.SERVING
    # People may stop the clocks, by a word or by the calendar; whatever else holds must be over before the deadline.
    stopped = Hold.PAUSED in record.holds or Hold.FROZEN in record.holds
    running = stage in (Stage.LOADING, Stage.SERVING, Stage.ALIASING) and not stopped
    waiting = stage in (Stage.SWAPPING, Stage.REVERTING) or (stage is Stage.LOADING and not stopped)
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
        after = held(after, Hold.NO_DATA)
    if serving and timers.unlabelled_s >= NO_LABELS_S and "quality" in gates(record):
        after = held(after, Hold.NO_LABELS)
    return after


def _after_observation(record: Record, reports: tuple[SplitReport, ...]) -> Record:
    split = intended(record)
    weights = {report.weight for report in reports}
    weight = weights.pop() if len(weights) == 1 else nan
    confirmed = split is not None and bool(reports) and all(_does(report, split) for report in reports)
    told = (confirmed, weight if isfinite(weight) else None)
    after = record
    if told != (record.confirmed, record.observed_weight):
        after = replace(record, confirmed=told[0], observed_weight=told[1])
    if record.stage not in _WATCHED:
        return after
    # While routers are swapping, either version may be the one that answers.
    served = (record.stable, record.challenger) if record.stage is Stage.SWAPPING else (record.stable,)
    down = not reports or any(report.stable not in served for report in reports)
    current = [report for report in reports if report.epoch == record.epoch and split and split.canary is not None]
    after = _set(after, Hold.STABLE_DOWN, down)
    after = _set(after, Hold.LEASE, any(report.frozen for report in current))
    return _set(after, Hold.CANARY_DOWN, any(not report.canary_ready for report in current))


def _does(report: SplitReport, split: TrafficSplit) -> bool:
    return (report.epoch, report.stable, report.canary, report.weight) == (
        split.epoch,
        split.stable,
        split.canary,
        split.weight,
    )


def _after_counts(record: Record, event: Counts) -> Record:
    book = bookkeeping.with_counts(record.book, event.executions, record.config)
    book = bookkeeping.with_keys(book, event.stable_keys, event.canary_keys, record.weight)
    after = replace(
        record, cursors=event.cursors, book=book, first_attempts=record.first_attempts + event.first_attempts
    )
    whole = event.executions.get("")
    if whole is not None and whole.canary_n:
        after = lifted(replace(after, timers=replace(after.timers, quiet_s=0.0)), Hold.NO_DATA)
    after = _set(after, Hold.SAMPLE_RATIO, judge.skewed(book))
    return _set(after, Hold.BOTH_BAD, judge.both_bad(book, record.config))


def _after_pairs(record: Record, event: Pairs) -> Record:
    book = record.book
    for difference in event.differences:
        book = bookkeeping.with_pair(book, difference, record.config)
    after = replace(record, cursors=event.cursors, book=book)
    if book.pairs > record.book.pairs:
        after = replace(after, timers=replace(after.timers, unlabelled_s=0.0))
        after = _set(after, Hold.NO_LABELS, _unlabelled(after))
    return lifted(after, Hold.DRIFT) if book.pairs >= record.fresh_needed else after


def _unlabelled(record: Record) -> bool:
    """Whether outcomes come in too rarely for a gate that is still to be passed."""
    asked = any("quality" in gates for gates in record.config.gates[record.place :])
    return asked and judge.uncovered(record.book, record.config)


def _set(record: Record, hold: Hold, wanted: bool) -> Record:
    return held(record, hold) if wanted else lifted(record, hold)
