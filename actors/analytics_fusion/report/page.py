"""A report as one HTML page: styles and charts inside it, no script, nothing from elsewhere."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from actors.analytics_fusion.report import charts
from core.buckets import shown
from core.schemas.channel_studies import Trend
from core.schemas.reports import ChannelReport


def html(report: ChannelReport) -> bytes:
    """The page; everything that came from outside is escaped."""
    trends = {trend.metric: trend for trend in report.trends}
    drawn = [
        {
            "title": f"{series.metric} ({series.unit})",
            # The chart's own texts are escaped where it is drawn.
            "svg": Markup(charts.line(series.points, f"{series.metric} by day", report.timezone)),
            "trend": _words(trends.get(series.metric), report.timezone),
        }
        for series in report.series
    ]
    return _template().render(r=report, zone=report.timezone, charts=drawn).encode()


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("actors.analytics_fusion.report", "."), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {"day": _day, "num": _number, "signed": _signed}
    return environment.get_template("page.html")


def _words(trend: Trend | None, timezone: str) -> str | None:
    if trend is None:
        return None
    if trend.missing is not None or trend.slope.value is None:
        return f"No trend: {trend.missing}."
    head = "No trend is shown" if trend.direction == "none" else f"Trend {trend.direction}"
    slope = f"{trend.slope.value:+,.4g} {trend.unit} [{trend.slope.low:+,.4g}, {trend.slope.high:+,.4g}]"
    changes = "; ".join(f"{shown(c.at, timezone)}: {c.before:,.4g} to {c.after:,.4g}" for c in trend.changes)
    return f"{head}: {slope}, p {trend.p:.2g}, {trend.n} days." + (f" Changes of level: {changes}." if changes else "")


def _day(moment: int | None, timezone: str) -> str:
    return "-" if moment is None else shown(moment, timezone)


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    if unit == "fraction":
        return f"{value:.2%}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.3g}"


def _signed(value: Any) -> str:
    return "-" if value is None else f"{value:+.1%}"
