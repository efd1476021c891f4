"""alerts …, live: rules, what they raised, who was told, and fresh posts; asked of the running service."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from cluster.cli.context import AsJson, cell, console, settings, show_json, table, when
from cluster.client import connect
from core.codec import from_json, from_plain, to_plain
from core.errors import InvalidInput
from core.schemas.alerts import AlertRule, AlertState, DeliveryState, RuleSpec, Target

alerts = typer.Typer(help="Alerts: what was raised, and the rules behind it.", invoke_without_command=True)
rules = typer.Typer(help="Rules of alerts.", invoke_without_command=True)
alerts.add_typer(rules, name="rules")

Id = Annotated[str, typer.Argument(help="of the alert, as listed")]
RuleId = Annotated[str, typer.Argument(help="of the rule, as listed")]


# ---------------------------------------------------------------- alerts


@alerts.callback()
def list_alerts(
    context: typer.Context,
    channel: Annotated[str | None, typer.Option(help="all channels unless given")] = None,
    state: Annotated[str | None, typer.Option(help="firing, acknowledged, snoozed or resolved")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 100,
    json: AsJson = False,
) -> None:
    """What was raised, newest first."""
    if context.invoked_subcommand is not None:
        return
    with connect(settings=settings()) as bot:
        found = bot.alerts.list(channel, cast(AlertState | None, state), limit=limit)
    if json:
        show_json(found)
        return
    rows = [(a.id[:12], when(a.raised_at), a.severity, a.state, a.channel, a.rule, a.reason) for a in found]
    table(None, ("id", "raised", "severity", "state", "channel", "rule", ""), rows)
    if not rows:
        console().print("no alerts")


@alerts.command("show")
def show(alert: Id, json: AsJson = False) -> None:
    """One alert, and who was told of it."""
    with connect(settings=settings()) as bot:
        found = bot.alerts.get(whole(alert, [a.id for a in bot.alerts.list(limit=1000)]))
        told = bot.alerts.deliveries(found.id)
    if json:
        show_json({"alert": found, "deliveries": told})
        return
    for name, value in to_plain(found).items():
        console().print(f"{name}: {_field(name, value)}", markup=False)
    rows = [(d.about, d.target.kind, d.target.address, d.state, d.attempts, when(d.sent_at), d.reason) for d in told]
    table("told", ("about", "by", "to", "state", "tries", "sent", ""), rows)


@alerts.command("ack")
def acknowledge(
    alert: Id, by: Annotated[str, typer.Option(help="who takes care of it")] = "cli", json: AsJson = False
) -> None:
    """Take care of an alert: it is not escalated."""
    with connect(settings=settings()) as bot:
        found = bot.alerts.acknowledge(whole(alert, [a.id for a in bot.alerts.list(limit=1000)]), by)
    said(found, f"{found.id[:12]} is {found.state} by {found.acknowledged_by}", json)


@alerts.command("snooze")
def snooze(
    alert: Id,
    hours: Annotated[float, typer.Option(min=0.01, max=90 * 24, help="for so long")] = 24.0,
    json: AsJson = False,
) -> None:
    """Say nothing of an alert for a while; it is told again if it is still there."""
    with connect(settings=settings()) as bot:
        found = bot.alerts.snooze(whole(alert, [a.id for a in bot.alerts.list(limit=1000)]), hours=hours)
    said(found, f"{found.id[:12]} is snoozed until {when(found.snoozed_until)}", json)


@alerts.command("digest")
def digest(days: Annotated[float, typer.Option(min=0.01, max=366)] = 1.0, json: AsJson = False) -> None:
    """The alerts of the last days at one look."""
    with connect(settings=settings()) as bot:
        last = bot.alerts.digest()
        found = last if days == 1.0 else bot.alerts.digest(last.until - round(days * 86400))
    said(found, found.text, json)


@alerts.command("deliveries")
def deliveries(
    state: Annotated[str | None, typer.Option(help="pending, failed, sent or dead")] = None,
    retry: Annotated[str | None, typer.Option(help="id of one that was given up, to try again")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 100,
    json: AsJson = False,
) -> None:
    """What was told to whom, newest first."""
    with connect(settings=settings()) as bot:
        if retry is not None:
            again = bot.alerts.retry(whole(retry, [d.id for d in bot.alerts.deliveries(state="dead", limit=1000)]))
            said(again, f"{again.id[:12]} is {again.state}", json)
            return
        found = bot.alerts.deliveries(state=cast(DeliveryState | None, state), limit=limit)
    if json:
        show_json(found)
        return
    rows = [
        (d.id[:12], when(d.created_at), d.about, d.target.kind, d.target.address, d.state, d.attempts, d.reason)
        for d in found
    ]
    table(None, ("id", "written", "about", "by", "to", "state", "tries", ""), rows)
    if not rows:
        console().print("nothing was told yet")


# ---------------------------------------------------------------- rules


@rules.callback()
def list_rules(
    context: typer.Context,
    channel: Annotated[str | None, typer.Option(help="its own and those for every channel")] = None,
    json: AsJson = False,
) -> None:
    """Every rule."""
    if context.invoked_subcommand is not None:
        return
    with connect(settings=settings()) as bot:
        found = bot.alerts.rules(channel)
    if json:
        show_json(found)
        return
    _rules(found)
    if not found:
        console().print("no rules yet: `analyticbot alerts rules defaults CHANNEL`, or `... add`")


@rules.command("add")
def add(
    name: Annotated[str | None, typer.Argument(help="how it is called")] = None,
    kind: Annotated[
        str, typer.Option(help="threshold, change, baseline, forecast, anomaly, competitor_post or keyword")
    ] = "threshold",
    metric: Annotated[str | None, typer.Option(help="see docs/metrics.md")] = None,
    below: Annotated[float | None, typer.Option(help="alert below this")] = None,
    above: Annotated[float | None, typer.Option(help="alert above this")] = None,
    direction: Annotated[str | None, typer.Option(help="below or above, where the bound is a forecast's band")] = None,
    horizon: Annotated[int, typer.Option(help="beside the forecast given so many days before: 1, 7, 14 or 30")] = 7,
    window: Annotated[int, typer.Option(help="days")] = 1,
    reference: Annotated[str, typer.Option(help="same_window_4_weeks or previous_period")] = "same_window_4_weeks",
    noise: Annotated[float, typer.Option(help="usual deviations that a breach must be away too")] = 0.0,
    severity: Annotated[str, typer.Option(help="low, medium, high or critical")] = "medium",
    channel: Annotated[str | None, typer.Option(help="every channel unless given")] = None,
    to: Annotated[list[str] | None, typer.Option(help="log, webhook:URL, telegram:CHAT or email:ADDRESS")] = None,
    quiet: Annotated[str | None, typer.Option(help="like '22:00-08:00 Europe/Moscow'")] = None,
    posts_of: Annotated[list[str] | None, typer.Option(help="a channel whose posts are meant; may be repeated")] = None,
    watch_list: Annotated[str | None, typer.Option(help="the channels of a watch list instead")] = None,
    overperforms: Annotated[float | None, typer.Option(help="only posts with so many times the usual views")] = None,
    word: Annotated[list[str] | None, typer.Option(help="a word or phrase, * for any ending; may be repeated")] = None,
    all_words: Annotated[bool, typer.Option("--all-words", help="every --word must be there")] = False,
    exclude: Annotated[list[str] | None, typer.Option(help="not with this word; may be repeated")] = None,
    file: Annotated[Path | None, typer.Option(help="the whole rule as JSON, instead of options")] = None,
    backtest: Annotated[int | None, typer.Option(min=1, max=400, help="only try it on so many days")] = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="store it, and let it rest")] = False,
    json: AsJson = False,
) -> None:
    """Store a rule, or with --backtest DAYS say what it would have raised."""
    if file is not None:
        spec = _from_file(file)
    else:
        given: dict[str, Any] = {"name": name or "", "kind": kind, "metric": metric, "window_days": window}
        given |= {"reference": reference, "noise": noise, "severity": severity, "channel": channel}
        given |= {"horizon_days": horizon, **_bound(kind, below, above, direction)}
        given |= {"channels": posts_of or [], "watch_list": watch_list, "overperforms": overperforms}
        given |= {"words": word or [], "match": "all" if all_words else "any", "exclude": exclude or []}
        given["targets"] = [target(text) for text in to or ["log"]]
        if quiet is not None:
            given["quiet"] = _quiet(quiet)
        spec = from_plain(RuleSpec, given)
    with connect(settings=settings()) as bot:
        if backtest is not None:
            past = bot.alerts.backtest(spec, backtest)
        else:
            rule = bot.alerts.add(spec, enabled=not disabled)
            said(rule, f"{rule.id[:12]} watches" if rule.enabled else f"{rule.id[:12]} rests", json)
            return
    if json:
        show_json(past)
        return
    rate = "cannot be judged anywhere" if past.per_30_days is None else f"{past.per_30_days:.2f} per 30 days"
    console().print(f"{past.alerts} alerts on {len(past.channels)} channels, {rate}")
    for one in past.channels:
        if one.missing is not None:
            console().print(f"{one.channel}: {one.missing}", markup=False)
        if one.unlisted:
            console().print(f"{one.channel}: {one.unlisted} older ones are not listed", markup=False)
        for alert in one.alerts:
            until = "still open" if alert.resolved_at is None else f"until {when(alert.resolved_at)}"
            console().print(f"{one.channel}  {when(alert.at)}  {until}  {alert.reason}", markup=False)


@rules.command("defaults")
def defaults(
    channel: str,
    to: Annotated[list[str] | None, typer.Option(help="log, webhook:URL, telegram:CHAT or email:ADDRESS")] = None,
    json: AsJson = False,
) -> None:
    """Store the usual rules that suit a channel's data."""
    targets = tuple(from_plain(Target, target(text)) for text in to or ["log"])
    with connect(settings=settings()) as bot:
        found = bot.alerts.add_defaults(channel, targets)
    if json:
        show_json(found)
        return
    _rules(found.rules)
    for name, reason in found.left_out.items():
        console().print(f"left out: {name}: {reason}", markup=False)


