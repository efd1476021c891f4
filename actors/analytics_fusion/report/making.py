"""Writes a report in the form asked for."""

from __future__ import annotations

from core.codec import to_json
from core.errors import InvalidInput
from core.schemas.reports import MEDIA_TYPES, ChannelReport, Report, ReportFormat

#: daily series that a report draws
DRAWN = ("views_gained", "subscribers", "posting_rate")
POSTS = 20


def check(format: str) -> None:
    """InvalidInput for a form that is not offered."""
    if format not in MEDIA_TYPES:
        raise InvalidInput(f"no report as {format!r}: use one of {', '.join(MEDIA_TYPES)}", field="format")


def written(report: ChannelReport, format: ReportFormat) -> Report:
    """The file."""
    safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in report.channel)
    return Report(f"{safe}.{format}", MEDIA_TYPES[format], _content(report, format))


def _content(report: ChannelReport, format: ReportFormat) -> bytes:
    # Each library is read when its form is asked for: most processes never make a report.
    if format == "json":
        return to_json(report).encode()
    if format == "html":
        from actors.analytics_fusion.report.page import html

        return html(report)
    if format == "pdf":
        from actors.analytics_fusion.report.document import pdf

        return pdf(report)
    if format == "xlsx":
        from actors.analytics_fusion.report.book import xlsx

        return xlsx(report)
    from actors.analytics_fusion.report import table

    return table.csv(report) if format == "csv" else table.parquet(report)
