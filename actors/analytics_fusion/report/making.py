"""Puts a report together and writes it in the form asked for."""

from __future__ import annotations

from typing import get_args

from actors.analytics_fusion.report import page, table
from core.codec import to_json
from core.errors import InvalidInput
from core.schemas.reports import ChannelReport, Report, ReportFormat

#: daily series that a report draws
DRAWN = ("views_gained", "subscribers", "posting_rate")
POSTS = 20
FORMATS: tuple[str, ...] = get_args(ReportFormat)
_MEDIA = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "html": "text/html; charset=utf-8",
}


def check(format: str) -> None:
    """InvalidInput for a form that is not offered."""
    if format not in FORMATS:
        raise InvalidInput(f"no report as {format!r}: use one of {', '.join(FORMATS)}", field="format")


def written(report: ChannelReport, format: ReportFormat) -> Report:
    """The file."""
    write = {"json": lambda r: to_json(r).encode(), "csv": table.csv, "parquet": table.parquet, "html": page.html}
    safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in report.channel)
    return Report(f"{safe}.{format}", _MEDIA[format], write[format](report))
