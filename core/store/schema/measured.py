"""What is measured of versions in service and of channels: sums, sketches, alerts, drift, detectors, findings."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, String, Table, Text

from core.store.schema.naming import Seq, metadata, version_key

metric_point = Table(
    "metric_point",
    metadata,
    *version_key(),
    Column("segment", String(64), primary_key=True),
    Column("metric", String(40), primary_key=True),
    Column("at", BigInteger, primary_key=True, autoincrement=False),  # start of the bucket
    Column("n", BigInteger, nullable=False),
    Column("total", Float, nullable=False),  # sum; the mean is total / n
)

# Latencies of a bucket of time as a histogram: two of them add up without loss (core.sketch).
latency_sketch = Table(
    "latency_sketch",
    metadata,
    *version_key(),
    Column("segment", String(64), primary_key=True),
    Column("at", BigInteger, primary_key=True, autoincrement=False),  # start of the bucket
    Column("data", LargeBinary, nullable=False),
)

# Alerts that began or ended; the last row of an objective and severity says whether it is open.
slo_alert = Table(
    "slo_alert",
    metadata,
    Column("seq", Seq, primary_key=True, autoincrement=True),
    Column("model", String(64), nullable=False),
    Column("slo", String(16), nullable=False),
    Column("severity", String(8), nullable=False),  # page, ticket
    Column("state", String(8), nullable=False),  # begun, ended
    Column("at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("told", Boolean, nullable=False),  # whether people were told
    Index(None, "model", "told"),
    sqlite_autoincrement=True,
)

reference_window = Table(
    "reference_window",
    metadata,
    *version_key(),
    Column("n", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),  # Arrow IPC: one column a feature, plus residuals
    Column("created_at", BigInteger, nullable=False),
)

drift_report = Table(
    "drift_report",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("model", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("severity", String(12), nullable=False),
    Column("report", Text, nullable=False),
    Index(None, "model", "version", "at"),
)

# Streaming state of per-series detectors (residuals of a version, metrics of a channel), with the offset seen.
series_state = Table(
    "series_state",
    metadata,
    Column("service", String(32), primary_key=True),
    Column("series", String(128), primary_key=True),
    Column("state", Text, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

anomaly = Table(
    "anomaly",
    metadata,
    Column("id", String(32), primary_key=True),  # derived from channel, metric and onset: found twice, stored once
    Column("channel_id", BigInteger, nullable=False),
    Column("metric", String(40), nullable=False),
    Column("kind", String(16), nullable=False),  # spike, level_shift
    Column("direction", String(4), nullable=False),  # up, down
    Column("severity", String(12), nullable=False),
    Column("onset", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("observed", Float, nullable=False),
    Column("expected", Float, nullable=False),
    Column("score", Float, nullable=False),
    Column("causes", Text),
    Column("advice", Text),
    Column("notes", Text),
    Column("found_at", BigInteger, nullable=False),
    Index(None, "channel_id", "onset"),
)
