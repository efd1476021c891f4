from __future__ import annotations

import numpy as np
import pytest

from core.clock import HOUR
from core.errors import NotFound
from core.history import ATTRIBUTES, ChannelHistory, HistoryBuilder, reading_known_at
from core.schemas.channels import Channel
from core.store.channels import ChannelStore, Mention
from core.store.database import Database
from core.store.ingest import (
    Batch,
    ChannelRow,
    IngestWriter,
    MentionRow,
    PostRow,
    ReactionRow,
    SubscriberRow,
    ViewRow,
)

T0 = 1_735_689_600
BIG = 2**62 + 12345  # a post id that a float could not hold


def fill(database: Database) -> Channel:
    batch = Batch()
    a = batch.channel(ChannelRow("a", "Europe/Moscow", "bundle", title="A", category="news"))
    b = batch.channel(ChannelRow("b", "UTC", "bundle"))
    batch.posts += [
        PostRow(a, 7, T0 + 2 * HOUR, text="hello", text_len=5, has_question=False, is_ad=True, media="photo"),
        PostRow(a, BIG, T0 + HOUR, text_len=9, album_id=4),
        PostRow(a, 9, T0 + 2 * HOUR),
        PostRow(b, 1, T0),
    ]
    batch.views += [
        ViewRow(a, 7, T0 + 6 * HOUR, 30, 3, None),
        ViewRow(a, 7, T0 + 3 * HOUR, 10, 1, 2),
        ViewRow(a, BIG, T0 + 3 * HOUR, 20),
        ViewRow(a, BIG, T0 + 9 * HOUR, None, 5),
        ViewRow(a, 404, T0 + 3 * HOUR, 99),  # a post that nobody described
        ViewRow(b, 1, T0 + HOUR, 1),
    ]
    batch.reactions += [
        ReactionRow(a, 7, T0 + 3 * HOUR, "👍", 5),
        ReactionRow(a, 7, T0 + 3 * HOUR, "👎", 1),
        ReactionRow(a, 7, T0 + 6 * HOUR, "👍", 8),
    ]
    batch.subscribers += [SubscriberRow(a, T0 + 5 * HOUR, 110), SubscriberRow(a, T0, 100)]
    batch.mentions += [MentionRow(a, 7, "b", T0 + 2 * HOUR), MentionRow(b, 1, "a", T0)]
    IngestWriter(database).write(batch, at=T0)
    return ChannelStore(database).channel("a")


