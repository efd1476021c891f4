"""Traffic, roll-outs with their audit log, and workflows."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKeyConstraint, Index, Integer, String, Table, Text

from core.store.schema.naming import metadata

traffic_split = Table(
    "traffic_split",
    metadata,
    Column("model", String(64), primary_key=True),
    Column("epoch", BigInteger, nullable=False),  # grows with every change; a lower one is refused
    Column("stable", Integer, nullable=False),
    Column("canary", Integer),
    Column("weight", Float, nullable=False),  # the canary's share
    Column("shadow", Boolean, nullable=False),  # score every request with both
    Column("lease_s", Float, nullable=False),
    Column("abandon_s", Float, nullable=False),
    Column("renewals", BigInteger, nullable=False),  # a router sees the lease alive when this grows
    Column("updated_at", BigInteger, nullable=False),
)

rollout = Table(
    "rollout",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("model", String(64), nullable=False),
    Column("challenger", Integer, nullable=False),
    Column("stable", Integer, nullable=False),
    Column("phase", String(16), nullable=False),
    Column("record", Text, nullable=False),
    Column("request_key", String(64), unique=True),
    Column("notified", Integer, nullable=False, server_default="0"),  # seq up to which somebody was told
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index(None, "model", "phase"),
)

rollout_event = Table(
    "rollout_event",
    metadata,
    Column("rollout_id", String(32), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("event", Text, nullable=False),
    Column("record", Text, nullable=False),  # after the event, or where nothing but figures changed, its SHA-256
    Column("commands", Text, nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    ForeignKeyConstraint(["rollout_id"], ["rollout.id"]),
)

workflow = Table(
    "workflow",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("model", String(64), nullable=False),
    Column("trigger", String(24), nullable=False),
    Column("step", String(16), nullable=False),
    Column("data", Text, nullable=False),
    Column("request_key", String(64), unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index(None, "model", "step"),
)

workflow_event = Table(
    "workflow_event",
    metadata,
    Column("workflow_id", String(32), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("from_step", String(16)),
    Column("to_step", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    ForeignKeyConstraint(["workflow_id"], ["workflow.id"]),
)
