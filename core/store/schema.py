"""Every table, once, for SQLite and PostgreSQL alike; migrations are checked against it.

Times are epoch seconds (BigInteger); JSON documents are text written by `core.codec`. Identities that leave the
database (channel_id, prediction.id, ...) are derived or random, never counted, so that two databases do not collide.
`seq` columns order rows by commit: a consumer that stores the last one it read misses nothing (see `Database.append`).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts by itself only in INTEGER PRIMARY KEY.
Seq = BigInteger().with_variant(Integer, "sqlite")

# ---------------------------------------------------------------- who

tenant = Table(
    "tenant",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("created_at", BigInteger, nullable=False),
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("scopes", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
)

# ---------------------------------------------------------------- what was observed

channel = Table(
    "channel",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # core.store.ids.channel_id(tenant, name)
    Column("tenant", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("title", Text),
    Column("category", String(100)),
    Column("timezone", String(64), nullable=False),
    Column("source", String(32), nullable=False),  # bundle, telegram-desktop, telethon, flat-csv, simulator, api
    Column("created_at", BigInteger, nullable=False),
    Column("data_version", BigInteger, nullable=False),  # grows with every write that concerns the channel
    UniqueConstraint("tenant", "name"),
)

post = Table(
    "post",
    metadata,
    Column("channel_id", BigInteger, primary_key=True, autoincrement=False),
    Column("post_id", BigInteger, primary_key=True, autoincrement=False),
    Column("published_at", BigInteger, nullable=False),
    Column("text", Text),
    Column("media", String(24)),  # none, photo, video, audio, document, poll, webpage, other; NULL: not known
    Column("text_len", Integer),
    Column("n_words", Integer),
    Column("n_links", Integer),
    Column("n_hashtags", Integer),
    Column("n_mentions", Integer),
    Column("n_emoji", Integer),
    Column("n_lines", Integer),
    Column("has_question", Boolean),
    Column("is_ad", Boolean),
    Column("is_forward", Boolean),
    Column("album_id", BigInteger),  # posts of one album share it; the album counts once
    Index(None, "channel_id", "published_at"),
    sqlite_with_rowid=False,
)

post_snapshot = Table(
    "post_snapshot",
    metadata,
    Column("channel_id", BigInteger, primary_key=True, autoincrement=False),
    Column("post_id", BigInteger, primary_key=True, autoincrement=False),
    Column("ts", BigInteger, primary_key=True, autoincrement=False),  # when it was read
    Column("views", BigInteger),
    Column("forwards", BigInteger),
    Column("replies", BigInteger),  # NULL: comments off or not known
    Column("precision", SmallInteger, nullable=False),  # core.schemas.channels.Precision
    Index(None, "channel_id", "ts"),
    sqlite_with_rowid=False,
)

reaction_snapshot = Table(
    "reaction_snapshot",
    metadata,
    Column("channel_id", BigInteger, primary_key=True, autoincrement=False),
    Column("post_id", BigInteger, primary_key=True, autoincrement=False),
    Column("ts", BigInteger, primary_key=True, autoincrement=False),
    Column("reaction", String(64), primary_key=True),
    Column("count", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

channel_snapshot = Table(
    "channel_snapshot",
    metadata,
    Column("channel_id", BigInteger, primary_key=True, autoincrement=False),
    Column("ts", BigInteger, primary_key=True, autoincrement=False),
    Column("subscribers", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

mention = Table(
    "mention",
    metadata,
    Column("src_channel_id", BigInteger, primary_key=True, autoincrement=False),
    Column("post_id", BigInteger, primary_key=True, autoincrement=False),
    Column("dst_name", String(200), primary_key=True),
    Column("published_at", BigInteger, nullable=False),
    Index(None, "dst_name"),
    sqlite_with_rowid=False,
)

ingest_batch = Table(
    "ingest_batch",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("source", Text, nullable=False),
    Column("format", String(32), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("report", Text),  # core.ingest.report.ImportReport as JSON
)

# The transactional outbox: written with the rows that it tells about, read by each consumer after its own offset.
event = Table(
    "event",
    metadata,
    Column("seq", Seq, primary_key=True, autoincrement=True),
    Column("tenant", String(64), nullable=False),
    Column("channel_id", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("payload", Text, nullable=False),  # core.schemas.channels.DataArrived as JSON
)

consumer_offset = Table(
    "consumer_offset",
    metadata,
    Column("consumer", String(64), primary_key=True),
    Column("seq", BigInteger, nullable=False),
)

# One row: the time of a replay, written with the data fed up to then (core.store.database.StoredClock reads it).
replay_clock = Table(
    "replay_clock",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("now", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("state", Text, nullable=False),
)

# ---------------------------------------------------------------- models

model_version = Table(
    "model_version",
    metadata,
    Column("model", String(64), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
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

# ---------------------------------------------------------------- predictions and what became of them

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

metric_point = Table(
    "metric_point",
    metadata,
    Column("model", String(64), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
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
    Column("model", String(64), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
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
    Column("model", String(64), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
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

# ---------------------------------------------------------------- roll-outs and workflows

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

# ---------------------------------------------------------------- channel findings

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
