"""What is kept of channels beside what was observed: their levels for comparison, and lists of watched ones."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text

from core.store.schema.naming import metadata

# A channel's figures of its last period, so that a cohort need not be computed anew for every question.
channel_level = Table(
    "channel_level",
    metadata,
    Column("channel_id", BigInteger, primary_key=True, autoincrement=False),
    Column("days", Integer, primary_key=True, autoincrement=False),
    Column("until", BigInteger, nullable=False),  # end of the period
    Column("data_version", BigInteger, nullable=False),  # of the data that it was computed from
    Column("figures", Text, nullable=False),  # {metric: value}
)

watch_list = Table(
    "watch_list",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("channels", Text, nullable=False),  # JSON list of names, stored channels or not
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)
