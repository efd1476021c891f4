"""Decides whether one step of the state machine kept the rules, from what went in and what came out alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log

from actors.adaptive_learning.deployment import judge
from actors.adaptive_learning.deployment.events import (
    Aliased,
    ChallengerReady,
    Command,
    Event,
    Fenced,
    Observed,
    Released,
    SetSplit,
    Started,
    Steer,
    Tick,
)
from actors.adaptive_learning.deployment.judge import Hold
from actors.adaptive_learning.deployment.record import Record, Stage, gates, intended, outstanding
from core.schemas.rollouts import TERMINAL, Phase

_UNDER_WAY = (Phase.PREPARING, Phase.TRIAL)
_WAY_BACK = (Phase.ROLLING_BACK, Phase.ROLLED_BACK, Phase.HALTED)


@dataclass(slots=True)
class Step:
    """What went into the state machine, and what came out."""

    before: Record
    event: Event
    after: Record
    commands: tuple[Command, ...]


def broken_rules(taken: Step) -> list[str]:
    """The rules that a step broke, by name; empty: none."""
    before, after = taken.before, taken.after
    if after is before:
        rules = _STILL
    elif (
        after.stage is before.stage
        and after.phase is before.phase
        and after.place == before.place
        and (after.epoch, after.weight, after.stable) == (before.epoch, before.weight, before.stable)
    ):
        rules = _STAYED
    else:
        rules = RULES
    return [name for name, keeps in rules.items() if not keeps(taken)]


def shown(record: Record) -> bool:
    """Whether the evidence at hand clears the present step: asked of the book's figures, not of the verdict."""
    book, config = record.book, record.config
    cleared = all(judge.safety(book, gate) >= log(1 / config.beta) for gate in gates(record))
    return cleared and judge.harm(book, config) is None and not judge.both_bad(book, config)


def rises(taken: Step) -> bool:
    """Whether the challenger gets more than it had: a share, a step, or the champion's place."""
    before, after = taken.before, taken.after
    decided = before.stage is Stage.SERVING and after.stage is Stage.ALIASING
    return after.weight > before.weight or after.place > before.place or decided


def _rise(taken: Step) -> bool:
    before, event, after = taken.before, taken.event, taken.after
    if not rises(taken):
        return True
    if before.holds or after.holds:
        return False
    if before.phase is Phase.PREPARING:
        return isinstance(event, ChallengerReady) and after.place == 0 and before.observed_weight is not None
    last = before.place + 1 == len(before.config.steps)
    asked = ("promote" if last else "rise") in before.config.approvals
    return (
        isinstance(event, Tick)
        and before.confirmed
        and shown(before)
        and before.timers.hold_s <= event.seconds
        and (before.approved or not asked)
        and (after.place == before.place + 1 or (last and after.place == before.place))
    )


def _promotion(taken: Step) -> bool:
    """Stage by stage, so that nobody becomes champion by another way than the evidence of the last step."""
    before, after = taken.before, taken.after
    if after.phase is Phase.PROMOTED and before.phase is not Phase.PROMOTED:
        return (before.phase, before.stage, before.certified) == (Phase.TRIAL, Stage.RELEASING, True)
    if after.phase is not Phase.TRIAL or after.stage is before.stage:
        return True
    match after.stage:
        case Stage.RELEASING:
            return before.stage is Stage.SWAPPING and isinstance(taken.event, Observed) and after.confirmed
        case Stage.SWAPPING:
            return before.stage is Stage.ALIASING and isinstance(taken.event, Aliased)
        case Stage.ALIASING:
            return before.stage is Stage.SERVING and before.place + 1 == len(before.config.steps)
        case _:
            return after.stage is Stage.SERVING


def _way_back(taken: Step) -> bool:
    before, after = taken.before, taken.after
    if before.phase is Phase.ROLLING_BACK:
        return after.phase in _WAY_BACK and after.weight == 0.0
    if before.phase in (Phase.ROLLED_BACK, Phase.HALTED):
        return after is before
    return True


def _stable_answers(taken: Step) -> bool:
    """Of itself the machine goes back only to a version that answers, or from where routers were told nothing."""
    before, event, after = taken.before, taken.event, taken.after
    if after.phase is not Phase.ROLLING_BACK or before.phase is not Phase.TRIAL or isinstance(event, Steer):
        return True
    if not isinstance(event, Observed):
        return Hold.STABLE_DOWN not in before.holds
    served = (before.stable, before.challenger) if before.stage is Stage.SWAPPING else (before.stable,)
    return bool(event.reports) and all(report.stable in served for report in event.reports)