@rules.command("enable")
def enable(rule: RuleId, json: AsJson = False) -> None:
    """Let a rule watch."""
    with connect(settings=settings()) as bot:
        found = bot.alerts.enable(whole(rule, [r.id for r in bot.alerts.rules()]))
    said(found, f"{found.spec.name} watches", json)


@rules.command("disable")
def disable(rule: RuleId, json: AsJson = False) -> None:
    """Let a rule rest, which ends its open alerts."""
    with connect(settings=settings()) as bot:
        found = bot.alerts.disable(whole(rule, [r.id for r in bot.alerts.rules()]))
    said(found, f"{found.spec.name} rests", json)


@rules.command("remove")
def remove(rule: RuleId, json: AsJson = False) -> None:
    """Take a rule away; what it raised stays."""
    with connect(settings=settings()) as bot:
        found = bot.alerts.remove(whole(rule, [r.id for r in bot.alerts.rules()]))
    said(found, f"{found.spec.name} is removed", json)


# ---------------------------------------------------------------- live


def live(channel: str, json: AsJson = False) -> None:
    """Posts younger than 48 hours: how fast they are read, beside what is usual at their age."""
    with connect(settings=settings()) as bot:
        found = bot.channels[channel].live()
    if json:
        show_json(found)
        return
    age = "never read" if found.reading_age_s is None else f"newest data {_span(found.reading_age_s)} old"
    console().print(f"{channel} at {when(found.at)} UTC: {age}")
    rows = [
        (
            p.post_id,
            f"{p.age_h:.1f} h",
            p.views,
            None if p.views_per_h is None else f"{p.views_per_h:,.0f}",
            None if p.overperformance is None else f"{p.overperformance:.2f}x of {cell(p.usual)} (n {p.usual_n})",
            None if p.reading_age_s is None else _span(p.reading_age_s),
            p.missing or p.excerpt,
        )
        for p in found.posts
    ]
    table(None, ("post", "age", "views", "views/h", "of usual", "read ago", ""), rows)
    for line in found.missing:
        console().print(line)


