"""Draws a roll-out as one screen: where it stands, what holds it, what the evidence says, how long it takes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cluster.cli.rollout_pace import Glance, estimate, lasting, share
from core.schemas.rollouts import Evidence, Phase, RolloutEvent, RolloutPlan, RolloutStatus

#: What each hold means, and what ends it.
HOLDS = {
    "paused": "a person said so; `rollout resume` goes on",
    "awaiting_approval": "a person's word is needed: `rollout resume`",
    "no_data": "the version on trial executes nothing; ends with the next request",
    "no_labels": "outcomes do not come in; ends when they do",
    "both_bad": "both versions fail, so it is not this version's fault; ends when the stable one is well",
    "stable_down": "the stable version is not served, or no router answers; there is nothing to go back to",
    "canary_down": "the version on trial does not answer its probe; taken back if that lasts",
    "frozen": "a freeze window is open; nothing rises until it closes",
    "lease": "a router has not seen the controller's renewal in time",
    "drift": "the world moved; outcomes of after that are needed",
    "sample_ratio": "keys do not reach the versions in the shares that were ordered; look at the routers",
    "alias_moved": "somebody else moved the champion; `rollout resume` or `rollout abort`",
}
_BACK = (Phase.ROLLING_BACK, Phase.ROLLED_BACK, Phase.HALTED)
_COLOURS: dict[str, str] = {Phase.PROMOTED: "green", **dict.fromkeys(_BACK, "red")}
_ROLES = {"safety": ("clears", "green"), "harm": ("accuses", "red"), "hold": ("holds", "yellow")}
_WEIGHT_CELLS, _EVIDENCE_CELLS = 40, 20


def screen(
    status: RolloutStatus,
    events: Sequence[RolloutEvent],
    now: float,
    *,
    earlier: Glance | None = None,
    plan: RolloutPlan | None = None,
) -> RenderableType:
    """The whole roll-out; `now` in epoch seconds.

    earlier: a look at the same step, from which the pace of the evidence is measured. plan: what was expected of the
    configuration; used where there is no pace yet. Without both no time to the decision is named.
    """
    parts: list[RenderableType] = [_head(status, now), _facts(status, now, earlier, plan)]
    rows = list(_strongest(status))
    if rows:
        parts += [Text(), _evidence(status, rows)]
    changes = transitions(events)
    if changes:
        parts += [Text(), _transitions(changes[-6:])]
    return Group(*parts)


def line(status: RolloutStatus, now: float) -> str:
    """A roll-out in one line, for a pipe."""
    held = f"; held: {', '.join(status.holds)}" if status.holds else ""
    confirmed = share(status.observed_weight) if status.observed_weight is not None else "not yet"
    return (
        f"{moment(now)} {status.id} v{status.challenger}: {status.phase}, weight {share(status.weight)} "
        f"(confirmed: {confirmed}){held}; {status.reason}"
    )


def transitions(events: Sequence[RolloutEvent]) -> list[tuple[int, str, str]]:
    """Moment, change and reason of every event that changed the phase or what holds it, oldest first."""
    found, phase, holds = [], "", frozenset[str]()
    for event in events:
        held = frozenset(event.holds)
        changes = [f"{phase} → {event.phase}" if phase else event.phase] if event.phase != phase else []
        changes += [f"held: {name}" for name in sorted(held - holds)]
        changes += [f"no longer held: {name}" for name in sorted(holds - held)]
        if changes:
            found.append((event.at, ", ".join(changes), event.reason))
        phase, holds = event.phase, held
    return found


def moment(at: float) -> str:
    """To the second, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _head(status: RolloutStatus, now: float) -> RenderableType:
    steps = " › ".join(
        f"[{share(step)}]" if place == status.step and not status.over else share(step)
        for place, step in enumerate(status.config.steps)
    )
    return Group(
        Text.assemble((f"{status.model} v{status.challenger}", "bold"), f" against v{status.stable}"),
        Text(f"roll-out {status.id}, seen {moment(now)} UTC"),
        Text.assemble((status.phase, f"bold {_COLOURS.get(status.phase, 'cyan')}"), f"  {steps}"),
    )


