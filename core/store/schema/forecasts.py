"""Forecasts that were given, and what came."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, String, Table

from core.store.schema.naming import metadata

# One row a point. The first forecast from a day stands: one made again from the same day is not stored.
forecast = Table(
    "forecast",
    metadata,
    Column("channel_id", BigInteger, primary_key=True, autoincrement=False),
    Column("metric", String(64), primary_key=True),
    Column("origin", BigInteger, primary_key=True, autoincrement=False),
    Column("horizon_days", Integer, primary_key=True, autoincrement=False),
    Column("due_at", BigInteger, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("mean", Float, nullable=False),
    Column("lo80", Float, nullable=False),
    Column("hi80", Float, nullable=False),
    Column("lo95", Float, nullable=False),
    Column("hi95", Float, nullable=False),
    Column("actual", Float),
    Column("scored_at", BigInteger),  # without an actual: given up, nobody measured that day
    Index(None, "scored_at", "due_at"),
)
