"""Decides what the world may do to a roll-out next, for the model checker: every event in every state, freely chosen.

A move prepares the record as the world pleases (some duration about to expire, some book of evidence) and hands over
the event; what the state machine makes of both is the state machine's own doing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from actors.adaptive_learning.deployment import bookkeeping
from actors.adaptive_learning.deployment.bookkeeping import Book, Executions, Recent, Tally
from actors.adaptive_learning.deployment.events import (
    Aliased,
    AliasMoved,
    Baseline,
    Calendar,
    ChallengerFailed,
    ChallengerReady,
    Counts,
    Cursors,
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
from actors.adaptive_learning.deployment.judge import Hold
from actors.adaptive_learning.deployment.record import NO_DATA_S, NO_LABELS_S, Record, Stage, Timers, intended
from core.schemas.rollouts import RolloutConfig, SplitReport

STABLE, CHALLENGER = 1, 2
#: Executions that nothing is wrong with: enough for the objective, not for half of it.
_CLEAN = {"": Executions(0, 420)}
_SICK = Recent(50.0, 25.0)


Made = tuple[Record, Event]


@dataclass(frozen=True)
class Move:
    """One way in which the world may go on."""

    label: str
    make: Callable[[Record], Made | None]  # None: another move does the same in this state
    chooses_book: bool = False  # so it leads to the same place whatever the evidence was before


def books(config: RolloutConfig) -> dict[str, Book]:
    """Evidence of every kind; what speaks against the canary comes with every claim shown, to tempt the judge."""
    errors = bookkeeping.with_counts(Book(), _CLEAN, config)
    compared = bookkeeping.with_counts(errors, {"": Executions(0, 1000)}, config)
    safe = compared
    for difference in (-0.1, -0.05) * 30:
        safe = bookkeeping.with_pair(safe, difference, config)
    harm = replace(safe, harm_quality=(20.0,) * 6)
    return {
        "nothing": Book(),
        "few errors": errors,
        "fewer errors": compared,
        "quality alone": replace(safe, cells={}, below_slo=Book().below_slo, below_half_slo=Book().below_half_slo),
        "all shown": safe,
        "harm": harm,
        "both fail": replace(safe, recent_stable=_SICK, recent_canary=_SICK),
        "both fail, harm": replace(harm, recent_stable=_SICK, recent_canary=_SICK),
        "keys skewed": replace(safe, sample_ratio=(10.0,) * 8),
        "outcomes missing": replace(safe, coverage=(10.0,) * 5),
    }


def as_intended(record: Record) -> Event:
    """Every router does what the record wants."""
    made = _seen(record, {})
    assert made is not None
    return made[1]


def full_timers(record: Record) -> Timers:
    """No duration has expired."""
    config = record.config
    patience = config.abandon_s if record.stage is Stage.REVERTING else config.prepare_s
    return Timers(config.hold_s[record.place], config.deadline_s, patience)


def moves(known: Mapping[str, Book]) -> tuple[Move, ...]:
    """Everything that may happen."""
    plain: tuple[tuple[str, Event], ...] = (
        ("started", Started(STABLE, 4, Cursors())),
        ("challenger ready", ChallengerReady()),
        ("challenger failed", ChallengerFailed("x")),
        ("stable's quantiles", Baseline((1.0, 2.0, 3.0), 2000)),
        ("freeze window opens", Calendar("a window")),
        ("freeze window closes", Calendar("")),
        ("drift", Drift("x")),
        ("outcomes due", Matured(1, 1, Cursors())),
        ("executions", Counts({"": Executions(0, 1)}, Tally(), 0, 0, Cursors())),
        ("alias moved by the roll-out", Aliased()),
        ("alias moved by somebody", AliasMoved("x")),
        ("alias restored", Restored("")),
        ("released", Released()),
        ("fenced", Fenced("x")),
        ("pause", Steer("pause", "x")),
        ("resume", Steer("resume", "x")),
        ("promote", Steer("promote", "x")),
        ("abort", Steer("abort", "x")),
    )
    return (
        *(Move(label, partial(_plainly, event=event)) for label, event in plain),
        *(Move(f"evidence: {name}", partial(_judged, book=book), True) for name, book in known.items()),
        Move("some pairs", partial(_paired, missing=FEW + 1)),
        Move("fresh pairs", partial(_paired, missing=FEW)),
        *(Move(f"routers: {label}", partial(_seen, changes=changes)) for label, changes in _REPORTS.items()),
        Move("routers: silent", partial(_plainly, event=Observed(()))),
        *(Move(f"time: {label}", partial(_ticked, expiring=names)) for label, names in _EXPIRING.items()),
    )


FEW = 3
_COUNTED = Counts({}, Tally(), 0, 0, Cursors())
_SECOND = Tick(1.0)
_PAIRED = Pairs((0.0,) * FEW, Cursors())
_REPORTS: dict[str, dict[str, Any]] = {
    "as intended": {},
    "an older split": {"epoch": 0},
    "another share": {"weight": 0.07},
    "no stable version": {"stable": None},
    "the other version as stable": {"stable": "other"},
    "lease run out": {"frozen": True},
    "canary does not answer": {"canary_ready": False},
    "breaker open": {"breaker_open": True, "weight": 0.0},
    "canary gone": {"canary_ready": False, "canary_gone": True},
    "all gone": {"stable": None, "canary_gone": True, "breaker_open": True},
}
_EXPIRING: dict[str, tuple[str, ...]] = {
    "passes": (),
    "least time is over": ("hold_s",),
    "deadline": ("deadline_s",),
    "patience ends": ("patience_s",),
    "canary long silent": ("quiet_s",),
    "outcomes long missing": ("unlabelled_s",),
    "canary long down": ("down_s",),
    "everything at once": ("hold_s", "deadline_s", "patience_s", "quiet_s", "unlabelled_s", "down_s"),
}


def _plainly(record: Record, event: Event) -> Made:
    return record, event


def _judged(record: Record, book: Book) -> Made:
    return (record if record.book is book else replace(record, book=book)), _COUNTED


def _paired(record: Record, missing: int) -> Made | None:
    if not record.fresh_needed:
        return (record, _PAIRED) if missing == FEW else None
    return replace(record, fresh_needed=record.book.pairs + missing), _PAIRED


def _seen(record: Record, changes: Mapping[str, Any]) -> Made | None:
    if changes.get("stable") == "other" and record.stage is not Stage.SWAPPING:
        return None
    split = intended(record)
    stable, canary, weight = (split.stable, split.canary, split.weight) if split else (record.stable, None, 0.0)
    other = record.stable if stable == record.challenger else record.challenger
    fields = {
        "epoch": record.epoch,
        "stable": stable,
        "canary": canary,
        "weight": weight,
        "canary_ready": canary is not None,
        "breaker_open": False,
        "frozen": False,
        "pid": 1,
    } | changes
    if fields["stable"] == "other":
        fields["stable"] = other
    return record, Observed((SplitReport(**fields),))


def _ticked(record: Record, expiring: tuple[str, ...]) -> Made | None:
    """A second passes; `expiring` have half a second left, if the state machine lets them run."""
    if not expiring:
        return record, _SECOND
    if len(expiring) == 1 and not _matters(record, *expiring):
        return None
    timers = _nearly(record, expiring)
    return None if timers == record.timers else (replace(record, timers=timers), _SECOND)


def _matters(record: Record, name: str) -> bool:
    """Whether the end of one duration is tried alone here; all at once is tried everywhere."""
    match name:
        case "patience_s":
            return record.stage in (Stage.LOADING, Stage.SWAPPING, Stage.REVERTING)
        case "quiet_s":
            return Hold.NO_DATA not in record.holds
        case "unlabelled_s":
            return Hold.NO_LABELS not in record.holds
        case "down_s":
            return Hold.CANARY_DOWN in record.holds
        case _:
            return True


def _nearly(record: Record, expiring: tuple[str, ...]) -> Timers:
    timers, limits = record.timers, {"quiet_s": NO_DATA_S, "unlabelled_s": NO_LABELS_S, "down_s": record.config.lease_s}
    values = {}
    for name in expiring:
        present = getattr(timers, name)
        values[name] = max(present, limits[name] - 0.5) if name in limits else min(present, 0.5)
    return replace(timers, **values)
