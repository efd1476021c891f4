"""Alert rules, what they raised, reports that are due, and the outbox of what is told about all of it."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
)

from core.store.schema.naming import Seq, metadata

alert_rule = Table(
    "alert_rule",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("channel_id", BigInteger),  # NULL: every channel
    Column("spec", Text, nullable=False),  # core.schemas.alerts.RuleSpec as JSON; never changes
    Column("enabled", Boolean, nullable=False),
    Column("request_key", String(160), unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("removed_at", BigInteger),
    Index(None, "tenant", "name"),
)

alert = Table(
    "alert",
    metadata,
    Column("id", String(32), primary_key=True),  # derived from rule, channel and onset or post: stored once
    Column("tenant", String(64), nullable=False),
    Column("rule_id", String(32), nullable=False),
    Column("channel_id", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("record", Text, nullable=False),  # core.schemas.alerts.Alert as JSON
    Column(
        "open_key", String(64), unique=True
    ),  # while it is open, rule and channel (one at a time), or of a post its id
    Column("next_at", BigInteger),  # when it is to be escalated, or a snooze ends
    Column("raised_at", BigInteger, nullable=False),
    Column("resolved_at", BigInteger),
    ForeignKeyConstraint(["rule_id"], ["alert_rule.id"]),
    Index(None, "tenant", "raised_at"),
    Index(None, "next_at"),
)

# The outbox of notices: written in the transaction of what they tell, sent until somebody took them.
delivery = Table(
    "delivery",
    metadata,
    Column("seq", Seq, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),  # derived from what is told to whom; the receiver's key
    Column("tenant", String(64), nullable=False),
    Column("alert_id", String(32)),  # NULL: a digest or a report
    Column("about", String(16), nullable=False),
    Column("target_kind", String(16), nullable=False),
    Column("target", Text, nullable=False),
    Column("notice", Text, nullable=False),  # core.schemas.alerts.Notice as JSON
    Column("state", String(16), nullable=False),  # pending, failed (will be tried again), sent, dead
    Column("attempts", Integer, nullable=False),
    Column("not_before", BigInteger, nullable=False),  # on the data's timeline: quiet hours
    Column("retry_at", BigInteger, nullable=False),  # on the machine's clock, as is lease_until
    Column("lease_until", BigInteger, nullable=False),  # somebody is sending it until then
    Column("created_at", BigInteger, nullable=False),
    Column("sent_at", BigInteger),
    Column("reason", Text),
    Index(None, "state", "not_before"),
    Index(None, "alert_id"),
)

report_schedule = Table(
    "report_schedule",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("spec", Text, nullable=False),  # core.schemas.report_schedules.ReportSpec as JSON; never changes
    Column("request_key", String(160), unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("last_due", BigInteger),  # the newest that was written for delivery
    Column("next_due", BigInteger, nullable=False),
    Index(None, "tenant", "next_due"),
)

# Files that deliveries name: made once, so that every try and every target sends the same bytes.
report_file = Table(
    "report_file",
    metadata,
    Column("id", String(32), primary_key=True),  # derived from schedule, due moment and channel
    Column("tenant", String(64), nullable=False),
    Column("name", String(250), nullable=False),
    Column("media_type", String(100), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Index(None, "tenant", "made_at"),
)