# ---------------------------------------------------------------- parts


def _rules(found: tuple[AlertRule, ...]) -> None:
    rows = [
        (
            r.id[:12],
            r.spec.name,
            _where(r.spec),
            _asked(r.spec),
            r.spec.severity,
            ", ".join(t.kind for t in r.spec.targets),
            "watches" if r.enabled else "rests",
        )
        for r in found
    ]
    table(None, ("id", "name", "channel", "alerts", "severity", "tells", ""), rows)
    for rule in found:
        for channel, why in rule.not_judged.items():
            console().print(f"{rule.spec.name} in {channel}: {why}", markup=False)


def _where(spec: RuleSpec) -> str:
    if spec.watch_list is not None:
        return f"watch list {spec.watch_list}"
    return ", ".join(spec.channels) or spec.channel or "every channel"


def _asked(spec: RuleSpec) -> str:
    if spec.kind == "competitor_post":
        return "posts" if spec.overperforms is None else f"posts with {spec.overperforms:g} times the usual views"
    if spec.kind == "keyword":
        return f"{spec.match} of {', '.join(spec.words)}" + (f", not {', '.join(spec.exclude)}" if spec.exclude else "")
    if spec.kind == "anomaly":
        return f"anomalies of {spec.metric or 'any metric'}, {spec.least_severity} or more"
    if spec.kind == "forecast":
        band = f"{spec.threshold:g} half-widths of its forecast of {spec.horizon_days} days before"
        return f"{spec.metric} {spec.direction} {band}"
    days = "" if spec.window_days == 1 else f" of {spec.window_days} days"
    return f"{spec.kind} of {spec.metric}{days} {spec.direction} {spec.threshold:g}"


