"""A channel's numbers as a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.schemas.analytics import DataStatus, Overview, PostRow, SeriesPoint
from core.schemas.channel_studies import Mix, Quality, Trend

ReportFormat = Literal["json", "csv", "parquet", "html", "pdf", "xlsx"]

MEDIA_TYPES: dict[ReportFormat, str] = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


@dataclass(frozen=True, slots=True)
class Series:
    """A metric by day."""

    metric: str
    unit: str
    points: tuple[SeriesPoint, ...]


@dataclass(frozen=True, slots=True)
class ChannelReport:
    """Everything that a report says; what JSON holds, and what the other forms are written from."""

    channel: str
    timezone: str
    made_at: int
    overview: Overview
    status: DataStatus
    series: tuple[Series, ...]
    trends: tuple[Trend, ...]
    posts: tuple[PostRow, ...]
    mix: Mix
    quality: Quality


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file that was made for somebody, without its bytes."""

    id: str
    name: str
    media_type: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ReportTold:
    """Which scheduled report a notice is, beside its text."""

    schedule_id: str
    schedule: str
    channel: str
    until: int  # when it was due; the report is of the complete days before
    days: int
    format: str
    path: str | None = None  # where the gateway gives the same file again
    file: FileRef | None = None  # None: the text is all
    missed: tuple[int, ...] = ()  # reports that were due earlier while nobody was there; they are not made up for


@dataclass(frozen=True, slots=True)
class Report:
    """A file. CSV and Parquet hold figures of the period, daily series and posts, one row a value."""

    name: str
    media_type: str
    content: bytes
