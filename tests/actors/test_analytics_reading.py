"""What analytics keeps of a channel, and what it reads again when data arrives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from actors.analytics_fusion.actor import Analytics
from actors.analytics_fusion.reading import Reader
from bench._made_channel import T0, make
from core.clock import DAY, HOUR, ManualClock
from core.schemas.channels import Channel
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.events import Outbox
from core.store.ingest import Batch, ChannelRow, IngestWriter, PostRow

NAN = float("nan")


class Counted(ChannelStore):
    """Counts what is read."""

    whole, parts = 0, ()

    def history(self, channel: Channel, **options: Any) -> Any:
        object.__setattr__(self, "whole", self.whole + 1)
        return super().history(channel, **options)

    def refreshed(self, old: Any, changed: Any) -> Any:
        object.__setattr__(self, "parts", (*self.parts, frozenset(changed)))
        return super().refreshed(old, changed)


@pytest.fixture
def store(sqlite_database: Database) -> Counted:
    IngestWriter(sqlite_database).write(make(20, 4).batch(), T0 + 20 * DAY)
    return Counted(sqlite_database)


def arrive(database: Database, *posts: int) -> None:
    batch = Batch()
    own = batch.channel(ChannelRow("made", "UTC", "bundle"))
    batch.views = [(own, post, T0 + 21 * DAY, 1_000_000 + len(posts), None, None, 0) for post in posts]
    IngestWriter(database).write(batch, T0 + 21 * DAY)


def test_only_posts_that_were_read_are_read_again(store: Counted) -> None:
    reader = Reader(store, Outbox(store.database))
    first = reader.data(store.channel("made"))
    assert reader.data(store.channel("made")) is first
    arrive(store.database, 3, 5)
    second = reader.data(store.channel("made"))
    assert (store.whole, store.parts) == (1, ({3, 5},))
    assert len(second.history.reading_ts) == len(first.history.reading_ts) + 2
    assert second.counts.views[2] == 1_000_002
    arrive(store.database, *range(1, 60))
    reader.data(store.channel("made"))
    assert store.whole == 2  # most of it changed


def test_what_leaves_no_event_is_seen_too(store: Counted) -> None:
    reader = Reader(store, Outbox(store.database))
    before = reader.data(store.channel("made"))
    batch = Batch()
    own = batch.channel(ChannelRow("made", "UTC", "bundle"))
    batch.posts = [PostRow(own, 7, int(before.history.published_at[6]), n_links=4)]
    IngestWriter(store.database).write(batch, T0 + 21 * DAY)
    after = reader.data(store.channel("made"))
    assert (before.history.attributes[6, 2], after.history.attributes[6, 2]) == (
        pytest.approx(float("nan"), nan_ok=True),
        4,
    )
    assert store.parts == (frozenset(),)


def test_many_askers_at_once_read_once(store: Counted) -> None:
    reader, channel = Reader(store, Outbox(store.database)), store.channel("made")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: reader.data(channel), range(24)))
    assert store.whole == 1
    assert len({id(data) for data in found}) == 1


def test_an_answer_after_an_import_is_that_of_a_process_that_never_saw_the_data_before(store: Counted) -> None:
    clock = ManualClock(T0 + 20 * DAY + HOUR)
    running = Analytics(store.database, clock)
    running.overview("made", days=7)
    arrive(store.database, 50, 60, 70)
    assert running.overview("made", days=7) == Analytics(store.database, clock).overview("made", days=7)
    assert running.posts("made") == Analytics(store.database, clock).posts("made")
