"""best-times, seasonality, context, scenario, cross-channel, influence, mention-lift: when, with whom, and what if.

All but scenario read the database and need no running cluster; scenario asks the model in service.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cluster.cli.context import AsJson, clock, console, database, settings, show_json, table, when
from core.schemas.channel_studies import Estimate
from core.schemas.timing import Cycle

if TYPE_CHECKING:
    from actors.predictive_intelligence.actor import Intelligence

Days = Annotated[int, typer.Option(min=1, max=3650, help="the last complete days")]
Name = Annotated[str | None, typer.Argument(help="one channel; none: all")]
Names = Annotated[list[str] | None, typer.Argument(help="channels; none: all stored ones")]
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_SHOWN = 20


def _intelligence() -> Intelligence:
    from actors.predictive_intelligence.actor import Intelligence

    config = settings()
    source = database(config)
    return Intelligence(source, clock(config, source), config.tenant, calendar=config.calendar)


def best_times(channel: str, days: Days = 180, json: AsJson = False) -> None:
    """What hour and weekday do to views at equal age, content held equal."""
    found = _intelligence().best_times(channel, days)
    if json:
        show_json(found)
        return
    rows = [
        (f"{_WEEKDAYS[b.weekday]} {b.hour}:00", b.n, _share(b.effect), _span(b.low, b.high), f"{b.chance_best:.0%}")
        for b in found.best
    ]
    if rows:
        table(f"{channel}: {found.posts} posts, {found.timezone}", ("", "posts", "views", "95 %", "is best"), rows)
    out = console()
    out.print(f"p of no difference: hour {found.p_hour:.3g}, weekday {found.p_weekday:.3g}; {found.posts} posts")
    out.print(f"held equal: {', '.join(found.controls)}")
    _notes(found.notes)


def seasonality(channel: str, days: Days = 180, json: AsJson = False) -> None:
    """Daily and weekly rhythm of views, and the half-life of posts."""
    found = _intelligence().seasonality(channel, days)
    if json:
        show_json(found)
        return
    for cycle in (found.day, found.week):
        _cycle(cycle)
    half = found.half_life_h
    console().print(f"half of a post's 7-day views are there after: {_estimate(half, 'h')}")
    _notes(found.notes)


def _cycle(cycle: Cycle) -> None:
    if cycle.p is None or cycle.strength is None:
        console().print(f"rhythm of the {cycle.name}: {cycle.missing}")
        return
    names = _WEEKDAYS if cycle.name == "week" else tuple(f"{hour}:00" for hour in range(24))
    rows = [(names[p.position], _share(p.effect), _span(p.low, p.high)) for p in cycle.points]
    title = f"the {cycle.name}: p {cycle.p:.3g}, strength {cycle.strength:.2f}, {cycle.cycles} {cycle.name}s"
    table(title, ("", "views gained", "95 %"), rows)


def context(channel: str, days: Days = 180, json: AsJson = False) -> None:
    """Factors of the configured calendar, each cited, with their measured effects."""
    found = _intelligence().context(channel, days)
    if json:
        show_json(found)
        return
    rows = [(f.name, f.days[0], len(f.days), _effect(f.effect), f.source) for f in found.factors]
    table(f"{channel}: {found.calendar}", ("", "first day", "days", "views", "source"), rows)
    _notes(found.notes)


def scenario(
    channel: str,
    posts_per_day: Annotated[float | None, typer.Option(min=0.01, max=50)] = None,
    hour: Annotated[int | None, typer.Option(min=0, max=23, help="of the channel's zone")] = None,
    length: Annotated[int | None, typer.Option(min=0, max=10_000, help="characters of a text")] = None,
    media: Annotated[str | None, typer.Option(help="photo, video, ...")] = None,
    json: AsJson = False,
) -> None:
    """What would change if the channel published otherwise, as the model in service sees it."""
    from cluster.client import connect

    with connect(settings=settings()) as bot:
        found = bot.channels[channel].scenario(posts_per_day=posts_per_day, hour=hour, text_len=length, media=media)
    if json:
        show_json(found)
        return
    rows = [
        (name, posts, round(r.mean), f"{r.low_80:,.0f} to {r.high_80:,.0f}", f"{r.low:,.0f} to {r.high:,.0f}")
        for name, posts, r in (
            ("as before", found.posts[0], found.usual),
            ("otherwise", found.posts[1], found.planned),
            ("difference", "", found.difference),
        )
    ]
    table(f"{channel}: {found.target} of a day's posts", ("", "posts", "mean", "80 %", "95 %"), rows)
    out = console()
    out.print(f"{found.relative:+.1%}; chance of more views {found.chance_better:.0%}")
    for line in found.warnings:
        out.print(f"beware: {line}")
    _notes(found.notes)


def cross_channel(
    channels: Names = None,
    metric: Annotated[str, typer.Option(help="net_growth or views_gained")] = "net_growth",
    days: Days = 180,
    json: AsJson = False,
) -> None:
    """Which channels' days follow which others', beyond chance."""
    found = _intelligence().cross_channel(metric, channels or (), days)
    if json:
        show_json(found)
        return
    rows = [
        (k.first, k.second, f"{k.lag_days} d", f"{k.correlation:.2f}", f"{k.low:.2f} to {k.high:.2f}", f"{k.q:.2g}")
        for k in found.links
        if k.beyond_chance
    ]
    table(
        f"{len(found.channels)} channels, {found.pairs} pairs: {len(rows)} beyond chance",
        ("leads", "follows", "after", "correlation", "95 %", "q"),
        rows[:_SHOWN],
    )
    for left in found.left_out:
        console().print(f"left out: {left.channel}: {left.why}")
    _notes(found.notes)


def influence(
    channel: Name = None, limit: Annotated[int, typer.Option(min=1, max=500)] = _SHOWN, json: AsJson = False
) -> None:
    """Who names whom, with the posts, and whom the graph of mentions leads to."""
    found = _intelligence().influence(channel, limit)
    if json:
        show_json(found)
        return
    ranks = [(r.channel, f"{r.score:.2f}", r.named_by, r.names, "yes" if r.stored else "no") for r in found.ranks]
    table("rank: 1 is the average channel", ("", "rank", "named by", "names", "stored"), ranks)
    edges = [
        (e.source, e.target, e.posts, when(e.last), ", ".join(str(each.post_id) for each in e.evidence))
        for e in found.edges
    ]
    table(f"{found.mentions} mentions", ("names", "", "posts", "last", "posts' ids"), edges)
    _notes((f"shared audience: {found.overlap.missing}", *found.notes))


def mention_lift(channel: Name = None, json: AsJson = False) -> None:
    """Subscribers that mentions bring in 24 hours, beside other moments of the same channel."""
    found = _intelligence().mention_lift(channel)
    if json:
        show_json(found)
        return
    rows = [
        (
            k.source,
            k.target,
            k.n,
            None if k.median is None else round(k.median, 1),
            "" if k.placebo_low is None or k.placebo_high is None else f"{k.placebo_low:,.0f} to {k.placebo_high:,.0f}",
            "" if k.p is None else f"{k.p:.2g}",
            k.missing or f"{k.reading} what other moments give",
        )
        for k in found.links
    ]
    table("subscribers in 24 h beyond the usual", ("by", "of", "n", "median", "other moments", "p", ""), rows)
    if found.positive is not None and found.placebo_positive is not None:
        console().print(f"positive: {found.positive:.0%}; at other moments {found.placebo_positive:.0%}")
    _notes(found.notes)


def _notes(lines: tuple[str, ...]) -> None:
    for line in lines:
        console().print(line)


def _share(value: float) -> str:
    return f"{value:+.0%}"


def _span(low: float, high: float) -> str:
    return f"{low:+.0%} to {high:+.0%}"


def _effect(e: Estimate) -> str:
    if e.value is None or e.low is None or e.high is None:
        return str(e.missing)
    return f"{_share(e.value)} ({_span(e.low, e.high)}), {e.n} posts"


def _estimate(e: Estimate, unit: str) -> str:
    if e.value is None or e.low is None or e.high is None:
        return str(e.missing)
    return f"{e.value:.1f} {unit} ({e.low:.1f} to {e.high:.1f}), {e.n} posts"
