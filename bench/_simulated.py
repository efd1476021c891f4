"""Simulated channels as histories in memory, whole or with a fall planted into what is read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from core.clock import DAY
from core.history import ATTRIBUTES, ChannelHistory, Ints
from core.ingest.simulator import SimulatorConfig, simulate
from core.schemas.channels import Channel
from core.store.database import Database
from core.store.ingest import Batch, ChannelRow, IngestWriter, PostRow, SubscriberRow


def histories(config: SimulatorConfig) -> Iterator[ChannelHistory]:
    """Every channel of a configuration, posts in order, exact readings."""
    with tempfile.TemporaryDirectory() as folder:
        simulate(config, Path(folder), "parquet")
        tables = {name: pq.read_table(Path(folder) / f"{name}.parquet") for name in ("posts", "views", "subscribers")}
    names = {name: table["channel"].to_numpy(zero_copy_only=False) for name, table in tables.items()}
    times = {
        ("posts", "published_at"): _seconds(tables["posts"]["published_at"]),
        ("views", "ts"): _seconds(tables["views"]["ts"]),
        ("subscribers", "ts"): _seconds(tables["subscribers"]["ts"]),
    }
    for i in range(config.channels):
        name = f"sim{i + 1:02d}"
        posts, views, subscribers = (names[table] == name for table in ("posts", "views", "subscribers"))
        ids = tables["posts"]["post_id"].to_numpy()[posts]
        owner = tables["views"]["post_id"].to_numpy()[views]
        n = len(ids)
        yield ChannelHistory(
            channel=Channel(i + 1, "default", name, "UTC", "simulator", 1),
            post_ids=ids,
            published_at=times["posts", "published_at"][posts],
            attributes=np.zeros((n, len(ATTRIBUTES))),
            media=np.full(n, None, dtype=object),
            album_ids=np.full(n, -1, dtype=np.int64),
            offsets=np.searchsorted(owner, np.append(ids, ids[-1] + 1)).astype(np.int64),
            reading_ts=times["views", "ts"][views],
            reading_views=tables["views"]["views"].to_numpy()[views].astype(float),
            reading_exact_time=np.ones(len(owner), dtype=bool),
            subscriber_ts=times["subscribers", "ts"][subscribers],
            subscribers=tables["subscribers"]["subscribers"].to_numpy()[subscribers].astype(float),
        )


def read_less(history: ChannelHistory, since: int, share: float) -> ChannelHistory:
    """Everything that is read from a moment on is read `share` as much: the daily views fall at once."""
    first = np.zeros(len(history.reading_ts), dtype=bool)
    first[history.offsets[:-1][np.diff(history.offsets) > 0]] = True
    owner = np.repeat(np.arange(history.n), np.diff(history.offsets))
    gained = np.diff(history.reading_views, prepend=0.0)
    gained[first] = history.reading_views[first]
    begun = np.concatenate([[0], history.reading_ts[:-1]])
    begun[first] = history.published_at[owner[first]]
    after = np.clip((history.reading_ts - since) / np.maximum(history.reading_ts - begun, 1), 0.0, 1.0)
    total = np.cumsum(gained * (1 - after * (1 - share)))
    base = np.concatenate([[0.0], total])[history.offsets[:-1]]
    return replace(history, reading_views=np.rint(total - base[owner]))


def weaker_posts(history: ChannelHistory, since: int, share: float) -> ChannelHistory:
    """Posts published from a moment on get `share` as many views; older ones go on as before."""
    owner = np.repeat(np.arange(history.n), np.diff(history.offsets))
    late = history.published_at[owner] >= since
    return replace(history, reading_views=np.where(late, np.rint(history.reading_views * share), history.reading_views))


def day(config: SimulatorConfig, number: int) -> int:
    """Midnight at which a simulated day begins."""
    return config.start + number * DAY


def _seconds(column: object) -> Ints:
    found: Ints = column.to_numpy().astype("datetime64[s]").astype(np.int64)  # type: ignore[attr-defined]
    return found


def store(history: ChannelHistory, database: Database) -> None:
    """Write a history's rows as an importer would."""
    batch = Batch()
    own = batch.channel(ChannelRow(history.channel.name, history.channel.timezone, history.channel.source))
    times = history.published_at.tolist()
    batch.posts = [PostRow(own, post, at) for post, at in zip(history.post_ids.tolist(), times, strict=True)]
    owner = np.repeat(history.post_ids, np.diff(history.offsets)).tolist()
    readings = zip(owner, history.reading_ts.tolist(), history.reading_views.astype(int).tolist(), strict=True)
    batch.views = [(own, post, ts, views, None, None, 0) for post, ts, views in readings]
    counts = zip(history.subscriber_ts.tolist(), history.subscribers.astype(int).tolist(), strict=True)
    batch.subscribers = [SubscriberRow(own, ts, n) for ts, n in counts]
    IngestWriter(database).write(batch, int(history.reading_ts.max()))
