"""A report as one table: a row for every figure of the period, every day of a series and every post."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from core.schemas.reports import ChannelReport

COLUMNS = pa.schema(
    [
        ("channel", pa.string()),
        ("kind", pa.string()),  # figure, day, post
        ("metric", pa.string()),
        ("unit", pa.string()),
        ("at", pa.timestamp("s", "UTC")),  # start of the period, the day, or publication
        ("post_id", pa.int64()),
        ("value", pa.float64()),
        ("n", pa.int64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("previous", pa.float64()),
        ("change", pa.float64()),
        ("change_low", pa.float64()),
        ("change_high", pa.float64()),
        ("missing", pa.string()),
    ]
)


def table(report: ChannelReport) -> pa.Table:
    """The rows; columns that a kind of row has nothing for are empty."""
    rows = [{"channel": report.channel, **row} for row in _rows(report)]
    return pa.Table.from_pylist(rows, COLUMNS)


def csv(report: ChannelReport) -> bytes:
    """UTF-8 with a head."""
    sink = BytesIO()
    pacsv.write_csv(table(report), sink)
    return sink.getvalue()


def parquet(report: ChannelReport) -> bytes:
    """Compressed with zstd."""
    sink = BytesIO()
    pq.write_table(table(report), sink, compression="zstd")
    return sink.getvalue()


def _rows(report: ChannelReport) -> Iterator[dict[str, Any]]:
    for figure in report.overview.figures:
        yield {
            "kind": "figure",
            "at": report.overview.since,
            "metric": figure.metric,
            **{name: getattr(figure, name) for name in ("unit", "value", "n", "low", "high", "previous", "missing")},
            **{name: getattr(figure, name) for name in ("change", "change_low", "change_high")},
        }
    for series in report.series:
        for point in series.points:
            yield {
                "kind": "day",
                "metric": series.metric,
                "unit": series.unit,
                "at": point.ts,
                "value": point.value,
            }
    for post in report.posts:
        for metric, unit, value in (("views", "views", post.views), ("overperformance", "ratio", post.overperformance)):
            yield {
                "kind": "post",
                "metric": metric,
                "unit": unit,
                "at": post.published_at,
                "post_id": post.post_id,
                "value": value,
            }
