"""Predictions and what became of them: scores of the other version, outcomes, feedback."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

from core.store.schema.naming import Seq, metadata

prediction = Table(
    "prediction",
    metadata,
    Column("seq", Seq, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("tenant", String(64), nullable=False),
    Column("channel_id", BigInteger, nullable=False),
    Column("post_id", BigInteger),  # NULL: a draft, which no outcome can be joined to
    Column("model", String(64), nullable=False),
    Column("version", Integer, nullable=False),  # the version that answered
    Column("arm", String(12), nullable=False),  # stable, canary, rescued (canary failed, stable answered), failed
    Column("epoch", BigInteger, nullable=False),  # of the traffic split under which it was answered
    Column("known_age_h", SmallInteger, nullable=False),
    Column("published_at", BigInteger, nullable=False),
    Column("as_of", BigInteger, nullable=False),
    Column("answer", Text, nullable=False),  # {target: {"q10":, "q50":, "q90":}}; {} when failed
    Column("usual", Float),  # what the answer said beside its targets, so that a repeated request gets the same one
    Column("history", Integer),
    Column("warnings", Text),  # JSON list
    Column("features", LargeBinary),  # float32 vector in the order of the signature
    Column("latency_ms", Float, nullable=False),  # of the request
    Column("score_ms", Float),  # of the scoring alone, by the version that was asked first; NULL: it failed
    Column("failure", String(12)),  # of the version asked first: timeout, invalid, gone, error
    Column("pinned", Boolean, nullable=False, server_default=false()),  # a person chose the version
    Column("at", BigInteger, nullable=False),
    Column("request_key", String(128), unique=True),
    Index(None, "channel_id", "post_id"),
    Index(None, "model", "epoch", "channel_id"),
    sqlite_autoincrement=True,
)

# The same request scored by the other version during a roll-out: the pair of a paired comparison.
shadow_score = Table(
    "shadow_score",
    metadata,
    Column("seq", Seq, primary_key=True, autoincrement=True),
    Column("prediction_id", String(32), nullable=False),
    Column("model", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("answer", Text),  # NULL: it failed
    Column("error", Text),
    Column("failure", String(12)),  # as in prediction
    Column("latency_ms", Float, nullable=False),
    Column("score_ms", Float),
    UniqueConstraint("prediction_id", "version"),
    sqlite_autoincrement=True,
)

outcome = Table(
    "outcome",
    metadata,
    Column("seq", Seq, primary_key=True, autoincrement=True),
    Column("prediction_id", String(32), nullable=False),
    Column("target", String(16), nullable=False),
    Column("value", Float, nullable=False),
    Column("known_at", BigInteger, nullable=False),  # time of the reading that settled it
    Column("joined_at", BigInteger, nullable=False),
    UniqueConstraint("prediction_id", "target"),
    sqlite_autoincrement=True,
)

feedback = Table(
    "feedback",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("prediction_id", String(32), nullable=False),
    Column("kind", String(16), nullable=False),  # rating, correction
    Column("target", String(16)),
    Column("value", Float, nullable=False),
    Column("request_key", String(128), nullable=False, unique=True),
    Column("at", BigInteger, nullable=False),
    Column("status", String(16), nullable=False, server_default="accepted"),  # as answered when it was first sent
    Column("observed_at", BigInteger),  # when the person saw it, where they said so
    Index(None, "tenant", "kind", "at"),
)

# What became of feedback items, the refused ones included, which leave no other row.
feedback_tally = Table(
    "feedback_tally",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("status", String(16), primary_key=True),
    Column("n", BigInteger, nullable=False),
)
