"""rollout start, status, pause, resume, abort."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from cluster.cli.context import AsJson, console, settings, show_json, table, when
from cluster.client import connect
from core.errors import NotFound
from core.schemas.predictions import ENGAGEMENT
from core.schemas.rollouts import RolloutStatus

rollout = typer.Typer(help="Versions on trial: 10, 50, 100 % of the traffic, or back.", no_args_is_help=True)

Reason = Annotated[str, typer.Option(help="why; kept in the audit log")]


@rollout.command("start")
def start(
    version: int,
    model: str = ENGAGEMENT,
    skip_validation: Annotated[bool, typer.Option(help="although the offline comparison refused it")] = False,
    json: AsJson = False,
) -> None:
    """Put a registered version on trial."""
    with connect(settings=settings()) as bot:
        _show(bot.rollouts.start(version, model=model, skip_validation=skip_validation), json)


@rollout.command("status")
def status(
    rollout_id: Annotated[str | None, typer.Argument(help="the newest unless given")] = None,
    model: str = ENGAGEMENT,
    events: Annotated[bool, typer.Option("--events", help="with the audit log")] = False,
    json: AsJson = False,
) -> None:
    """Phase, weight, and the evidence that it rests on."""
    with connect(settings=settings()) as bot:
        if rollout_id is None:
            newest = next(iter(bot.rollouts.list(model)), None)
            if newest is None:
                raise NotFound(f"no roll-out of {model} yet: analyticbot rollout start VERSION", model=model)
            rollout_id = newest.id
        found = bot.rollouts.get(rollout_id)
        log = bot.rollouts.events(rollout_id) if events else ()
    if json and events:
        show_json({"status": found, "events": log})
        return
    _show(found, json)
    if events:
        table("audit log", ("", "at", "phase", "event"), [(e.seq, when(e.at), str(e.phase), e.event) for e in log])


@rollout.command("pause")
def pause(rollout_id: str, reason: Reason = "by hand", json: AsJson = False) -> None:
    """Keep the weight as it is."""
    _steer(rollout_id, "pause", reason, json)


@rollout.command("resume")
def resume(rollout_id: str, reason: Reason = "by hand", json: AsJson = False) -> None:
    """Go on."""
    _steer(rollout_id, "resume", reason, json)


@rollout.command("abort")
def abort(rollout_id: str, reason: Reason = "by hand", json: AsJson = False) -> None:
    """Back to the stable version."""
    _steer(rollout_id, "abort", reason, json)


def _steer(rollout_id: str, action: Literal["pause", "resume", "abort"], reason: str, json: bool) -> None:
    with connect(settings=settings()) as bot:
        _show(bot.rollouts.steer(rollout_id, action, reason), json)


def _show(found: RolloutStatus, json: bool) -> None:
    if json:
        show_json(found)
        return
    observed = "not confirmed" if found.observed_weight is None else f"{found.observed_weight:.0%} confirmed"
    out = console()
    out.print(f"{found.id}: v{found.challenger} against v{found.stable}: {found.phase}")
    out.print(f"weight {found.weight:.0%} ({observed})")
    out.print(found.reason, markup=False)
    for hold in found.holds:
        out.print(f"held: {hold}", markup=False)
    rows = [(e.name, e.n, f"{e.log_e:.2f}", f"{e.needed:.2f}", e.estimate) for e in found.evidence]
    if rows:
        table("evidence", ("question", "n", "log e", "needed", "estimate"), rows)