def _one_writer(taken: Step) -> bool:
    before, after = intended(taken.before), intended(taken.after)
    if taken.after.epoch < taken.before.epoch:
        return False
    return after is None or after == before or taken.after.epoch > taken.before.epoch


def _fenced(taken: Step) -> bool:
    if not isinstance(taken.event, Fenced) or taken.before.phase in TERMINAL:
        return True
    return taken.after.phase is Phase.HALTED and not taken.commands and not outstanding(taken.after)


def _orders(taken: Step) -> bool:
    """What is ordered is exactly what became outstanding, and every split carries the record's epoch."""
    before, after = outstanding(taken.before), outstanding(taken.after)
    if after == before:
        return not taken.commands
    splits = [command.split.epoch for command in after if isinstance(command, SetSplit)]
    new = tuple(command for command in after if command not in before)
    return taken.commands == new and all(epoch == taken.after.epoch for epoch in splits)


def _rest(taken: Step) -> bool:
    """What is over orders nothing; what is over or on its way back waits for nothing."""
    after = taken.after
    if after.phase in TERMINAL and (outstanding(after) or after.stage is not Stage.OVER):
        return False
    return after.phase in _UNDER_WAY or not after.holds


def _abort(taken: Step) -> bool:
    """A person can always take it back, whatever holds."""
    if not (isinstance(taken.event, Steer) and taken.event.action == "abort"):
        return True
    return taken.after.phase in _WAY_BACK


def _time(taken: Step) -> bool:
    """Durations run on ticks only, those that a person or the calendar stopped not even then."""
    before, event, after = taken.before, taken.event, taken.after
    old, new = before.timers, after.timers
    if isinstance(event, Tick):
        stopped = Hold.PAUSED in before.holds or Hold.FROZEN in before.holds
        held = bool(before.holds) or not before.confirmed
        same_step = after.place == before.place and after.phase is before.phase
        return not (stopped and new.deadline_s < old.deadline_s) and not (
            held and same_step and new.hold_s < old.hold_s
        )
    person = isinstance(event, Steer) and event.action == "promote"
    begun = after.place != before.place or after.phase is not before.phase or isinstance(event, Started)
    return (
        (new.hold_s >= old.hold_s or person or begun)
        and new.deadline_s >= old.deadline_s
        and (new.patience_s >= old.patience_s or after.stage is not before.stage)
        and new.quiet_s <= old.quiet_s
        and new.unlabelled_s <= old.unlabelled_s
        and new.down_s <= old.down_s
    )


def _confirmed_end(taken: Step) -> bool:
    """Routers either confirmed the way back, or the end says that they did not."""
    before, after = taken.before, taken.after
    if before.stage is Stage.REVERTING and after.stage not in (Stage.REVERTING, Stage.OVER):
        return after.unconfirmed_end or (isinstance(taken.event, Observed) and after.confirmed)
    return not (after.phase is Phase.ROLLED_BACK and after.unconfirmed_end)


def _released(taken: Step) -> bool:
    """The end is reached by the challenger's process being gone, by being fenced, or before anything was done."""
    before, after = taken.before, taken.after
    if after.phase not in TERMINAL or before.phase in TERMINAL:
        return True
    return isinstance(taken.event, Released | Fenced) or before.stage is Stage.QUEUED


RULES: dict[str, Callable[[Step], bool]] = {
    "the weight rises only on evidence, confirmed, unheld, after the least time, with approval": _rise,
    "nobody is promoted but by the last step's evidence": _promotion,
    "the way back is never left": _way_back,
    "no way back into a stable version that is down": _stable_answers,
    "every change of the split has a higher epoch": _one_writer,
    "whoever is fenced halts and orders nothing": _fenced,
    "orders are what became outstanding": _orders,
    "what is over rests": _rest,
    "an abort is always honoured": _abort,
    "time passes on ticks only": _time,
    "a way back that routers never confirmed is no roll-back": _confirmed_end,
    "the end releases what was on trial": _released,
}
#: All that can be broken by a step without a new place or split; by one that changed nothing at all.
_STAYED = {name: rule for name, rule in RULES.items() if rule in (_way_back, _fenced, _orders, _rest, _abort, _time)}
_STILL = {name: rule for name, rule in RULES.items() if rule in (_fenced, _orders, _abort)}
