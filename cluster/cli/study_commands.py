"""posts, mix, ads, quality, trend, percentiles, compare, competitors, watch-lists, report: closer looks at channels.

All of them read the database and need no running cluster.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from cluster.cli.context import AsJson, cell, clock, console, database, settings, show_json, table, when
from core.buckets import zone
from core.errors import InvalidInput
from core.schemas.channel_studies import Estimate
from core.schemas.reports import ReportFormat

if TYPE_CHECKING:
    from actors.analytics_fusion.actor import Analytics

Days = Annotated[int, typer.Option(min=1, max=3650, help="the last complete days")]
watch_lists = typer.Typer(help="Lists of channels to keep an eye on.", invoke_without_command=True)


def _analytics() -> Analytics:
    from actors.analytics_fusion.actor import Analytics

    config = settings()
    source = database(config)
    return Analytics(source, clock(config, source), config.tenant)


# ---------------------------------------------------------------- one channel


def posts(
    channel: str,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    order: Annotated[str, typer.Option(help="overperformance, views, er or published_at")] = "overperformance",
    age: Annotated[int, typer.Option(min=1, max=720, help="hours at which posts are compared")] = 24,
    curve: Annotated[int | None, typer.Option(help="one post's id: its views by age")] = None,
    json: AsJson = False,
) -> None:
    """Posts at equal age, or how one of them was read over time."""
    if curve is not None:
        _curve(channel, curve, json)
        return
    found = _analytics().posts(channel, limit, order, age)
    if json:
        show_json(found)
        return
    rows = [
        (p.post_id, when(p.published_at), p.views, f"{p.age_h} h", _times(p.overperformance), _percent(p.er), p.excerpt)
        for p in found
    ]
    table(None, ("post", "published", "views", "age", "of usual", "ER", ""), rows)
    if not rows:
        console().print("no posts")


def _curve(channel: str, post_id: int, json: bool) -> None:
    found = _analytics().curve(channel, post_id)
    if json:
        show_json(found)
        return
    rows = [(f"{p.age_h} h", p.views, p.usual, p.low, p.high, p.n, _times(p.overperformance)) for p in found.points]
    table(
        f"post {post_id}, {when(found.published_at)}", ("age", "views", "usual", "10 %", "90 %", "n", "of usual"), rows
    )
    _notes(found.notes)


def mix(channel: str, days: Days = 90, json: AsJson = False) -> None:
    """Kinds of posts, and what each does to views at 24 h."""
    found = _analytics().mix(channel, days)
    if json:
        show_json(found)
        return
    rows = [
        (r.dimension, r.value, r.posts, _percent(r.share), r.views, _effect(r.effect), _effect(r.adjusted))
        for r in found.rows
    ]
    table(
        f"{channel}: {found.posts} posts, {when(found.since)} to {when(found.until)}",
        ("", "", "posts", "share", "median views", "effect", "others held equal"),
        rows,
    )
    _notes(found.notes)


def ads(
    channel: str,
    days: Days = 90,
    price: Annotated[float | None, typer.Option(help="of one ad post, any currency: gives CPM and CPV")] = None,
    json: AsJson = False,
) -> None:
    """What ad-marked posts reach at 12, 24 and 48 hours."""
    found = _analytics().ads(channel, days, price=price)
    if json:
        show_json(found)
        return
    costs = ((name, getattr(found, name)) for name in ("cpm_24h", "cpm_48h", "cpv_24h"))
    rows = [
        ("reach at 12 h", *_estimate(found.reach_12h)),
        ("reach at 24 h", *_estimate(found.reach_24h)),
        ("reach at 48 h", *_estimate(found.reach_48h)),
        ("against other posts", _effect(found.against_others), "", found.against_others.n, ""),
        *((name, *_estimate(cost)) for name, cost in costs if price is not None),
    ]
    table(f"{channel}: {len(found.posts)} ad-marked posts", ("", "mean", "95 %", "n", ""), rows)
    _notes(found.notes)


def quality(channel: str, days: Days = 90, json: AsJson = False) -> None:
    """Signs of bought subscribers or views, each with its figures; evidence, not a verdict."""
    found = _analytics().quality(channel, days)
    if json:
        show_json(found)
        return
    table(None, ("sign", "", "weight", "evidence"), [(s.name, s.state, s.weight, s.evidence) for s in found.signs])
    out = console()
    if found.score is not None:
        out.print(f"score {found.score:.2f} of 1, from {found.looked_at:.0%} of the signs' weight")
    out.print(found.reading)
    _notes(found.notes)


def trend(
    channel: str,
    metric: str,
    days: Days = 90,
    at: Annotated[str | None, typer.Option(help="a day, YYYY-MM-DD: compare before and after it")] = None,
    json: AsJson = False,
) -> None:
    """Where a metric is heading and when its level changed; with --at, before and after a day."""
    if at is not None:
        _before_after(channel, metric, at, days, json)
        return
    found = _analytics().trend(channel, metric, days)
    if json:
        show_json(found)
        return
    out = console()
    if found.missing is not None or found.p is None:
        out.print(f"{found.metric}: {found.missing}")
        return
    slope = found.slope
    out.print(
        f"{found.metric}, {found.n} days: {found.direction if found.direction != 'none' else 'no trend is shown'}; "
        f"slope {cell(slope.value)} [{cell(slope.low)}, {cell(slope.high)}] {found.unit}, "
        f"tau {cell(found.tau)}, p {found.p:.2g}",
        markup=False,
    )
    rows = [(when(c.at)[:10], c.before, c.after, _interval(c.change)) for c in found.changes]
    if rows:
        table("changes of level", ("from", "before", "after", "difference, 95 %"), rows)
    _notes(found.notes)


def _before_after(channel: str, metric: str, day: str, days: int, json: bool) -> None:
    analytics = _analytics()
    try:
        moment = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=zone(analytics.channels.channel(channel).timezone))
    except ValueError as error:
        raise InvalidInput(f"{day!r} is no day: write YYYY-MM-DD", field="at") from error
    found = analytics.before_after(channel, metric, int(moment.timestamp()), min(days, 366))
    if json:
        show_json(found)
        return
    rows = [
        (name, *_estimate(value))
        for name, value in (("before", found.before), ("after", found.after), ("difference", found.difference))
    ]
    table(f"{found.metric}, {found.unit}, up to {days} days on each side of {day}", ("", "mean", "95 %", "n", ""), rows)
    if found.p is not None:
        console().print(f"p {found.p:.2g}, relative {_percent(found.relative)}")
    _notes(found.notes)


# ---------------------------------------------------------------- several channels


def percentiles(channel: str, days: Days = 30, json: AsJson = False) -> None:
    """A channel among stored channels of its size and category."""
    found = _analytics().percentiles(channel, days)
    if json:
        show_json(found)
        return
    rows = [(f.metric, f.value, _percent(f.percentile), f.median, f.n, f.missing or "") for f in found.figures]
    title = f"{channel} among {found.size} others: {found.cohort}"
    table(title, ("metric", "value", "of them below", "their median", "n", ""), rows)
    _notes(found.notes)


def compare(
    channels: Annotated[list[str], typer.Argument(help="two or more")], days: Days = 30, json: AsJson = False
) -> None:
    """Channels side by side over the same number of days."""
    found = _analytics().compare(channels, days)
    if json:
        show_json(found)
        return
    rows = [(r.metric, r.unit, *(f.value for f in r.figures)) for r in found.metrics]
    table(f"the last {days} days", ("metric", "unit", *found.channels), rows)
    _notes(found.notes)


def competitors(
    channel: str,
    other: Annotated[list[str] | None, typer.Option(help="a channel to compare with; may be repeated")] = None,
    watch_list: Annotated[str | None, typer.Option(help="compare with the channels of a watch list")] = None,
    days: Days = 30,
    find: Annotated[
        bool, typer.Option("--find", help="who is near in the graph of mentions, and nothing else")
    ] = False,
    json: AsJson = False,
) -> None:
    """A channel beside others (unless named: its nearest along mentions): voice, cadence, figures, gaps."""
    if find:
        _find(channel, json)
        return
    found = _analytics().competition(channel, other or (), watch_list, days)
    if json:
        show_json(found)
        return
    rows = [
        (v.channel, v.posts, _percent(v.posts_share), v.views_gained, _percent(v.views_share), v.mentions)
        for v in found.voice
    ]
    table(f"share of voice, {days} days", ("channel", "posts", "", "views gained", "", "mentions"), rows)
    paces = [
        (c.channel, c.posts_a_day, _percent(c.active_days), c.longest_silence_h, _busiest(c.hours))
        for c in found.cadence
    ]
    table("cadence", ("channel", "posts a day", "active days", "longest silence, h", "busiest hours"), paces)
    figures = [(r.metric, r.unit, *(f.value for f in r.figures)) for r in found.metrics]
    table("figures at equal age", ("metric", "unit", found.channel, *found.others), figures)
    gaps = [
        (g.kind, g.value, _percent(g.own_share), _percent(g.others_share), g.others, _times(g.overperformance), g.n)
        for g in found.gaps
    ]
    if gaps:
        table("what the others do more", ("", "", "own share", "theirs", "channels", "views of usual", "n"), gaps)
    _notes(found.notes)


def _find(channel: str, json: bool) -> None:
    found = _analytics().discover(channel)
    if json:
        show_json(found)
        return
    rows = [
        (c.channel, c.stored, _percent(c.score), c.names_it, c.named_by_it, c.shared, when(c.last), ", ".join(c.terms))
        for c in found.candidates
    ]
    table(
        None, ("channel", "stored", "nearness", "names it", "named by it", "named together", "last", "alike in"), rows
    )
    _notes(found.notes)


@watch_lists.callback()
def list_watch_lists(context: typer.Context, json: AsJson = False) -> None:
    """All lists."""
    if context.invoked_subcommand is not None:
        return
    found = _analytics().watch_lists()
    if json:
        show_json(found)
        return
    table(None, ("list", "channels", "changed"), [(w.name, ", ".join(w.channels), when(w.updated_at)) for w in found])
    if not found:
        console().print("no watch lists: analyticbot watch-lists set NAME CHANNEL ...")


@watch_lists.command("set")
def set_watch_list(name: str, channels: list[str], json: AsJson = False) -> None:
    """Make a list, or give it these channels; they need not be stored."""
    found = _analytics().put_watch_list(name, channels)
    if json:
        show_json(found)
    else:
        console().print(f"{found.name}: {', '.join(found.channels)}", markup=False)


@watch_lists.command("remove")
def remove_watch_list(name: str, json: AsJson = False) -> None:
    """Take a list away."""
    _analytics().remove_watch_list(name)
    if json:
        show_json({"removed": name})
    else:
        console().print(f"no list {name} any more", markup=False)


# ---------------------------------------------------------------- a file


def report(
    channel: str,
    output: Annotated[Path, typer.Option("-o", "--output", help="ends in .html, .pdf, .xlsx, .json, .csv or .parquet")],
    days: Annotated[int, typer.Option(min=1, max=366)] = 30,
    json: AsJson = False,
) -> None:
    """A channel's numbers as a file; an HTML page needs nothing but itself."""
    made = _analytics().report(channel, cast(ReportFormat, output.suffix.removeprefix(".").lower()), days)
    output.write_bytes(made.content)
    if json:
        show_json({"path": str(output), "bytes": len(made.content)})
    else:
        console().print(f"wrote {output} ({len(made.content):,} bytes)", markup=False)


# ---------------------------------------------------------------- showing


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"


def _effect(value: Estimate) -> str:
    if value.value is None or value.low is None or value.high is None:
        return value.missing or "-"
    return f"{value.value:+.0%} [{value.low:+.0%}, {value.high:+.0%}]"


def _interval(value: Estimate) -> str:
    return "-" if value.low is None else f"{cell(value.low)} .. {cell(value.high)}"


def _estimate(value: Estimate) -> tuple[object, ...]:
    return value.value, _interval(value), value.n, value.missing or ""


def _busiest(hours: tuple[int, ...]) -> str:
    best = sorted(range(24), key=lambda hour: (-hours[hour], hour))[:3]
    return ", ".join(f"{hour}:00 ({hours[hour]})" for hour in best if hours[hour])


def _notes(notes: tuple[str, ...]) -> None:
    for line in notes:
        console().print(line, markup=False)