def same(one: ChannelHistory, other: ChannelHistory) -> None:
    for name in ("post_ids", "published_at", "attributes", "album_ids", "offsets", "reading_ts", "reading_views"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in ("reading_exact_time", "subscriber_ts", "subscribers"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.counts.keys() == other.counts.keys()
    for metric, readings in one.counts.items():
        for name in ("offsets", "ts", "values", "exact_time"):
            np.testing.assert_array_equal(getattr(readings, name), getattr(other.counts[metric], name), err_msg=metric)
    assert one.media.tolist() == other.media.tolist()


def test_history_equals_the_one_built_row_by_row(database: Database) -> None:
    channel = fill(database)
    expected = HistoryBuilder(channel)
    expected.post(7, T0 + 2 * HOUR, {"text_len": 5, "has_question": False, "is_ad": True}, "photo")
    expected.post(BIG, T0 + HOUR, {"text_len": 9}, album_id=4)
    expected.post(9, T0 + 2 * HOUR)
    expected.reading(7, T0 + 3 * HOUR, 10)
    expected.reading(7, T0 + 6 * HOUR, 30)
    expected.reading(BIG, T0 + 3 * HOUR, 20)
    expected.subscribers = {T0: 100, T0 + 5 * HOUR: 110}
    history = ChannelStore(database).history(channel)
    same(history, expected.build())
    expected.count("forwards", 7, T0 + 3 * HOUR, 1)
    expected.count("forwards", 7, T0 + 6 * HOUR, 3)
    expected.count("forwards", BIG, T0 + 9 * HOUR, 5)
    expected.count("reactions", 7, T0 + 3 * HOUR, 6)
    expected.count("reactions", 7, T0 + 6 * HOUR, 8)
    same(ChannelStore(database).history(channel, counts=True), expected.build())
    assert history.post_ids.tolist() == [BIG, 7, 9]
    assert history.attributes[1, ATTRIBUTES.index("has_question")] == 0


def test_an_empty_channel_has_an_empty_history(database: Database) -> None:
    batch = Batch()
    batch.channel(ChannelRow("empty", "UTC", "api"))
    IngestWriter(database).write(batch, at=T0)
    store = ChannelStore(database)
    history = store.history(store.channel("empty"))
    assert (history.n, len(history.reading_ts), history.offsets.tolist()) == (0, 0, [0])
    assert history.attributes.shape == (0, len(ATTRIBUTES))
    assert store.history(store.channel("empty"), last_posts=5, as_of=T0).n == 0
    assert store.totals(store.channel("empty")).last_reading is None
    assert store.counts(store.channel("empty")).post_ids.tolist() == []


def test_the_newest_posts_come_with_their_own_readings_only(database: Database) -> None:
    channel = fill(database)
    history = ChannelStore(database).history(channel, last_posts=2)
    assert history.post_ids.tolist() == [7, 9]
    assert history.offsets.tolist() == [0, 2, 2]
    assert history.reading_views.tolist() == [10, 30]
    counted = ChannelStore(database).history(channel, last_posts=2, counts=True).counts
    assert counted["forwards"].values.tolist() == [1, 3]
    assert counted["reactions"].offsets.tolist() == [0, 2, 2]


def test_what_came_later_is_left_out(database: Database) -> None:
    channel = fill(database)
    history = ChannelStore(database).history(channel, as_of=T0 + 4 * HOUR)
    assert history.reading_views.tolist() == [20, 10]
    assert history.subscribers.tolist() == [100]
    assert ChannelStore(database).history(channel, as_of=T0 + HOUR).post_ids.tolist() == [BIG]
    counted = ChannelStore(database).history(channel, as_of=T0 + 4 * HOUR, counts=True).counts
    assert {metric: readings.values.tolist() for metric, readings in counted.items()} == {
        "forwards": [1],
        "reactions": [6],
    }


def test_a_single_late_reading_counts_as_known_from_the_targets_age_on(database: Database) -> None:
    batch = Batch()
    key = batch.channel(ChannelRow("news", "UTC", "flat-csv"))
    scraped = T0 + 100 * HOUR
    batch.posts += [PostRow(key, 1, T0), PostRow(key, 2, scraped - 5 * HOUR)]
    batch.views += [ViewRow(key, 1, scraped, 10), ViewRow(key, 2, scraped, 20)]
    IngestWriter(database).write(batch, at=T0)
    store = ChannelStore(database)
    channel = store.channel("news")
    assert reading_known_at(store.history(channel)).tolist() == [T0 + 24 * HOUR, scraped]
    assert len(store.history(channel, as_of=T0 + 24 * HOUR - 1).reading_ts) == 0
    assert store.history(channel, as_of=T0 + 24 * HOUR).reading_views.tolist() == [10]


def test_counts_are_the_newest_of_each_kind(database: Database) -> None:
    channel = fill(database)
    store = ChannelStore(database)
    counts = store.counts(channel)
    assert counts.post_ids.tolist() == store.history(channel).post_ids.tolist() == [BIG, 7, 9]
    np.testing.assert_array_equal(counts.views, [20, 30, np.nan])
    np.testing.assert_array_equal(counts.forwards, [5, 3, np.nan])
    np.testing.assert_array_equal(counts.replies, [np.nan, 2, np.nan])
    np.testing.assert_array_equal(counts.reactions, [np.nan, 8, np.nan])
    earlier = store.counts(channel, as_of=T0 + 4 * HOUR)
    np.testing.assert_array_equal(earlier.views, [20, 10, np.nan])
    np.testing.assert_array_equal(earlier.reactions, [np.nan, 6, np.nan])
    assert store.reactions(channel) == {7: {"👍": 8}}


def test_texts_totals_and_mentions(database: Database) -> None:
    channel = fill(database)
    store = ChannelStore(database)
    assert store.posts.texts(channel, [7, 9, *range(2000, 3200)]) == {7: "hello"}
    totals = store.totals(channel)
    assert (totals.posts, totals.posts_with_views, totals.view_readings) == (3, 3, 4)
    assert (totals.subscriber_readings, totals.reactions, totals.mentions) == (2, 3, 1)
    assert (totals.first_post, totals.last_post, totals.last_reading) == (T0 + HOUR, T0 + 2 * HOUR, T0 + 9 * HOUR)
    assert store.mentions(channel) == (Mention("b", 1, "a", T0), Mention("a", 7, "b", T0 + 2 * HOUR))


def test_unknown_channels_and_other_tenants_are_not_found(database: Database) -> None:
    channel = fill(database)
    store, stranger = ChannelStore(database), ChannelStore(database, "stranger")
    assert store.by_id(channel.id) == channel
    assert store.version(channel.id) == 1
    assert [c.name for c in store.channels()] == ["a", "b"]
    assert stranger.channels() == ()
    for call in (
        lambda: store.channel("zzz"),
        lambda: store.version(5),
        lambda: stranger.channel("a"),
        lambda: stranger.by_id(channel.id),
        lambda: stranger.version(channel.id),
        lambda: stranger.history(channel),
    ):
        with pytest.raises(NotFound):
            call()
