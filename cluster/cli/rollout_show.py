"""Prints what was found out about a roll-out beside its state: its plan, its explanation, its replay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.cli.context import console, table
from cluster.cli.rollout_pace import lasting, share
from cluster.cli.rollout_screen import HOLDS, moment
from core.schemas.rollouts import Explanation, Replayed, RolloutPlan, RolloutStatus, TrafficFigures

NEVER = "never"


def short(found: RolloutStatus) -> None:
    """Where it stands, in some lines."""
    observed = "not confirmed" if found.observed_weight is None else f"{share(found.observed_weight)} confirmed"
    out = console()
    out.print(f"{found.id}: v{found.challenger} against v{found.stable}: {found.phase}")
    out.print(f"weight {share(found.weight)} ({observed})")
    out.print(found.reason, markup=False)
    for hold in found.holds:
        out.print(f"held: {hold}: {HOLDS.get(hold, 'see the audit log')}", markup=False)


def plan(found: RolloutPlan) -> None:
    """Steps with their holds and needs, times to find harm, and what speaks against it."""
    out = console()
    out.print(_figures(found.figures), markup=False)
    rows = [
        (share(step.weight), lasting(step.hold_s), _needed(step.needed_s), step.bound_by or "-", _gates(step.by_gate))
        for step in found.steps
    ]
    table(f"steps of {found.model}", ("weight", "hold", "needed", "bound by", "each gate"), rows)
    out.print(f"all together: {_needed(found.total_s)}")
    if found.detect_s:
        harms = [(name, _needed(seconds)) for name, seconds in found.detect_s.items()]
        table("until harm is found at the first step", ("harm", "time"), harms)
    for kind, texts in (("warning", found.warnings), ("refused", found.refusals)):
        for text in texts:
            out.print(f"{kind}: {text}", markup=False)


def explanation(found: Explanation) -> None:
    """Transitions with their evidence, holds, late labels, and whether the log is whole."""
    short(found.status)
    rows = [
        (row.get("seq", "-"), moment(row["at"]), _change(row), row.get("reason", ""), _grounds(row.get("evidence")))
        for row in found.transitions
    ]
    table("transitions", ("", "at", "phase", "reason", "evidence"), rows)
    out = console()
    for hold, seconds in found.held_s.items():
        out.print(f"held for {lasting(seconds)}: {hold}", markup=False)
    out.print(f"outcomes that came after the decision: {found.late_labels:,}")
    whole = "verified: hashes and decisions are whole" if found.verified else "NOT VERIFIED: the log was changed"
    out.print(f"log of {found.events:,} events, {whole}")


def replayed(found: Replayed, recorded: RolloutStatus) -> None:
    """Whether it is identical, how fast it went, and with other settings how it would have ended."""
    out = console()
    if found.identical is None:
        out.print(f"with these settings: {found.phase} at {share(found.weight)}: {found.reason}", markup=False)
        out.print(f"as recorded: {recorded.phase} at {share(recorded.weight)}: {recorded.reason}", markup=False)
    else:
        out.print(f"identical: {'yes' if found.identical else 'no'} ({found.phase}: {found.reason})", markup=False)
    speed = f", {found.recorded_s / found.took_s:,.0f} times as fast" if found.took_s > 0 else ""
    out.print(f"{found.events:,} events: {lasting(found.recorded_s)} replayed in {found.took_s:.3f} s{speed}")
    rows = [(lasting(t.get("at_s", 0.0)), t.get("phase", ""), t.get("reason", "")) for t in found.transitions]
    if rows:
        table("transitions", ("after", "phase", "reason"), rows)


def _figures(traffic: TrafficFigures) -> str:
    origin = "assumed"
    if traffic.measured_over_s:
        origin = f"measured over {lasting(traffic.measured_over_s)}, {traffic.n:,} requests"
    return (
        f"{traffic.requests_per_s:,.4g} requests/s, {traffic.error_rate:.3%} of them failing on stable, "
        f"{traffic.pairs_per_day:,.0f} outcomes a day (sd {traffic.pair_sd:.3g}): {origin}"
    )


def _needed(seconds: float | None) -> str:
    return NEVER if seconds is None else lasting(seconds)


def _gates(by_gate: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {_needed(seconds)}" for name, seconds in by_gate.items()) or "-"


def _change(row: Mapping[str, Any]) -> str:
    before, after = row.get("from") or "", row.get("to") or ""
    return f"{before} → {after}" if before else str(after)


def _grounds(evidence: Any) -> str:
    """What asks for proof, and what accuses; the rest says nothing."""
    lines = []
    for line in evidence or ():
        name, log_e, needed = str(line["name"]), float(line["log_e"]), float(line["needed"])
        if name.startswith("safety:") or log_e > 0:
            place = f"{name} ({line['segment']})" if line.get("segment") else name
            lines.append(f"{place} log e {log_e:.2f} of {needed:.2f}, n {line['n']:,}")
    return "\n".join(lines) or "-"