def _facts(status: RolloutStatus, now: float, earlier: Glance | None, plan: RolloutPlan | None) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("weight", _weight(status))
    grid.add_row("reason", Text(status.reason))
    for hold in status.holds:
        grid.add_row("held", Text.assemble((hold, "yellow"), f": {HOLDS.get(hold, 'see the audit log')}"))
    requests = ", ".join(f"{arm} {n:,}" for arm, n in status.requests.items())
    grid.add_row("answers", Text(requests or "none yet"))
    labels = status.labels
    if labels:
        due, labelled = labels.get("due", 0), labels.get("labelled", 0)
        grid.add_row("outcomes", Text(f"{labels.get('pairs', 0):,} pairs; {labelled:,} of {due:,} due came in"))
    if not status.over:
        left = f"{lasting(status.hold_remaining_s)} left at this step"
        grid.add_row("time", Text(f"{left}; {lasting(status.deadline_remaining_s)} to the deadline"))
        grid.add_row("waits for", Text(status.waits_for or "nothing: the next step can be taken"))
        grid.add_row("decision", Text(estimate(status, now, earlier, plan)))
    return grid


def _weight(status: RolloutStatus) -> Text:
    """What every router confirmed is full, what is intended beyond it is grey."""
    observed = status.observed_weight
    confirmed = "not confirmed by every router" if observed is None else f"{share(observed)} confirmed"
    low, high = sorted((observed if observed is not None else 0.0, status.weight))
    full, part = round(low * _WEIGHT_CELLS), round(high * _WEIGHT_CELLS)
    bar = Text("█" * full, style="cyan") + Text("▒" * (part - full), style="dim") + Text("·" * (_WEIGHT_CELLS - part))
    return bar + Text(f" {share(status.weight)} intended, {confirmed}")


def _strongest(status: RolloutStatus) -> Iterator[Evidence]:
    """One line a question: of the segments of a guard the one that says most; gates of this step first."""
    best: dict[str, Evidence] = {}
    for found in status.evidence:
        known = best.get(found.name)
        if known is None or found.log_e / found.needed > known.log_e / known.needed:
            best[found.name] = found
    asked = [f"safety:{gate}" for gate in _gates(status)]
    order = list(_ROLES)
    yield from sorted(best.values(), key=lambda e: (e.name not in asked, order.index(e.name.partition(":")[0]), e.name))


def _gates(status: RolloutStatus) -> tuple[str, ...]:
    gates = status.config.gates
    return gates[status.step] if status.step < len(gates) and not status.over else ()


def _evidence(status: RolloutStatus, rows: Sequence[Evidence]) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("evidence", "", "", "log e", "needed", "n", "estimate (95 %)"):
        table.add_column(name, justify="right" if name in ("log e", "needed", "n") else "left", no_wrap=True)
    gates = _gates(status)
    for found in rows:
        kind, _, name = found.name.partition(":")
        role, colour = _ROLES[kind]
        if kind == "safety":
            role = "clears now" if name in gates else "clears later" if not status.over else "cleared"
        place = f"{name} ({found.segment})" if found.segment else name
        figures = (f"{found.log_e:.2f}", f"{found.needed:.2f}", f"{found.n:,}", _interval(found))
        table.add_row(role, place, _bar(found, colour), *figures)
    return table


def _bar(found: Evidence, colour: str) -> Text:
    part = min(max(found.log_e / found.needed, 0.0), 1.0)
    full = int(part * _EVIDENCE_CELLS)  # full only when it is enough
    style = f"bold {colour}" if part == 1.0 else colour
    return Text("█" * full, style=style) + Text("·" * (_EVIDENCE_CELLS - full), style="dim")


def _interval(found: Evidence) -> str:
    if found.estimate is None:
        return "-"
    if found.low is None or found.high is None:
        return f"{found.estimate:.4g}"
    return f"{found.estimate:.4g} [{found.low:.4g}, {found.high:.4g}]"


def _transitions(changes: Sequence[tuple[int, str, str]]) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for at, change, reason in changes:
        grid.add_row(Text(moment(at), style="dim"), Text(change), Text(reason, overflow="fold"))
    return grid