def said(value: Any, text: str, json: bool) -> None:
    """An answer as a line, or as JSON."""
    if json:
        show_json(value)
    else:
        console().print(text, markup=False)


def whole(part: str, ids: list[str]) -> str:
    """The id that begins so; the part itself where none or several do (the service says what it thinks of it)."""
    found = [one for one in ids if one.startswith(part)]
    return found[0] if len(found) == 1 else part


def _bound(kind: str, below: float | None, above: float | None, direction: str | None) -> dict[str, Any]:
    if below is not None and above is not None:
        raise InvalidInput("a rule has one bound: --below or --above", field="threshold")
    if direction is not None:
        if below is not None or above is not None:
            raise InvalidInput("--below and --above say the direction", field="direction")
        return {"direction": direction}
    if kind == "anomaly" and below is None and above is None:
        return {"direction": "either"}
    return {"direction": "below", "threshold": below} if above is None else {"direction": "above", "threshold": above}


def target(text: str) -> dict[str, str]:
    """KIND:ADDRESS as a target's fields."""
    kind, _, address = text.partition(":")
    return {"kind": kind, "address": address}


def _quiet(text: str) -> dict[str, str]:
    hours, _, zone = text.partition(" ")
    start, _, end = hours.partition("-")
    return {"start": start, "end": end, "timezone": zone or "UTC"}


def _from_file(file: Path) -> RuleSpec:
    try:
        return from_json(RuleSpec, file.read_text())
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}", field="file") from error


def _field(name: str, value: Any) -> str:
    moments = ("onset", "until", "raised_at", "acknowledged_at", "snoozed_until", "escalated_at", "resolved_at")
    if value is not None and name in (*moments, "updated_at"):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M")
    return cell(", ".join(value) if isinstance(value, list) else value)


def _span(seconds: int) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds // 60} min"
