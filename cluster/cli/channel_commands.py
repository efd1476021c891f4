"""analyze, anomalies, predict: questions about one channel.

The first two read the database and need no running cluster.
"""

from __future__ import annotations

from typing import Annotated

import typer

from cluster import state
from cluster.cli.context import AsJson, cell, clock, console, database, settings, show_json, table, when
from core.clock import DAY
from core.schemas.analytics import AnomalyFinding, Figure, Overview
from core.schemas.channels import PostDraft


def analyze(
    channel: str,
    days: Annotated[int, typer.Option(min=1, max=366, help="the period, compared with the one before")] = 30,
    posts: Annotated[int, typer.Option(min=0, max=500, help="rows of the posts table")] = 10,
    json: AsJson = False,
) -> None:
    """A channel's figures, its best posts at equal age, and what the data lacks."""
    from actors.analytics_fusion.actor import Analytics

    config = settings()
    source = database(config)
    analytics = Analytics(source, clock(config, source), config.tenant)
    overview, status = analytics.overview(channel, days), analytics.data_status(channel)
    best = analytics.posts(channel, posts) if posts and status.posts_with_views else ()
    if json:
        show_json({"overview": overview, "status": status, "posts": best})
        return
    out = console()
    out.print(f"{channel}: {when(overview.since)} to {when(overview.until)} UTC, against the {days} days before")
    _figures(overview)
    if best:
        rows = [(p.post_id, when(p.published_at), p.views, _times(p.overperformance), p.excerpt) for p in best]
        table(f"posts at {best[0].age_h} h", ("post", "published", "views", "of usual", ""), rows)
    for line in (*overview.notes, *status.missing):
        out.print(line)


def _figures(overview: Overview) -> None:
    rows = [
        (
            f.metric,
            _value(f),
            _own_interval(f),
            f.n,
            "-" if f.change is None else f"{f.change:+.1%}",
            _interval(f),
            f.missing or "",
        )
        for f in overview.figures
    ]
    table(None, ("metric", "value", "95 %", "n", "change", "95 %", ""), rows)


def _value(figure: Figure) -> str:
    if figure.value is not None and figure.unit == "fraction":
        return f"{figure.value:.2%}"
    return cell(figure.value) if figure.value is None else f"{cell(figure.value)} {figure.unit}"


def _own_interval(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return "-"
    if figure.unit == "fraction":
        return f"{figure.low:.2%} .. {figure.high:.2%}"
    return f"{cell(figure.low)} .. {cell(figure.high)}"


def _interval(figure: Figure) -> str:
    if figure.change_low is None or figure.change_high is None:
        return "-"
    return f"{figure.change_low:+.1%} .. {figure.change_high:+.1%}"


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"


def anomalies(
    channel: Annotated[str | None, typer.Argument(help="all channels unless given")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="only what is younger")] = None,
    json: AsJson = False,
) -> None:
    """What was unusual, with causes and advice."""
    from actors.anomaly_analysis.actor import AnomalyAnalysis

    config = settings()
    source = database(config)
    now = clock(config, source)
    service = AnomalyAnalysis(source, now, config.tenant)
    if state.running(config) is None:
        service.catch_up()  # nobody else does while nothing runs
    found = service.findings(channel, None if days is None else now.now() - days * DAY)
    if json:
        show_json(found)
        return
    for finding in found:
        _show_finding(finding)
    if not found:
        console().print("nothing unusual was found")


def _show_finding(finding: AnomalyFinding) -> None:
    out = console()
    out.print(
        f"{when(finding.onset)[:10]}  {finding.channel}  {finding.metric} {finding.direction} ({finding.kind}, "
        f"{finding.severity}): {cell(finding.observed)} instead of {cell(finding.expected)}"
    )
    for cause in finding.causes:
        out.print(f"    {cause.factor}: {cause.share:+,.4g}  {cause.evidence}", markup=False)
    for line in (*finding.advice, *finding.notes):
        out.print(f"    {line}", markup=False)


def predict(
    channel: str,
    post: Annotated[int | None, typer.Option(help="a stored post's id")] = None,
    text: Annotated[str | None, typer.Option(help="a draft's text")] = None,
    media: Annotated[str | None, typer.Option(help="a draft's medium: none, photo, video, ...")] = None,
    at: Annotated[int | None, typer.Option(help="when the draft is to be published, epoch seconds")] = None,
    known_age: Annotated[int, typer.Option(help="hours of readings to use: 0, 1, 4 or 24")] = 0,
    json: AsJson = False,
) -> None:
    """Views of a post, as the running service answers."""
    from cluster.client import connect

    draft = None if post is not None else PostDraft(text=text, media=media)
    with connect(settings=settings()) as bot:
        answer = bot.predict(channel, post_id=post, draft=draft, published_at=at, known_age_h=known_age)
    if json:
        show_json(answer)
        return
    rows = [(t, round(q.q10), round(q.q50), round(q.q90)) for t, q in answer.targets.items()]
    table(None, ("views", "10 %", "median", "90 %"), rows)
    out = console()
    out.print(
        f"{answer.model} v{answer.version} ({answer.arm}); the channel's usual: {round(answer.usual):,}; "
        f"rests on {answer.history} posts; id {answer.id}"
    )
    for line in answer.warnings:
        out.print(line)
