from __future__ import annotations

import random
import threading

import pytest
from sqlalchemy import func, select

from core.schemas.channels import Precision
from core.store import schema
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.events import Outbox
from core.store.ids import channel_id
from core.store.ingest import (
    EVENT_IDS,
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
HOUR = 3600


def batch_of(posts: int = 3, readings: int = 4, name: str = "a", tenant: str = "default") -> Batch:
    batch = Batch(tenant)
    key = batch.channel(ChannelRow(name, "UTC", "bundle", title=f"Channel {name}"))
    for p in range(1, posts + 1):
        batch.posts.append(
            PostRow(key, p, T0 + p * HOUR, text=f"post\t{p}\n\\ é", media="photo", n_links=p, is_ad=p == 1)
        )
        for r in range(readings):
            batch.views.append(ViewRow(key, p, T0 + (p + r) * HOUR, 100 * p + r, forwards=r, replies=None))
        batch.reactions.append(ReactionRow(key, p, T0 + (p + 1) * HOUR, "👍", p))
    batch.subscribers.append(SubscriberRow(key, T0, 1000))
    batch.mentions.append(MentionRow(key, 1, "other", T0 + HOUR))
    return batch


def test_new_rows_are_counted_and_told_in_one_event(database: Database) -> None:
    written = IngestWriter(database).write(batch_of(), at=T0)
    assert {name: c.new for name, c in written.tables.items()} == {
        "posts": 3,
        "views": 12,
        "reactions": 3,
        "subscribers": 1,
        "mentions": 1,
    }
    (event,) = Outbox(database).after(0)
    assert (event.data.posts, event.data.read, event.data.subscribers) == ((1, 2, 3), (1, 2, 3), 1)
    assert (event.data.first_ts, event.data.last_ts) == (T0, T0 + 6 * HOUR)
    assert ChannelStore(database).channel("a").data_version == 1


def test_writing_again_changes_nothing(database: Database) -> None:
    writer = IngestWriter(database)
    writer.write(batch_of(), at=T0)
    again = writer.write(batch_of(), at=T0 + 5)
    assert sum(c.duplicate for c in again.tables.values()) == 20
    assert sum(c.new + c.updated for c in again.tables.values()) == 0
    assert (again.changed, again.events) == ((), 0)
    assert ChannelStore(database).channel("a").data_version == 1
    assert len(Outbox(database).after(0)) == 1


def test_a_changed_reading_is_an_update_and_unknown_values_never_erase_known_ones(database: Database) -> None:
    writer = IngestWriter(database)
    writer.write(batch_of(), at=T0)
    batch = Batch()
    key = batch.channel(ChannelRow("a", "UTC", "bundle"))
    batch.views += [ViewRow(key, 1, T0 + HOUR, 500), ViewRow(key, 2, T0 + 2 * HOUR, None), ViewRow(key, 3, T0, 1)]
    batch.posts.append(PostRow(key, 1, T0 + HOUR))
    written = writer.write(batch, at=T0)
    assert (written.tables["views"].new, written.tables["views"].updated, written.tables["views"].duplicate) == (
        1,
        1,
        1,
    )
    assert written.tables["posts"].duplicate == 1
    assert Outbox(database).after(1)[0].data.read == (1, 3)
    with database.read() as c:
        row = c.execute(select(schema.post_snapshot).where(schema.post_snapshot.c.views == 500)).one()
        assert row.forwards == 0  # kept from the first reading
        assert c.execute(select(schema.post.c.text).where(schema.post.c.post_id == 1)).scalar_one() == "post\t1\n\\ é"


def test_repeated_keys_in_a_batch_keep_the_first_row(database: Database) -> None:
    batch = Batch()
    key = batch.channel(ChannelRow("a", "UTC", "bundle"))
    batch.views += [ViewRow(key, 1, T0, 5), ViewRow(key, 1, T0, 9)]
    counts = IngestWriter(database).write(batch, at=T0).tables["views"]
    assert (counts.new, counts.duplicate) == (1, 1)
    with database.read() as c:
        assert c.execute(select(schema.post_snapshot.c.views)).scalar_one() == 5


def test_any_order_and_any_cut_give_the_same_rows(database: Database) -> None:
    whole = batch_of(posts=12, readings=9)
    rows = list(whole.views)
    random.Random(3).shuffle(rows)
    writer, new, other = IngestWriter(database), 0, 0
    for start in range(0, len(rows), 25):
        part = Batch(channels=dict(whole.channels), views=rows[max(0, start - 5) : start + 25])
        counts = writer.write(part, at=T0).tables["views"]
        new += counts.new
        other += counts.updated
    assert (new, other) == (len(rows), 0)
    with database.read() as c:
        assert c.execute(select(func.count()).select_from(schema.post_snapshot)).scalar_one() == len(rows)


def test_large_arrivals_are_cut_into_small_events(database: Database) -> None:
    IngestWriter(database).write(batch_of(posts=EVENT_IDS + 10, readings=1), at=T0)
    events = Outbox(database).after(0)
    assert [len(e.data.posts) for e in events] == [EVENT_IDS, 10]
    assert sum(e.data.subscribers for e in events) == 1


def test_an_error_leaves_nothing_behind(database: Database) -> None:
    batch = batch_of()
    batch.subscribers.append(SubscriberRow(next(iter(batch.channels)), T0 + 1, None))  # type: ignore[arg-type]
    with pytest.raises(Exception, match=r"(?i)null"):
        IngestWriter(database).write(batch, at=T0)
    assert ChannelStore(database).channels() == ()
    assert Outbox(database).after(0) == ()


def test_two_writers_of_one_channel_count_each_row_once(database: Database) -> None:
    results = []

    def work() -> None:
        results.append(IngestWriter(database).write(batch_of(posts=40), at=T0))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(r.tables["views"].new for r in results) == 160
    assert sum(r.tables["views"].duplicate for r in results) == 320
    assert ChannelStore(database).channel("a").data_version == 1


def test_tenants_keep_their_own_channels_and_events(database: Database) -> None:
    IngestWriter(database).write(batch_of(), at=T0)
    IngestWriter(database, "other").write(batch_of(posts=1, tenant="other"), at=T0)
    ours, theirs = ChannelStore(database), ChannelStore(database, "other")
    assert ours.channel("a").id == channel_id("default", "a") != theirs.channel("a").id
    assert [e.data.posts for e in Outbox(database, "other").after(0)] == [(1,)]


def test_titles_are_filled_in_and_zones_stay(database: Database) -> None:
    writer = IngestWriter(database)
    writer.write(batch_of(), at=T0)
    batch = Batch()
    batch.channel(ChannelRow("a", "Europe/Moscow", "telethon", category="news"))
    assert len(writer.write(batch, at=T0).changed) == 1
    stored = ChannelStore(database).channel("a")
    assert (stored.title, stored.category, stored.timezone, stored.source) == ("Channel a", "news", "UTC", "bundle")


def test_offsets_move_with_the_consumers_own_transaction_and_never_back(database: Database) -> None:
    IngestWriter(database).write(batch_of(), at=T0)
    outbox = Outbox(database)
    with pytest.raises(RuntimeError), database.write() as c:
        outbox.advance(c, "anomaly", 1)
        raise RuntimeError
    assert outbox.offset("anomaly") == 0
    for seq in (1, 0):
        with database.write() as c:
            outbox.advance(c, "anomaly", seq)
    assert (outbox.offset("anomaly"), Outbox(database, "other").offset("anomaly"), outbox.last()) == (1, 0, 1)


def test_precision_is_stored_with_the_reading(database: Database) -> None:
    batch = Batch()
    key = batch.channel(ChannelRow("a", "UTC", "telethon"))
    batch.posts.append(PostRow(key, 1, T0))
    batch.views.append((key, 1, T0 + 10, 5, None, None, int(Precision.TIME_ASSUMED)))
    IngestWriter(database).write(batch, at=T0)
    store = ChannelStore(database)
    assert store.history(store.channel("a")).reading_exact_time.tolist() == [False]
    assert store.totals(store.channel("a")).time_assumed == 1
