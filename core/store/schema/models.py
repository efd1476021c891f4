"""Model versions, the aliases that name them, and the training queue."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, Text

from core.store.schema.naming import Seq, metadata, version_key

model_version = Table(
    "model_version",
    metadata,
    *version_key(),
    Column("sha256", String(64), nullable=False),
    Column("parent", Integer),
    Column("strategy", String(32), nullable=False),
    Column("signature", Text, nullable=False),
    Column("params", Text, nullable=False),
    Column("metrics", Text, nullable=False),
    Column("lineage", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("request_key", String(64), unique=True),  # makes `register` idempotent
    Column("semantic", String(32), nullable=False, server_default=""),  # MAJOR.MINOR.PATCH (core.semantic)
    Column("pruned_at", BigInteger),  # from then on its artifact may be gone; NULL: it is there
    Index(None, "model", "semantic", unique=True),
)

model_alias = Table(
    "model_alias",
    metadata,
    Column("model", String(64), primary_key=True),
    Column("alias", String(32), primary_key=True),  # champion, challenger, previous
    Column("version", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
)

alias_history = Table(
    "alias_history",
    metadata,
    Column("seq", Seq, primary_key=True, autoincrement=True),
    Column("model", String(64), nullable=False),
    Column("alias", String(32), nullable=False),
    Column("from_version", Integer),
    Column("to_version", Integer),
    Column("generation", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", String(100), nullable=False),
    Column("at", BigInteger, nullable=False),
)

training_task = Table(
    "training_task",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("request_key", String(64), nullable=False, unique=True),
    Column("model", String(64), nullable=False),
    Column("kind", String(16), nullable=False),  # train, tune
    Column("state", String(16), nullable=False),  # queued, running, done, failed, cancelled
    Column("priority", Integer, nullable=False),
    Column("request", Text, nullable=False),
    Column("progress", Text),
    Column("result", Text),
    Column("error", Text),
    Column("reason", String(32)),  # kind of the last failure
    Column("attempt", Integer, nullable=False),
    Column("not_before", BigInteger),  # the machine's clock; NULL: at once
    Column("cancel_requested", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index(None, "state", "priority"),
)
