"""forecast: what is next for a channel, and how earlier forecasts did. Reads the database; needs no running cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, cast

import typer

from cluster.cli.context import AsJson, cell, clock, console, database, settings, show_json, table, when
from core.schemas.forecasts import MOST_DAYS, ForecastMetric, HorizonAccuracy

if TYPE_CHECKING:
    from actors.predictive_intelligence.actor import Intelligence


def _intelligence() -> Intelligence:
    from actors.predictive_intelligence.actor import Intelligence

    config = settings()
    source = database(config)
    return Intelligence(source, clock(config, source), config.tenant)


def forecast(
    channel: str,
    metric: Annotated[str, typer.Option(help="subscribers or views_gained")] = "subscribers",
    days: Annotated[int, typer.Option(min=1, max=MOST_DAYS)] = 30,
    ledger: Annotated[bool, typer.Option("--ledger", help="earlier forecasts beside what came")] = False,
    json: AsJson = False,
) -> None:
    """The days ahead with 80 and 95 % intervals, or what became of earlier forecasts."""
    asked = cast(ForecastMetric, metric)  # the service refuses any other
    if ledger:
        _ledger(channel, asked, json)
        return
    found = _intelligence().forecast(channel, asked, days)
    if json:
        show_json(found)
        return
    rows = [
        (f"{p.horizon_days} d", when(p.at)[:10], p.mean, f"{cell(p.lo80)} .. {cell(p.hi80)}", _wide(p.lo95, p.hi95))
        for p in found.points
    ]
    title = f"{channel}: {found.metric} ({found.unit}), {cell(found.last)} at the end of {when(found.origin - 1)[:10]}"
    table(title, ("ahead", "until", "expected", "80 %", "95 %"), rows)
    _accuracy("in hindsight", found.backtest)
    _accuracy("as given", found.past)
    shares = ", ".join(f"{m.name} {m.weight:.0%}" for m in found.members if m.weight >= 0.01)
    out = console()
    out.print(f"from: {shares}")
    for step in found.steps:
        out.print(f"taken out before looking for a trend: {step.size:+,.0f} on {when(step.at)[:10]}")
    for line in found.notes:
        out.print(line)


def _ledger(channel: str, metric: ForecastMetric, json: bool) -> None:
    found = _intelligence().ledger(channel, metric)
    if json:
        show_json(found)
        return
    rows = [
        (when(e.origin)[:10], f"{p.horizon_days} d", when(p.at)[:10], p.mean, _wide(p.lo80, p.hi80), e.actual)
        for e, p in ((entry, entry.point) for entry in found.entries)
    ]
    table(f"{channel}: {metric}", ("from", "ahead", "for", "expected", "80 %", "came"), rows)
    _accuracy("as given", found.accuracy)
    console().print(f"{found.pending} not due yet, {found.unmeasured} of days that nobody measured")


def _accuracy(title: str, found: Sequence[HorizonAccuracy]) -> None:
    rows = [
        (f"{a.horizon_days} d", a.n, _percent(a.mape), _percent(a.bias), _percent(a.coverage80), _percent(a.coverage95))
        for a in found
    ]
    if rows:
        table(f"how forecasts did, {title}", ("ahead", "n", "error", "bias", "in 80 %", "in 95 %"), rows)


def _wide(low: float, high: float) -> str:
    return f"{cell(low)} .. {cell(high)}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"
