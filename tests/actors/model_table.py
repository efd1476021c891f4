"""Renders what the model checker walked as docs/rollout-transitions.md: which event leads from where to where."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from actors.adaptive_learning.deployment.events import Command
from actors.adaptive_learning.deployment.judge import Hold
from actors.adaptive_learning.deployment.record import Record, Stage
from core.schemas.rollouts import Phase
from tests.actors.model_rules import RULES, Step, rises

if TYPE_CHECKING:
    from tests.actors.model_checker import Explored

FILE = Path(__file__).resolve().parents[2] / "docs" / "rollout-transitions.md"

_HEAD = """# Transitions of a roll-out

Made by `python -m tests.actors.model_checker --write` from the walked states of `reducer.step`; a test fails when this
page is out of date. A change of phase or stage that is not listed cannot happen.

| from | when | to | then ordered |
|---|---|---|---|
"""
_HOLDS = """
A `fenced` event leads from everything that is not over to `halted`, and orders nothing. While anything holds, or a
router does something else than intended, nothing rises. All holds end with the trial.

| hold | set by | lifted by |
|---|---|---|
"""
_RULES = """
Asked at every step of the walk, of what went in and what came out:

"""


class Noted:
    """What a walk saw that the tables tell, kept small: one entry for a kind of step, not for a state."""

    def __init__(self) -> None:
        self.moved: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
        self.held: defaultdict[tuple[Hold, bool], set[str]] = defaultdict(set)

    def note(self, label: str, taken: Step) -> None:
        """One step that changed something."""
        before, after = taken.before, taken.after
        moved = after.stage is not before.stage or after.place != before.place or after.phase is not before.phase
        if not moved and before.holds == after.holds:
            return
        if label in ("time: everything at once", "fenced"):
            return  # each part of it is walked alone too; told in words
        if moved:
            row = _place(before), _cause(label, taken), _place(after, before)
            self.moved[row].update(_order(command) for command in taken.commands)
        else:
            for hold in set(before.holds) ^ set(after.holds):
                self.held[hold, hold in after.holds].add(label)


def table(walks: Iterable[Explored]) -> str:
    """The page."""
    moved: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
    held: defaultdict[tuple[Hold, bool], set[str]] = defaultdict(set)
    for walk in walks:
        for row, orders in walk.noted.moved.items():
            moved[row] |= orders
        for change, labels in walk.noted.held.items():
            held[change] |= labels
    return f"{_HEAD}{_moves(moved)}{_HOLDS}{_holds(held)}{_RULES}" + "".join(f"- {name}\n" for name in RULES)


def _moves(moved: Mapping[tuple[str, str, str], set[str]]) -> str:
    causes: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    orders: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for (before, cause, after), ordered in moved.items():
        causes[before, after].add(cause)
        orders[before, after] |= ordered
    rows = sorted(causes, key=lambda way: (_rank(way[0]), _rank(way[1])))
    return "".join(
        f"| {way[0]} | {'; '.join(sorted(causes[way]))} | {way[1]} | {', '.join(sorted(orders[way]))} |\n"
        for way in rows
    )


def _holds(held: Mapping[tuple[Hold, bool], set[str]]) -> str:
    return "".join(
        f"| {hold} | {_listed(held.get((hold, True), set()))} | {_listed(held.get((hold, False), set()))} |\n"
        for hold in Hold
    )


def _listed(labels: set[str]) -> str:
    """Labels by kind; more than three of a kind: whatever else it says."""
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    for label in sorted(labels):
        kind, _, what = label.partition(": ")
        kinds[kind].append(what)
    return "; ".join(
        kind if whats == [""] else f"{kind}: {', '.join(whats) if len(whats) <= 3 else 'otherwise'}"
        for kind, whats in kinds.items()
    )


def _cause(label: str, taken: Step) -> str:
    """Why, in words: a roll-back gives its reason, a rise what it was asked for."""
    before, after = taken.before, taken.after
    if after.phase is Phase.ROLLING_BACK and before.phase is not Phase.ROLLING_BACK:
        return re.sub(r"v?\d+|(?<=worse by )\w+", "…", after.reason.partition(":")[0])
    if rises(taken) and before.phase is Phase.TRIAL:
        return "a tick, when the gates' claims are shown, the least time is over, nothing holds, all routers follow"
    if before.unconfirmed_end and after.phase is Phase.HALTED:
        return f"{label}, though routers never confirmed"
    return "all routers do what is intended" if label.startswith("routers") else label


def _order(command: Command) -> str:
    return command.kind


def _place(record: Record, before: Record | None = None) -> str:
    """Phase and stage; of a trial that rose, that too."""
    rose = before is not None and before.phase is Phase.TRIAL and record.place > before.place
    stage = "" if record.stage is Stage.OVER else f" / {record.stage}"
    return f"{record.phase}{stage}{', next step' if rose else ''}"


def _rank(place: str) -> tuple[int, int, str]:
    phase, _, stage = place.split(",")[0].partition(" / ")
    stages = [*Stage]
    return [*Phase].index(Phase(phase)), stages.index(Stage(stage)) if stage else len(stages), place
