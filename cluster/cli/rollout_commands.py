"""rollout plan, start, status, watch, pause, resume, promote, abort, replay, explain: asked of the running service."""

from __future__ import annotations

import json as codec
import sys
from dataclasses import fields
from time import sleep, time
from typing import Annotated, Any, cast, get_args

import typer
from rich.console import Console

from cluster.cli import rollout_show
from cluster.cli.context import AsJson, console, settings, show_json, table, when
from cluster.cli.rollout_screen import screen
from cluster.cli.rollout_watch import Watch
from cluster.client import Bot, connect
from cluster.client.calls import ASSUMED, Action
from core.errors import Broken, NotFound, Refused
from core.schemas.predictions import ENGAGEMENT
from core.schemas.rollouts import Phase, RolloutConfig, RolloutStatus, Strategy, TrafficFigures, WhenBusy

rollout = typer.Typer(help="Versions on trial: 10, 50, 100 % of the traffic, or back.", no_args_is_help=True)

#: Whoever follows a roll-out waits this long, seconds, for a service that is restarting; a log takes its time to read.
PATIENCE_S, READING_S = 120.0, 300.0
_SETTINGS = tuple(field.name for field in fields(RolloutConfig))

Model = Annotated[str, typer.Option(help="name of the model")]
Id = Annotated[str | None, typer.Argument(help="the newest unless given")]
Reason = Annotated[str, typer.Option(help="why; kept in the audit log")]
Way = Annotated[str | None, typer.Option(help=f"one of {', '.join(get_args(Strategy))}")]
Set = Annotated[list[str] | None, typer.Option("--set", help="a setting as NAME=JSON, repeated: hold_s=[60,60,60]")]


@rollout.command("plan")
def plan(
    strategy: Way = None,
    given: Set = None,
    assume: Annotated[list[str] | None, typer.Option(help=f"NAME=NUMBER for each of {', '.join(ASSUMED)}")] = None,
    model: Model = ENGAGEMENT,
    json: AsJson = False,
) -> None:
    """How long each step would need at the traffic measured; exit code 1 where it cannot end well."""
    config, figures, way = _given(given), _assumed(assume), _strategy(strategy)
    with connect(settings=settings()) as bot:
        found = bot.rollouts.plan(model=model, strategy=way, assumed=figures, **config)
    if json:
        show_json(found)
    else:
        rollout_show.plan(found)
    if found.refusals:
        raise Refused(f"this roll-out cannot end well: {found.refusals[0]}")


@rollout.command("start")
def start(
    version: int,
    model: Model = ENGAGEMENT,
    strategy: Way = None,
    when_busy: Annotated[str, typer.Option(help="with another under way: queue, replace or reject")] = "queue",
    given: Set = None,
    skip_validation: Annotated[bool, typer.Option(help="although the offline comparison refused it")] = False,
    wait: Annotated[bool, typer.Option(help="follow it to its end; exit code 1 unless it is promoted")] = False,
    json: AsJson = False,
) -> None:
    """Put a registered version on trial."""
    config, way = _given(given), _strategy(strategy)
    if skip_validation:
        config["skip_validation"] = True
    busy = cast(WhenBusy, _one_of(when_busy, get_args(WhenBusy), "--when-busy"))
    with connect(settings=settings(), patience_s=PATIENCE_S) as bot:
        begun = bot.rollouts.start(version, model=model, strategy=way, when_busy=busy, **config)
        if not wait:
            _show(begun, json)
            return
        last = _follow(bot, begun.id, Console(stderr=True, highlight=False) if json else _terminal(), False)
    if json:
        show_json(last)
    if last is None or not last.over:
        raise Refused(f"not waited for any longer; it goes on: analyticbot rollout watch {begun.id}")
    _ended(last)


@rollout.command("status")
def status(
    rollout_id: Id = None,
    model: Model = ENGAGEMENT,
    events: Annotated[bool, typer.Option("--events", help="with the audit log")] = False,
    json: AsJson = False,
) -> None:
    """Phase, weight, and the evidence that it rests on."""
    with connect(settings=settings()) as bot:
        name = _named(bot, rollout_id, model)
        found = bot.rollouts.get(name)
        log = bot.rollouts.events(name) if events else ()
    if json:
        show_json({"status": found, "events": log} if events else found)
        return
    console().print(screen(found, (), time()))
    if events:
        table("audit log", ("", "at", "phase", "event"), [(e.seq, when(e.at), str(e.phase), e.event) for e in log])


@rollout.command("watch")
def watch(rollout_id: Id = None, model: Model = ENGAGEMENT, json: AsJson = False) -> None:
    """Follow it to its end or Ctrl-C; in a pipe a line for each change (with --json a document); 1 if taken back."""
    with connect(settings=settings(), patience_s=PATIENCE_S) as bot:
        last = _follow(bot, _named(bot, rollout_id, model), _terminal(), json)
    if last is not None and last.over:
        _ended(last)


@rollout.command("pause")
def pause(rollout_id: Id = None, model: Model = ENGAGEMENT, reason: Reason = "by hand", json: AsJson = False) -> None:
    """Keep the weight as it is."""
    _steer(rollout_id, model, "pause", reason, json)


