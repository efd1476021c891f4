"""What a report says to people, in order: tables of finished texts, charts and remarks; pages only lay it out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from actors.analytics_fusion.report.charts import Plot, plot
from core.buckets import shown
from core.schemas.channel_studies import Trend
from core.schemas.reports import ChannelReport


@dataclass(frozen=True, slots=True)
class Column:
    """A head, and how its cells are set."""

    title: str
    figure: bool = False  # set to the right
    soft: bool = False
    width: float = 1.0  # against the other columns, where a page is of fixed width


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page. A row shorter than the head: its last cell stands for the rest."""

    title: str
    columns: tuple[Column, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    chart: Plot | None = None
    lead: str | None = None
    notes: tuple[str, ...] = ()


def heading(report: ChannelReport) -> str:
    """The line under the channel's name."""
    span = f"{_day(report.overview.since, report)} to {_day(report.overview.until, report)} ({report.timezone})"
    return f"{span}, beside the equal period before. Made {_day(report.made_at, report)}."


def sections(report: ChannelReport) -> tuple[Section, ...]:
    """The whole report under its heading."""
    return (_figures(report), *_charts(report), _posts(report), _mix(report), _quality(report), _data(report))


def _figures(report: ChannelReport) -> Section:
    rows = [
        (f.metric, f.unit, f.missing or "-")
        if f.value is None
        else (
            f.metric,
            f.unit,
            _number(f.value, f.unit),
            _between(_number(f.low, f.unit), _number(f.high, f.unit)),
            str(f.n),
            _signed(f.change),
            _between(_signed(f.change_low), _signed(f.change_high)),
        )
        for f in report.overview.figures
    ]
    columns = (
        Column("metric", width=1.3),
        Column("unit", soft=True, width=1.3),
        Column("value", figure=True),
        Column("95 %", figure=True, soft=True, width=1.5),
        Column("n", figure=True, width=0.5),
        Column("change", figure=True),
        Column("95 %", figure=True, soft=True, width=1.5),
    )
    return Section("Figures", columns, tuple(rows), notes=report.overview.notes)


def _charts(report: ChannelReport) -> Iterator[Section]:
    trends = {trend.metric: trend for trend in report.trends}
    for series in report.series:
        drawn = plot(series.points, report.timezone)
        notes: tuple[str, ...] = () if drawn is not None else ("No day has a value.",)
        if series.metric in trends:
            notes += (_trend(trends[series.metric], report),)
        yield Section(f"{series.metric} ({series.unit})", chart=drawn, notes=notes)


def _posts(report: ChannelReport) -> Section:
    rows = [
        (
            _day(p.published_at, report),
            str(p.post_id),
            _number(p.views, "views"),
            f"{p.age_h} h",
            _number(p.overperformance, "ratio"),
            _number(p.er, "fraction"),
            p.excerpt or "",
        )
        for p in report.posts
    ]
    columns = (
        Column("published"),
        Column("post", width=0.8),
        Column("views", figure=True, width=0.8),
        Column("age", figure=True, width=0.6),
        Column("of usual", figure=True, width=0.7),
        Column("ER", figure=True, width=0.8),
        Column("text", width=4),
    )
    return Section("Posts at equal age", columns, tuple(rows), notes=() if rows else ("No posts.",))


def _mix(report: ChannelReport) -> Section:
    rows = []
    for m in report.mix.rows:
        kind = (m.dimension, m.value, str(m.posts), _number(m.views, "views"))
        effect: tuple[str, ...] = (m.effect.missing or "-",)
        if m.effect.value is not None:
            interval = _between(_signed(m.effect.low), _signed(m.effect.high))
            effect = (_signed(m.effect.value), interval, _signed(m.adjusted.value))
        rows.append((*kind, *effect))
    columns = (
        Column("attribute"),
        Column("value"),
        Column("posts", figure=True, width=0.7),
        Column("median views", figure=True),
        Column("effect", figure=True),
        Column("95 %", figure=True, soft=True, width=1.4),
        Column("others equal", figure=True),
    )
    return Section("Kinds of posts", columns, tuple(rows), notes=report.mix.notes)


def _quality(report: ChannelReport) -> Section:
    quality = report.quality
    none = f"No score: {'; '.join(quality.notes)}."
    lead = none if quality.score is None else f"Score {quality.score:.2f} of 1."
    rows = tuple((sign.name.replace("_", " "), sign.state, sign.evidence) for sign in quality.signs)
    columns = (Column("sign", width=1.2), Column("state", width=0.6), Column("evidence", width=4))
    return Section("Signs of a bought audience", columns, rows, lead=lead, notes=(quality.reading,))


def _data(report: ChannelReport) -> Section:
    status = report.status
    lead = (
        f"{status.posts} posts since {_day(status.first_post, report)}, {status.view_readings} readings of views since "
        f"{_day(status.first_reading, report)}, {status.subscriber_readings} of subscribers; "
        f"last reading {_day(status.last_reading, report)}."
    )
    gaps = [f"Nobody looked from {_day(a, report)} to {_day(b, report)}." for a, b in status.gaps]
    return Section("Data", lead=lead, notes=(*gaps, *status.missing))


def _trend(trend: Trend, report: ChannelReport) -> str:
    if trend.missing is not None or trend.slope.value is None:
        return f"No trend: {trend.missing}."
    head = "No trend is shown" if trend.direction == "none" else f"Trend {trend.direction}"
    slope = f"{trend.slope.value:+,.4g} {trend.unit} [{trend.slope.low:+,.4g}, {trend.slope.high:+,.4g}]"
    changes = "; ".join(f"{_day(c.at, report)}: {c.before:,.4g} to {c.after:,.4g}" for c in trend.changes)
    return f"{head}: {slope}, p {trend.p:.2g}, {trend.n} days." + (f" Changes of level: {changes}." if changes else "")


def _day(moment: int | None, report: ChannelReport) -> str:
    return "-" if moment is None else shown(moment, report.timezone)


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    if unit == "fraction":
        return f"{value:.2%}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.3g}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1%}"


def _between(low: str, high: str) -> str:
    return "" if "-" in (low, high) else f"{low} .. {high}"
