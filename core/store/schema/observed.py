"""What was observed: tenants and their keys, channels, posts and readings, and the outbox that tells about them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, SmallInteger, String, Table, Text, UniqueConstraint

from core.store.schema.naming import Seq, metadata, post_key

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
    *post_key(),
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
    *post_key(),
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
    *post_key(),
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
