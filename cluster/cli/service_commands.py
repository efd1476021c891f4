"""models slo, alerts, degradation, levels, feedback: how versions do in service, asked of the running service."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import typer

from cluster.cli.context import AsJson, console, settings, show_json, table, when
from cluster.client import connect
from core.clock import DAY
from core.schemas.monitoring import BoundStatus, BurnRule, SeriesLevels, SloStatus
from core.schemas.predictions import ENGAGEMENT

Name = Annotated[str, typer.Argument(help="name of the model")]


def slo(
    model: Name = ENGAGEMENT,
    version: Annotated[int | None, typer.Option(min=1, help="its own figures instead of the askers' view")] = None,
    json: AsJson = False,
) -> None:
    """What the model promises, what is left of its error budgets, and what burns."""
    with connect(settings=settings()) as bot:
        report = bot.models[model].slo(version)
    if json:
        show_json(report)
        return
    title = f"{model}{'' if version is None else f' v{version}'} at {when(report.at)}, {report.period_days} days"
    columns = ("objective", "promised", "is", "of", "budget left", "burn over long and short windows")
    table(title, columns, [*map(_events, report.events), *map(_bounds, report.outcomes)])
    for alert in report.alerts:
        console().print(f"{alert.severity}: {alert.reason}")
    if not report.alerts:
        console().print("nothing burns")


def alerts(
    model: Name = ENGAGEMENT,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="how many, newest first")] = 20,
    json: AsJson = False,
) -> None:
    """Promises of a model that began to be broken or are kept again."""
    with connect(settings=settings()) as bot:
        found = bot.models[model].alerts(limit)
    if json:
        show_json(found)
        return
    rows = [(when(c.at), c.slo, c.severity, c.state, c.reason) for c in found]
    table(model, ("when", "objective", "severity", "what", "why"), rows)


def degradation(
    number: Annotated[int, typer.Argument(min=1, help="number of the version")],
    model: Annotated[str, typer.Option(help="name of the model")] = ENGAGEMENT,
    days: Annotated[int, typer.Option(min=1, help="how many recent days, today included")] = 7,
    json: AsJson = False,
) -> None:
    """What got worse in recent days, against all days before; and when figures changed since the version began."""
    with connect(settings=settings()) as bot:
        found, series = bot.models[model].degradation(number, days), bot.models[model].levels(number)
    if json:
        show_json(found)
        return
    rows = [
        (
            d.metric,
            d.segment or "all",
            d.verdict,
            d.severity,
            None if d.change is None else f"{d.change:+.4f} [{d.low:+.4f}, {d.high:+.4f}]",
            f"{d.recent_n:,} / {d.before_n:,}",
        )
        for d in found
    ]
    table(f"{model} v{number}", ("figure", "of", "is", "severity", "change (99 %)", "recent / before"), rows)
    _show_changes(series)


def levels(
    model: Name = ENGAGEMENT,
    version: Annotated[int | None, typer.Option(min=1, help="of one version instead of the model over all")] = None,
    json: AsJson = False,
) -> None:
    """When stored figures changed, from what to what."""
    with connect(settings=settings()) as bot:
        series = bot.models[model].levels(version)
    if json:
        show_json(series)
        return
    rows = [(s.metric, s.segment or "all", f"{s.n:,} {_unit(s)}", len(s.levels) - 1) for s in series if s.levels]
    title = f"{model}{'' if version is None else f' v{version}'}"
    table(title, ("figure", "of", "looked at", "changes"), rows)
    _show_changes(series)


def feedback(json: AsJson = False) -> None:
    """What people said of predictions, and what became of it."""
    with connect(settings=settings()) as bot:
        found = bot.feedback_summary()
    if json:
        show_json(found)
        return
    table("feedback items", ("what became of them", "n"), list(found.by_status.items()))
    rows = [
        (
            v.model,
            f"v{v.version}",
            ", ".join(f"{stars} stars: {n}" for stars, n in v.ratings.items()),
            None if v.mean_rating is None else f"{v.mean_rating:.2f}",
            v.corrections,
        )
        for v in found.versions
    ]
    table("by the version that answered", ("model", "version", "ratings", "mean", "corrections"), rows)


def _show_changes(series: Sequence[SeriesLevels]) -> None:
    for s in series:
        for before, now in pairwise(s.levels):
            console().print(
                f"{s.metric} of {s.segment or 'all'} changed on {when(now.since)} "
                f"from {before.mean:.4f} to {now.mean:.4f}"
            )
    short = [s for s in series if not s.levels]
    if short:
        longest = max(short, key=lambda s: s.n / s.needed)
        console().print(
            f"not enough data to look for changes in {len(short)} of {len(series)} series: "
            f"{longest.n} of {longest.needed} {_unit(longest)} at most"
        )


def _unit(s: SeriesLevels) -> str:
    return "days" if s.bucket_s == DAY else "hours"


def _events(s: SloStatus) -> tuple[object, ...]:
    figure = None if s.figure is None else f"{s.figure:.3%}"
    left = f"not enough data ({s.n} of {s.needed})" if s.budget_left is None else f"{s.budget_left:.0%}"
    return f"{s.name}: {s.what}", f"{s.objective:.2%}", figure, s.n, left, "; ".join(map(_rule, s.rules))


def _rule(r: BurnRule) -> str:
    burns = " / ".join("?" if burn is None else f"{burn:.1f}" for burn in (r.long_burn, r.short_burn))
    return f"{r.severity} at {r.factor:g}: {burns}"


def _bounds(b: BoundStatus) -> tuple[object, ...]:
    promised = " .. ".join("" if bound is None else f"{bound:g}" for bound in (b.low, b.high))
    state = f"not enough data ({min(b.n, b.recent_n)} of {b.needed})" if b.state == "insufficient" else b.state
    return f"{b.name}: {b.what}", promised, None if b.figure is None else f"{b.figure:.3f}", b.n, None, state