@rollout.command("resume")
def resume(rollout_id: Id = None, model: Model = ENGAGEMENT, reason: Reason = "by hand", json: AsJson = False) -> None:
    """Go on; where a person's word is awaited, this is it."""
    _steer(rollout_id, model, "resume", reason, json)


@rollout.command("promote")
def promote(rollout_id: Id = None, model: Model = ENGAGEMENT, reason: Reason = "by hand", json: AsJson = False) -> None:
    """Take the next step without waiting out its time; refused while the evidence is short."""
    _steer(rollout_id, model, "promote", reason, json)


@rollout.command("abort")
def abort(rollout_id: Id = None, model: Model = ENGAGEMENT, reason: Reason = "by hand", json: AsJson = False) -> None:
    """Back to the stable version."""
    _steer(rollout_id, model, "abort", reason, json)


@rollout.command("replay")
def replay(
    rollout_id: Id = None, model: Model = ENGAGEMENT, strategy: Way = None, given: Set = None, json: AsJson = False
) -> None:
    """Decide it again from its log: the same bit for bit, or with --set as it would have ended."""
    config, way = _given(given), _strategy(strategy)
    with connect(settings=settings(), timeout_s=READING_S) as bot:
        name = _named(bot, rollout_id, model)
        found, recorded = bot.rollouts.replay(name, strategy=way, **config), bot.rollouts.get(name)
    if json:
        show_json(found)
    else:
        rollout_show.replayed(found, recorded)
    if found.identical is False:
        raise Broken(f"roll-out {name}: the log does not lead to the decisions recorded in it", rollout=name)


@rollout.command("explain")
def explain(rollout_id: Id = None, model: Model = ENGAGEMENT, json: AsJson = False) -> None:
    """Why it stands where it stands, in one screen; exit code 1 where the log is not whole."""
    with connect(settings=settings(), timeout_s=READING_S) as bot:
        name = _named(bot, rollout_id, model)
        found = bot.rollouts.explain(name)
    if json:
        show_json(found)
    else:
        rollout_show.explanation(found)
    if not found.verified:
        raise Broken(f"roll-out {name}: the audit log is not whole", rollout=name)


# ---------------------------------------------------------------- what they share


def _named(bot: Bot, rollout_id: str | None, model: str) -> str:
    if rollout_id is not None:
        return rollout_id
    newest = next(iter(bot.rollouts.list(model)), None)
    if newest is None:
        raise NotFound(f"no roll-out of {model} yet: analyticbot rollout start VERSION", model=model)
    return newest.id


def _steer(rollout_id: str | None, model: str, action: Action, reason: str, json: bool) -> None:
    with connect(settings=settings()) as bot:
        _show(bot.rollouts.steer(_named(bot, rollout_id, model), action, reason), json)


def _show(found: RolloutStatus, json: bool) -> None:
    if json:
        show_json(found)
    else:
        rollout_show.short(found)


def _follow(bot: Bot, rollout_id: str, out: Console, as_json: bool) -> RolloutStatus | None:
    return Watch(bot, rollout_id, sleep, time).follow(out, as_json)


def _terminal() -> Console:
    """Standard output, as wide as it is; wide enough for any line in a pipe."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def _ended(found: RolloutStatus) -> None:
    if found.phase != Phase.PROMOTED:
        raise Refused(f"roll-out {found.id} ended as {found.phase}: {found.reason}", rollout=found.id)


def _given(pairs: list[str] | None) -> dict[str, Any]:
    """Settings of a roll-out; a name that is none, or a value that is no JSON, is a wrong question."""
    found = _parsed(pairs, "--set")
    for name in found:
        _one_of(name, _SETTINGS, "--set")
    return found


def _assumed(pairs: list[str] | None) -> TrafficFigures | None:
    found = _parsed(pairs, "--assume")
    for name, value in found.items():
        _one_of(name, ASSUMED, "--assume")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise typer.BadParameter(f"{name}: {value!r} is not a number", param_hint="--assume")
    missing = [name for name in ASSUMED if found and name not in found]
    if missing:
        raise typer.BadParameter(f"{', '.join(missing)} must be assumed too", param_hint="--assume")
    return TrafficFigures(**found) if found else None


def _parsed(pairs: list[str] | None, option: str) -> dict[str, Any]:
    found = {}
    for pair in pairs or ():
        name, _, value = pair.partition("=")
        try:
            found[name.strip()] = codec.loads(value)
            codec.dumps(found, allow_nan=False)  # JSON has no NaN and no infinity
        except ValueError as error:
            raise typer.BadParameter(f"{pair!r} is not NAME=JSON", param_hint=option) from error
    return found


def _strategy(given: str | None) -> Strategy | None:
    return None if given is None else cast(Strategy, _one_of(given, get_args(Strategy), "--strategy"))


def _one_of(given: str, known: tuple[str, ...], option: str) -> str:
    if given not in known:
        raise typer.BadParameter(f"{given!r} is not one of {', '.join(known)}", param_hint=option)
    return given
