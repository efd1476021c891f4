"""All that is known of a roll-out, in one value: what it intends, what it saw, how long it still waits, why.

What is ordered follows from the record alone (`outstanding`), so a controller that was killed re-issues exactly what
may not have taken effect.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from actors.adaptive_learning.deployment import judge
from actors.adaptive_learning.deployment.bookkeeping import Book, Tally
from actors.adaptive_learning.deployment.events import (
    Command,
    Cursors,
    Promote,
    Release,
    Restore,
    SetSplit,
    Warm,
)
from actors.adaptive_learning.deployment.judge import Hold
from core.schemas.rollouts import Phase, RolloutConfig, RolloutStatus, TrafficSplit, label

#: Silence after which evidence is said to be missing.
NO_DATA_S = 60.0
NO_LABELS_S = 1800.0
#: Pairs that must come in after a drift before anything rises again.
FRESH_PAIRS = 20


class Stage(StrEnum):
    """What a phase is waiting for."""

    QUEUED = "queued"  # its turn
    LOADING = "loading"  # the challenger
    SERVING = "serving"  # evidence
    ALIASING = "aliasing"  # the registry's word
    SWAPPING = "swapping"  # every router to serve the challenger as stable
    REVERTING = "reverting"  # every router to serve stable alone
    UNALIASING = "unaliasing"  # the registry's word
    RELEASING = "releasing"  # the version on trial to be gone
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Timers:
    """Durations in seconds: what remains, and how long something is missing; clocks never enter."""

    hold_s: float = 0.0  # remaining at this step
    deadline_s: float = 0.0  # remaining until evidence must be enough
    patience_s: float = 0.0  # remaining for what the stage waits for
    quiet_s: float = 0.0  # since the canary last executed anything
    unlabelled_s: float = 0.0  # since the last pair
    down_s: float = 0.0  # since the canary last answered its probe


@dataclass(frozen=True, slots=True)
class Record:
    """State of a roll-out; changed by `reducer.step` only."""

    id: str
    model: str
    challenger: int
    stable: int
    config: RolloutConfig
    phase: Phase = Phase.PREPARING
    stage: Stage = Stage.QUEUED
    place: int = 0  # in config.steps
    reason: str = "waits for its turn"
    epoch: int = 0
    first_epoch: int = 0
    weight: float = 0.0
    confirmed: bool = False  # every router does what is intended
    observed_weight: float | None = None
    holds: tuple[Hold, ...] = ()
    certified: bool = False  # the champion alias names the challenger
    unconfirmed_end: bool = False  # routers never confirmed the way back
    approved: bool = False  # a person's word for the next rise, where one is needed
    fresh_needed: int = 0  # pairs to reach before a drift is over
    stable_quantiles_ms: tuple[float, float, float] | None = None  # None: too little is known to call an answer slow
    timers: Timers = field(default_factory=Timers)
    cursors: Cursors = field(default_factory=Cursors)
    first_attempts: Tally = field(default_factory=Tally)
    book: Book = field(default_factory=Book)


def new_record(
    rollout_id: str, model: str, challenger: int, stable: int, config: RolloutConfig, *, approved: bool = True
) -> Record:
    """A queued roll-out; where a word is needed before the start it waits for a person's `resume`."""
    approved = approved and "start" not in config.approvals
    holds = () if approved else (Hold.AWAITING_APPROVAL,)
    reason = "waits for its turn" if approved else "waits for approval"
    return Record(rollout_id, model, challenger, stable, config, holds=holds, reason=reason)


def name(record: Record) -> str:
    """What callers call its phase."""
    return label(record.phase, record.weight)


def held(record: Record, hold: Hold) -> Record:
    """The record with one more hold; the way back waits for nothing."""
    if hold in record.holds or record.phase not in (Phase.PREPARING, Phase.TRIAL):
        return record
    return replace(record, holds=tuple(sorted((*record.holds, hold))))


def lifted(record: Record, *holds: Hold) -> Record:
    """The record without some holds."""
    kept = tuple(hold for hold in record.holds if hold not in holds)
    return record if kept == record.holds else replace(record, holds=kept)


def gates(record: Record) -> tuple[str, ...]:
    """What must be shown before the next step."""
    return record.config.gates[record.place]


def intended(record: Record) -> TrafficSplit | None:
    """The split that the record wants in force; None before it wants any."""
    match record.stage:
        case Stage.SERVING | Stage.ALIASING:
            return _split(record, record.stable, record.challenger, record.weight)
        case Stage.SWAPPING:
            return _split(record, record.challenger, None, 0.0)
        case Stage.REVERTING:
            return _split(record, record.stable, None, 0.0)
        case _:
            return None


def _split(record: Record, stable: int, canary: int | None, weight: float) -> TrafficSplit:
    """With a canary every request is scored by both versions: pairs for the judge, stable as the control at 100 %."""
    lease_s, abandon_s = record.config.lease_s, record.config.abandon_s
    return TrafficSplit(
        record.model, record.epoch, stable, canary, weight, canary is not None, lease_s, abandon_s, renewals=0
    )


def outstanding(record: Record) -> tuple[Command, ...]:
    """Everything that the record's stage orders; each may be repeated without harm."""
    split = intended(record)
    match record.stage:
        case Stage.LOADING:
            return (Warm(record.challenger),)
        case Stage.SERVING if split is not None:
            return (Warm(record.challenger), SetSplit(split))
        case Stage.ALIASING:
            return (Promote(record.challenger, record.stable),)
        case Stage.SWAPPING | Stage.REVERTING if split is not None:
            return (SetSplit(split),)
        case Stage.UNALIASING:
            return (Restore(record.challenger, record.stable),)
        case Stage.RELEASING:
            return (Release(record.challenger),)
        case _:
            return ()


def waits_for(record: Record) -> str:
    """What keeps the next step from being taken, in words; empty: nothing does, or there is no next."""
    if record.phase is not Phase.TRIAL or record.stage is not Stage.SERVING:
        return record.stage.value if record.phase in (Phase.PREPARING, Phase.ROLLING_BACK) else ""
    parts = [f"held: {', '.join(record.holds)}"] if record.holds else []
    if not record.confirmed:
        parts.append("not every router does what is intended")
    if record.timers.hold_s > 0:
        parts.append(f"{record.timers.hold_s:.0f} s left at this step")
    short = judge.short(record.book, record.config, gates(record))
    return "; ".join(parts + [f"{gate.name} log e {gate.log_e:.2f} of {gate.needed:.2f}" for gate in short])


def status(record: Record, started_at: int, updated_at: int) -> RolloutStatus:
    """The record in one screen."""
    first, book = record.first_attempts, record.book
    return RolloutStatus(
        id=record.id,
        model=record.model,
        challenger=record.challenger,
        stable=record.stable,
        phase=name(record),
        weight=record.weight,
        observed_weight=record.observed_weight,
        holds=tuple(str(hold) for hold in record.holds),
        evidence=judge.lines(book, record.config),
        reason=record.reason,
        started_at=started_at,
        updated_at=updated_at,
        requests={
            "stable": first.stable_n - first.stable_errors,
            "failed": first.stable_errors,
            "canary": first.canary_n - first.canary_errors,
            "rescued": first.canary_errors,
        },
        config=record.config,
        step=record.place,
        hold_remaining_s=max(0.0, record.timers.hold_s),
        deadline_remaining_s=max(0.0, record.timers.deadline_s),
        waits_for=waits_for(record),
        labels={"pairs": book.pairs, "due": book.due, "labelled": book.labelled},
    )
