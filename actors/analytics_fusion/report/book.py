"""A report as an XLSX book: one sheet a subject, figures as figures, days as dates of the channel's zone, charts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from io import BytesIO
from typing import Any

from xlsxwriter import Workbook
from xlsxwriter.worksheet import Worksheet

from core.buckets import local_date, zone
from core.schemas.channel_studies import Estimate
from core.schemas.reports import ChannelReport

Row = Sequence[Any]
_FIGURE = ("metric", "unit", "value", "low", "high", "n", "previous", "change", "change low", "change high", "missing")
_POST = ("published", "post", "views", "age, h", "of usual", "ER", "text")
_MIX = ("attribute", "value", "posts", "share", "median views", "effect", "low", "high", "n", "missing")
_OTHERS_EQUAL = ("others equal", "low", "high", "n", "missing")
_TREND = ("metric", "direction", "p", "unit", "slope", "low", "high", "n", "missing", "changes of level")


class _Share(float):
    """A fraction, shown in per cent."""


def xlsx(report: ChannelReport) -> bytes:
    """The book. What is not known is an empty cell, and the row says why where it has a reason."""
    sink = BytesIO()
    # Texts come from outside: none of them is a formula or an address.
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with Workbook(sink, options) as made:
        made.set_properties({"title": report.channel, "created": datetime.fromtimestamp(report.made_at, UTC)})
        book = _Book(made)
        book.sheet("figures", _FIGURE, _figures(report))
        _days(book, report)
        book.sheet("posts", _POST, _posts(report))
        book.sheet("kinds of posts", (*_MIX, *_OTHERS_EQUAL), _mix(report))
        book.sheet("trends", _TREND, _trends(report))
        signs = ((sign.name, sign.state, sign.evidence) for sign in report.quality.signs)
        book.sheet("signs", ("sign", "state", "evidence"), signs)
        book.sheet("data", ("what", "value"), _data(report))
    return sink.getvalue()


class _Book:
    """Sheets with a head that stays in sight."""

    def __init__(self, book: Workbook) -> None:
        self.book = book
        self._head = book.add_format({"bold": True})
        shown = ((datetime, "yyyy-mm-dd hh:mm"), (date, "yyyy-mm-dd"), (_Share, "0.00%"))  # a datetime is a date too
        self._formats = [(kind, book.add_format({"num_format": code})) for kind, code in shown]

    def sheet(self, name: str, head: Sequence[str], rows: Iterable[Row]) -> Worksheet:
        """Add one; None is an empty cell."""
        sheet = self.book.add_worksheet(name)
        sheet.freeze_panes(1, 0)
        sheet.write_row(0, 0, head, self._head)
        widths = [len(title) for title in head]
        for r, row in enumerate(rows, start=1):
            for c, value in enumerate(row):
                if value is not None:
                    sheet.write(r, c, value, next((f for kind, f in self._formats if isinstance(value, kind)), None))
                    widths[c] = max(widths[c], min(60, len(value)) if isinstance(value, str) else 10)
        for c, width in enumerate(widths):
            sheet.set_column(c, c, width + 2)
        return sheet

    def line(self, title: str, sheet: Worksheet, column: int, rows: int) -> Any:
        """A chart of a column by the dates of the first one; days without a value are holes in the line."""
        chart = self.book.add_chart({"type": "line"})
        of = [[sheet.get_name(), 1, c, rows, c] for c in (0, column)]
        chart.add_series({"name": title, "categories": of[0], "values": of[1]})
        chart.show_blanks_as("gap")
        chart.set_x_axis({"date_axis": True, "num_format": "yyyy-mm-dd"})
        chart.set_title({"name": title})
        chart.set_legend({"none": True})
        chart.set_size({"width": 720, "height": 220})
        return chart


def _figures(report: ChannelReport) -> Iterable[Row]:
    for f in report.overview.figures:
        values = (_in(f.unit, f.value), _in(f.unit, f.low), _in(f.unit, f.high), f.n, _in(f.unit, f.previous))
        yield f.metric, f.unit, *values, _share(f.change), _share(f.change_low), _share(f.change_high), f.missing


def _days(book: _Book, report: ChannelReport) -> None:
    """A row a day, a column a metric, and a chart of each."""
    values = [{point.ts: _in(series.unit, point.value) for point in series.points} for series in report.series]
    days = sorted({ts for known in values for ts in known})
    rows = [(local_date(report.timezone, ts), *(known.get(ts) for known in values)) for ts in days]
    heads = [f"{series.metric} ({series.unit})" for series in report.series]
    sheet = book.sheet("days", ("day", *heads), rows)
    for number, head in enumerate(heads):
        if any(row[number + 1] is not None for row in rows):
            sheet.insert_chart(number * 12, len(heads) + 2, book.line(head, sheet, number + 1, len(rows)))


def _posts(report: ChannelReport) -> Iterable[Row]:
    for p in report.posts:
        yield _clock(report, p.published_at), p.post_id, p.views, p.age_h, p.overperformance, _share(p.er), p.excerpt


def _mix(report: ChannelReport) -> Iterable[Row]:
    for m in report.mix.rows:
        kind = (m.dimension, m.value, m.posts, _share(m.share), m.views)
        yield *kind, *_estimate(m.effect, "fraction"), *_estimate(m.adjusted, "fraction")


def _trends(report: ChannelReport) -> Iterable[Row]:
    for t in report.trends:
        changes = (f"{local_date(report.timezone, c.at)}: {c.before:,.4g} to {c.after:,.4g}" for c in t.changes)
        yield t.metric, t.direction, t.p, t.unit, *_estimate(t.slope)[:4], t.missing, "; ".join(changes) or None


def _data(report: ChannelReport) -> Iterable[Row]:
    status, overview = report.status, report.overview
    moments: dict[str, int | None] = {
        "period from": overview.since,
        "period until": overview.until,
        "made": report.made_at,
        "first post": status.first_post,
        "last post": status.last_post,
        "first reading": status.first_reading,
        "last reading": status.last_reading,
    }
    yield "channel", report.channel
    yield "time zone", report.timezone
    for name, moment in moments.items():
        yield name, None if moment is None else _clock(report, moment)
    yield "posts", status.posts
    yield "readings of views", status.view_readings
    yield "readings of subscribers", status.subscriber_readings
    yield "score of bought audience, 0 to 1", report.quality.score
    yield "how to read it", report.quality.reading
    for note in (*overview.notes, *report.mix.notes, *report.quality.notes, *status.missing):
        yield "note", note


def _clock(report: ChannelReport, moment: int) -> datetime:
    """What the channel's clock shows: a cell has no time zone."""
    return datetime.fromtimestamp(moment, zone(report.timezone)).replace(tzinfo=None)


def _estimate(value: Estimate, unit: str = "") -> tuple[Any, ...]:
    return _in(unit, value.value), _in(unit, value.low), _in(unit, value.high), value.n, value.missing


def _in(unit: str, value: float | None) -> float | None:
    return _share(value) if unit == "fraction" else value


def _share(value: float | None) -> float | None:
    return None if value is None else _Share(value)
