"""The development data, where it lies beside the checkout: every importer on what it was written for."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import ImportRefused
from core.history import views_at
from core.ingest.importer import import_path
from core.ingest.replay import Replay
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.migrate import upgrade

pytestmark = pytest.mark.data
CLOCK = ManualClock(time=1_790_000_000)


def test_the_tracked_channels_arrive_within_ten_seconds_and_once(data_dir: Path, database: Database) -> None:
    started = time.monotonic()
    report = import_path(data_dir / "channels" / "tracked", database, clock=CLOCK)
    assert time.monotonic() - started < 10
    assert {k: v.new for k, v in report.tables.items()} == {
        "posts": 2368,
        "views": 46661,
        "reactions": 11373,
        "subscribers": 9418,
        "mentions": 122,
    }
    assert report.refused == []
    assert not import_path(data_dir / "channels" / "tracked", database, clock=CLOCK).changed
    store = ChannelStore(database)
    known = sum(int((views_at(store.history(c), 24 * 3600).known_at < CLOCK.time).sum()) for c in store.channels())
    assert known > 600


def test_all_importable_formats_arrive_and_the_others_are_named(data_dir: Path, sqlite_database: Database) -> None:
    report = import_path(data_dir / "channels", sqlite_database, clock=CLOCK)
    assert len(report.channels) == 29
    assert (report.tables["posts"].new, report.incomplete, report.refused) == (9098, [], [])
    assert any("us_daily.csv" in note or "files more" in note for note in report.notes)


@pytest.mark.parametrize("folder", ["streamers", "facebook", "online-news", "youtube-trending"])
def test_tables_of_other_platforms_are_refused(data_dir: Path, sqlite_database: Database, folder: str) -> None:
    with pytest.raises(ImportRefused, match=r"nothing that can be imported .*Accepted:"):
        import_path(data_dir / "channels" / folder, sqlite_database, clock=CLOCK)


@pytest.mark.parametrize("source", ["tracked", "news-ru"])
def test_a_replay_of_the_real_data_ends_with_all_of_it_in_time(data_dir: Path, tmp_path: Path, source: str) -> None:
    staging, live = (Database(f"sqlite:///{tmp_path / name}.db") for name in ("staging", "live"))
    upgrade(staging)
    upgrade(live)
    import_path(data_dir / "channels" / source, staging, clock=CLOCK)
    replay = Replay(staging, live)
    first, last = replay.span()
    started = time.monotonic()
    for i in range(1, 161):
        replay.feed(first + (last - first) * i // 160, source)
    assert time.monotonic() - started < 15
    for channel in ChannelStore(staging).channels():
        there, here = ChannelStore(staging).totals(channel), ChannelStore(live).totals(channel)
        assert there == here
