"""Proves the rules of the shipped state machine for every order of events, by walking all of its abstract states.

`step` itself is walked, breadth first. Two records are one state when they differ only in what no rule asks for: a
duration counts as running or expired, evidence as one of a few prepared books, epochs and reasons not at all. The one
limit: a state with more than `most_holds` holds at once is checked, but not gone on from.

    python -m tests.actors.model_checker [--holds 3]     the figures
    python -m tests.actors.model_checker --write         renews docs/rollout-transitions.md too
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from actors.adaptive_learning.deployment import judge
from actors.adaptive_learning.deployment.bookkeeping import Book
from actors.adaptive_learning.deployment.events import Event, Released, Restored, Tick
from actors.adaptive_learning.deployment.judge import Hold
from actors.adaptive_learning.deployment.record import Record, Stage, Timers, new_record
from actors.adaptive_learning.deployment.reducer import step
from core.schemas.rollouts import TERMINAL, Phase, RolloutConfig, configured
from tests.actors import model_table
from tests.actors.model_memory import quick_replace, remembered
from tests.actors.model_rules import Step, broken_rules, rises
from tests.actors.model_table import Noted
from tests.actors.model_world import CHALLENGER, STABLE, Move, as_intended, books, full_timers, moves

Key = tuple[Any, ...]
#: Seconds: no tick of one second ends them unless the world says so.
_DURATIONS = {"deadline_s": 10_000.0, "abandon_s": 100.0, "prepare_s": 100.0, "lease_s": 30.0}
CANARY = configured({"hold_s": (20.0,) * 3, **_DURATIONS}, {"approvals": ("start", "rise", "promote")})
CONFIGS = {"canary": CANARY, "blue_green": configured(_DURATIONS, {}, "blue_green")}


@dataclass
class Explored:
    """All states that can be reached, how each was first reached, and where each leads."""

    config: RolloutConfig
    states: list[Record] = field(default_factory=list)
    origins: list[tuple[int, str]] = field(default_factory=list)  # (state before, move's label)
    leads_to: list[set[int]] = field(default_factory=list)
    risen: set[tuple[int, int]] = field(default_factory=set)  # those of `leads_to` that let a trial rise
    noted: Noted = field(default_factory=Noted)
    transitions: int = 0
    beyond: int = 0  # steps into more holds than are gone on from
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)

    def path(self, state: int) -> str:
        """The moves that first led to a state, oldest first."""
        labels = []
        while state:
            state, label = self.origins[state]
            labels.append(label)
        return " > ".join(reversed(labels))


def explore(config: RolloutConfig, most_holds: int = 2) -> Explored:
    """Every state within reach of a queued roll-out, every rule asked at every step."""
    known = books(config)
    walk = _Walk(config, most_holds, known, moves(known))
    begun = time.process_time()
    with remembered():
        walk.run()
    walk.found.seconds = time.process_time() - begun
    return walk.found


class _Walk:
    """The search: what was found so far, and what is still to be gone on from."""

    def __init__(
        self, config: RolloutConfig, most_holds: int, known: dict[str, Book], moves_: tuple[Move, ...]
    ) -> None:
        self.found, self._most_holds, self._books, self._moves = Explored(config), most_holds, known, moves_
        self._names = {id(book): name for name, book in known.items()}
        self._ids: dict[Key, int] = {}
        self._keys: list[Key] = []
        self._chosen: dict[Key, int | None] = {}  # where moves that choose the evidence lead

    def run(self) -> None:
        """Breadth first, so the path to a broken rule is a shortest one."""
        first = new_record("r", "m", CHALLENGER, STABLE, self.found.config)
        self._reach(replace(first, book=self._books["nothing"]), "nothing", (0, ""))
        state = 0
        while state < len(self.found.states):
            for move in self._moves:
                self._follow(state, move)
            state += 1

    def _follow(self, state: int, move: Move) -> None:
        made = move.make(self.found.states[state])
        if made is None:
            return
        self.found.transitions += 1
        if not move.chooses_book:
            reached = self._stepped(state, move, *made)
        elif (key := (move.label, *self._keys[state][:-1])) in self._chosen:
            reached = self._chosen[key]
        else:
            reached = self._chosen[key] = self._stepped(state, move, *made)
        if reached is not None:
            self.found.leads_to[state].add(reached)

    def _stepped(self, state: int, move: Move, before: Record, event: Event) -> int | None:
        """The state that one step leads to; None: it is not gone on from."""
        after, commands = step(before, event)
        taken = Step(before, event, after, commands)
        for rule in broken_rules(taken):
            self.found.broken.append(f"{rule}: {self.found.path(state)} > {move.label}")
        if after is self.found.states[state]:
            return state
        self.found.noted.note(move.label, taken)
        if len(after.holds) > self._most_holds:
            self.found.beyond += 1
            return None
        name = self._names.get(id(after.book)) or self._renamed(before, after)
        reached = self._reach(after, name, (state, move.label))
        if rises(taken) and before.phase is Phase.TRIAL:
            self.found.risen.add((state, reached))
        return reached

    def _renamed(self, before: Record, after: Record) -> str:
        name = self._names[id(before.book)]
        return "all shown" if name == "keys skewed" and not judge.skewed(after.book) else name

    def _reach(self, record: Record, name: str, origin: tuple[int, str]) -> int:
        key, timers = abstract(record, name)
        found = self._ids.get(key)
        if found is None:
            found = self._ids[key] = len(self.found.states)
            self.found.states.append(representative(record, self._books[name], timers))
            self.found.origins.append(origin)
            self.found.leads_to.append(set())
            self._keys.append(key)
        return found


def abstract(record: Record, book: str) -> tuple[Key, tuple[bool, ...]]:
    """What rules ask for in a record, and which of its durations have expired: hold, deadline, patience, down."""
    timers, stage, phase = record.timers, record.stage, record.phase
    if phase in TERMINAL:
        return (phase, record.certified, record.unconfirmed_end, ""), _NONE_EXPIRED
    if phase is Phase.ROLLING_BACK:
        expired = (False, False, stage is Stage.REVERTING and timers.patience_s <= 0, False)
        return (phase, stage, record.certified, record.unconfirmed_end, expired, ""), expired
    at_step = stage in (Stage.SERVING, Stage.ALIASING)
    expired = (
        at_step and timers.hold_s <= 0,
        (at_step or stage is Stage.LOADING) and timers.deadline_s <= 0,
        stage in (Stage.LOADING, Stage.SWAPPING) and timers.patience_s <= 0,
        Hold.CANARY_DOWN in record.holds and timers.down_s >= record.config.lease_s,
    )
    heard = stage is Stage.LOADING and record.observed_weight is not None
    confirmed = at_step and record.confirmed
    return (stage, record.place, record.holds, confirmed, heard, record.approved, expired, book), expired


_NONE_EXPIRED = (False,) * 4


def representative(record: Record, book: Book, expired: tuple[bool, ...]) -> Record:
    """One record for all of a state: whatever no rule asks for is set to the same."""
    full = full_timers(record)
    hold, deadline, patience, down = expired
    timers = Timers(
        0.0 if hold else full.hold_s,
        0.0 if deadline else full.deadline_s,
        0.0 if patience else full.patience_s,
        down_s=record.config.lease_s if down else 0.0,
    )
    fresh = book.pairs + 20 if Hold.DRIFT in record.holds else 0
    epoch = 10 if record.epoch else 0
    return quick_replace(record, book=book, timers=timers, fresh_needed=fresh, epoch=epoch, stable_quantiles_ms=None)


# ---------------------------------------------------------------- what holds of the whole


def unending(found: Explored, most_steps: int = 4) -> list[str]:
    """States on the way back that do not end within some steps though everybody answers; empty: it always ends.

    Routers answer as intended, or never: then their time runs out instead.
    """
    under_way = [record for record in found.states if record.phase is Phase.ROLLING_BACK]
    return [
        f"{record.stage}, routers {'answer' if heard else 'silent'}"
        for record in under_way
        for heard in (True, False)
        if not _ends(record, most_steps, heard)
    ]


def _ends(record: Record, most_steps: int, heard: bool) -> bool:
    for _ in range(most_steps):
        match record.stage:
            case Stage.REVERTING:
                event = as_intended(record) if heard else Tick(record.config.abandon_s)
            case Stage.UNALIASING:
                event = Restored("")
            case _:
                event = Released()
        record, _ = step(record, event)
        if record.phase in TERMINAL:
            return True
    return False


def without_evidence(found: Explored) -> set[int]:
    """Promoted states that can be reached without a single step that evidence was asked for; empty: none can."""
    barred = [{target for target in targets if (state, target) not in found.risen} for state, targets in _ways(found)]
    return {state for state in _within(barred, {0}) if found.states[state].phase is Phase.PROMOTED}


def stuck(found: Explored) -> set[int]:
    """States before the deadline from which nothing leads to promotion any more though nothing was decided."""
    backwards: list[set[int]] = [set() for _ in found.states]
    for state, targets in _ways(found):
        for target in targets:
            backwards[target].add(state)
    promoted = {i for i, record in enumerate(found.states) if record.phase is Phase.PROMOTED}
    hopeful = _within(backwards, promoted)
    return {
        i
        for i, record in enumerate(found.states)
        if record.phase in (Phase.PREPARING, Phase.TRIAL) and record.timers.deadline_s > 0 and i not in hopeful
    }


def _ways(found: Explored) -> Iterator[tuple[int, set[int]]]:
    return enumerate(found.leads_to)


def _within(leads_to: list[set[int]], start: set[int]) -> set[int]:
    """Everything that can be reached from some states."""
    reached, waiting = set(start), list(start)
    while waiting:
        new = leads_to[waiting.pop()] - reached
        reached |= new
        waiting += new
    return reached


def figures(found: Explored) -> str:
    """One line: how much was walked, and how long it took."""
    return (
        f"{len(found.states)} states, {found.transitions} transitions, {found.beyond} into more holds, "
        f"{found.seconds:.1f} s of one core, {len(found.broken)} rules broken"
    )


def page() -> str:
    """docs/rollout-transitions.md: one hold at a time shows every kind of step."""
    return model_table.table([explore(config, most_holds=1) for config in CONFIGS.values()])


def main() -> None:
    """Explore, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--holds", type=int, default=2, help="most holds at once that are gone on from")
    parser.add_argument("--write", action="store_true", help=f"renew {model_table.FILE.name}")
    args = parser.parse_args()
    walks = {name: explore(config, args.holds) for name, config in CONFIGS.items()}
    for name, found in walks.items():
        print(f"{name}: {figures(found)}", *found.broken[:10], sep="\n  ")
        print(
            f"  unending {unending(found)}, promoted without evidence {without_evidence(found)}, stuck {stuck(found)}"
        )
    if args.write:
        model_table.FILE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
