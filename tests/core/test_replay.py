from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select

from core.clock import DAY, HOUR
from core.errors import Refused
from core.history import target_values
from core.ingest.replay import Replay
from core.store import schema
from core.store.channels import ChannelStore
from core.store.database import Database, StoredClock
from core.store.ingest import Batch, ChannelRow, IngestWriter, PostRow, SubscriberRow, ViewRow
from tests.databases import empty_sqlite

T0 = 1_735_689_600


@pytest.fixture
def staging(tmp_path: Path) -> Database:
    database = empty_sqlite(tmp_path / "staging.db")
    return database


def _fill(database: Database, *, single: bool = False, posts: int = 20) -> None:
    batch = Batch()
    channel = batch.channel(ChannelRow("a", "UTC", "bundle"))
    for i in range(posts):
        published = T0 + i * 6 * HOUR
        batch.posts.append(PostRow(channel, i, published))
        ages = [posts * 6 - i * 6 + 30] if single else [2, 6, 22, 26, 70, 74]
        batch.views.extend(ViewRow(channel, i, published + age * HOUR, 100 + age) for age in ages)
    batch.subscribers.extend(SubscriberRow(channel, T0 + d * DAY, 1000 + d) for d in range(5))
    IngestWriter(database).write(batch, T0)


def _count(database: Database, table: object) -> int:
    with database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())  # type: ignore[arg-type]


def test_nothing_is_in_the_live_database_before_its_time(staging: Database, database: Database) -> None:
    _fill(staging)
    replay = Replay(staging, database)
    for until in range(T0, T0 + 8 * DAY, 5 * HOUR):
        replay.feed(until, "test")
        with database.read() as connection:
            assert (connection.execute(select(func.max(schema.post.c.published_at))).scalar() or 0) <= until
            assert (connection.execute(select(func.max(schema.post_snapshot.c.ts))).scalar() or 0) <= until
        assert StoredClock(database).now() == until


def test_the_end_of_a_replay_is_the_whole_import(staging: Database, database: Database) -> None:
    _fill(staging)
    replay = Replay(staging, database)
    first, last = replay.span()
    for until in range(first, last + 7 * HOUR, 7 * HOUR):
        replay.feed(until, "test")
    for table in (schema.post, schema.post_snapshot, schema.channel_snapshot):
        assert _count(database, table) == _count(staging, table)


def test_feeding_the_same_time_again_changes_nothing_and_going_on_after_a_kill_loses_nothing(
    staging: Database, database: Database
) -> None:
    _fill(staging)
    Replay(staging, database).feed(T0 + 2 * DAY, "test")
    before = _count(database, schema.event)
    again = Replay(staging, database)  # a new process
    assert again.now() == T0 + 2 * DAY
    assert again.feed(T0 + 2 * DAY, "test").rows == {}
    assert _count(database, schema.event) == before
    again.feed(again.span()[1], "test")
    assert _count(database, schema.post_snapshot) == _count(staging, schema.post_snapshot)


def test_big_spans_are_fed_in_slices_each_with_its_own_time(
    staging: Database, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(staging)
    monkeypatch.setattr("core.ingest.replay.SLICE_ROWS", 10)
    replay = Replay(staging, database)
    report = replay.feed(replay.span()[1], "test")
    assert report.rows["views"] == _count(staging, schema.post_snapshot) == _count(database, schema.post_snapshot)
    assert _count(database, schema.event) > 5


def test_a_single_late_reading_comes_when_its_target_counts_as_known(staging: Database, database: Database) -> None:
    _fill(staging, single=True)
    replay = Replay(staging, database)
    replay.feed(T0 + 3 * DAY, "test")
    store = ChannelStore(database)
    history = store.history(store.channels()[0])
    known = target_values(history, "views_final")
    ripe = history.published_at + DAY <= T0 + 3 * DAY
    assert ripe.any()
    assert (np.isfinite(known.values) == ripe).all()


def test_another_source_does_not_join_a_replay(staging: Database, database: Database) -> None:
    _fill(staging)
    replay = Replay(staging, database)
    replay.feed(T0, "one")
    with pytest.raises(Refused, match="one"):
        replay.feed(T0 + DAY, "two")
