"""Readings read as texts are the rows that are stored, and a history read in part is the history read anew."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from sqlalchemy import select

from core.clock import DAY, HOUR
from core.history import ChannelHistory
from core.schemas.channels import Channel, Precision
from core.store import schema
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.events import Outbox
from core.store.ingest import Batch, ChannelRow, IngestWriter, PostRow, ReactionRow, SubscriberRow
from core.store.readings import view_readings, view_readings_of

T0 = 1_735_689_600
HUGE = 2**62 + 7  # ids hashed from texts do not fit a float


def same(left: ChannelHistory, right: ChannelHistory) -> None:
    for part in fields(ChannelHistory):
        one, other = getattr(left, part.name), getattr(right, part.name)
        if part.name == "media":
            assert one.tolist() == other.tolist()
        elif part.name != "channel":
            np.testing.assert_array_equal(one, other, err_msg=part.name)
        else:
            assert one == other


@pytest.fixture
def filled(database: Database) -> tuple[Database, Channel]:
    """30 posts, ids not in order of publication, some unread, some read at assumed times, some with both."""
    rng = np.random.default_rng(3)
    batch = Batch()
    own = batch.channel(ChannelRow("a", "UTC", "bundle"))
    other = batch.channel(ChannelRow("b", "UTC", "bundle"))
    ids = [HUGE, *rng.permutation(29).tolist()]
    for i, post in enumerate(ids):
        batch.posts.append(PostRow(own, post, T0 + i * HOUR, media=None if i % 3 else "photo", n_links=i % 2 or None))
        for age in range(i % 5):
            precision = int(Precision.TIME_ASSUMED) if i % 6 == 0 or (i % 7 == 0 and age % 2) else age % 2
            views = None if age == 3 else 10 * age + i
            batch.views.append((own, post, T0 + (i + age + 1) * HOUR, views, age or None, None, precision))
    batch.posts.append(PostRow(other, 1, T0))
    batch.views.append((other, 1, T0 + HOUR, 5, None, None, 0))
    batch.subscribers = [SubscriberRow(own, T0 + d * DAY, 100 + d) for d in range(3)]
    IngestWriter(database).write(batch, T0)
    return database, ChannelStore(database).channel("a")


def test_columns_are_the_stored_rows(filled: tuple[Database, Channel]) -> None:
    database, channel = filled
    table = schema.post_snapshot
    query = (
        select(table.c.post_id, table.c.ts, table.c.views, table.c.precision)
        .where(table.c.channel_id == channel.id, table.c.views.is_not(None))
        .order_by(table.c.post_id, table.c.ts)
    )
    with database.read() as connection:
        rows = np.array(connection.execute(query).all(), dtype=np.int64).T
        found = view_readings(connection, channel.id)
        few = view_readings_of(connection, channel.id, [HUGE, 4, 999])
        none = view_readings_of(connection, channel.id, [])
        late = view_readings(connection, channel.id, published_from=T0 + 20 * HOUR)
        nobody = view_readings(connection, 12345)
    np.testing.assert_array_equal(found[:3], rows[:3])
    np.testing.assert_array_equal(found[3] == Precision.TIME_ASSUMED, rows[3] == Precision.TIME_ASSUMED)
    assert (found[3] == Precision.TIME_ASSUMED).any()
    np.testing.assert_array_equal(few[:3], rows[:3, np.isin(rows[0], [HUGE, 4])])
    assert none.shape == nobody.shape == (4, 0)
    assert 0 < late.shape[1] < found.shape[1]


def test_a_history_read_in_part_is_the_history_read_anew(filled: tuple[Database, Channel]) -> None:
    database, channel = filled
    store, outbox = ChannelStore(database), Outbox(database)
    before, seq = store.history(channel), outbox.last()
    batch = Batch()
    own = batch.channel(ChannelRow("a", "UTC", "bundle"))
    other = batch.channel(ChannelRow("b", "UTC", "bundle"))
    batch.posts = [PostRow(own, 700, T0 + 5 * HOUR + 1, media="video"), PostRow(own, 4, T0 - HOUR)]
    batch.views = [
        (own, 700, T0 + 9 * HOUR, 70, None, None, 0),
        (own, HUGE, T0 + 30 * HOUR, 99, None, None, 0),
        (own, 12, T0 + 1, 1, None, None, 0),
        (other, 1, T0 + 2 * HOUR, 6, None, None, 0),
    ]
    batch.subscribers = [SubscriberRow(own, T0 + 9 * DAY, 200)]
    IngestWriter(database).write(batch, T0 + 40 * HOUR)
    last, changed = outbox.reread(channel.id, seq)
    assert changed == {700, HUGE, 12}
    assert last == outbox.last()
    same(store.refreshed(before, changed), store.history(channel))
    assert outbox.reread(channel.id, last) == (last, frozenset())
    same(store.refreshed(store.history(channel), ()), store.history(channel))


def test_counts_are_each_posts_newest(database: Database) -> None:
    batch = Batch()
    own = batch.channel(ChannelRow("a", "UTC", "bundle"))
    batch.posts = [PostRow(own, 2, T0), PostRow(own, HUGE, T0 + 1), PostRow(own, 1, T0 + 2)]
    batch.views = [
        (own, 2, T0 + 10, 5, 3, None, 0),
        (own, 2, T0 + 20, 9, None, 1, 0),
        (own, 1, T0 + 10, None, 4, None, 0),
    ]
    batch.reactions = [
        ReactionRow(own, 2, T0 + 10, "a", 50),
        ReactionRow(own, 2, T0 + 20, "a", 2),
        ReactionRow(own, 2, T0 + 20, "b", 1),
        ReactionRow(own, HUGE, T0 + 5, "a", 7),
    ]
    IngestWriter(database).write(batch, T0)
    store = ChannelStore(database)
    found = store.counts(store.channel("a"))
    assert found.post_ids.tolist() == [2, HUGE, 1]
    nan = float("nan")
    np.testing.assert_array_equal(found.views, [9, nan, nan])
    np.testing.assert_array_equal(found.forwards, [3, nan, 4])
    np.testing.assert_array_equal(found.replies, [1, nan, nan])
    np.testing.assert_array_equal(found.reactions, [3, 7, nan])
    early = store.counts(store.channel("a"), as_of=T0 + 15)
    np.testing.assert_array_equal(early.views, [5, nan, nan])
    np.testing.assert_array_equal(early.reactions, [50, 7, nan])
