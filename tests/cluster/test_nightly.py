from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from actors.analytics_fusion.actor import Analytics
from actors.analytics_fusion.peers import Peers
from cluster.jobs import nightly
from cluster.jobs.nightly import Shard, analyse, shards
from core.clock import DAY, HOUR, ManualClock, SystemClock
from core.ingest.importer import import_path
from core.ingest.simulator import SimulatorConfig, simulate
from core.schemas.analytics import Overview
from core.schemas.channels import Channel
from core.settings import Settings
from core.store import migrate
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.levels import LevelStore


def channel(number: int, version: int = 1) -> Channel:
    return Channel(number, "default", f"c{number}", "UTC", "simulator", version)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two simulated channels of twelve days, and one that is empty."""
    home = tmp_path_factory.mktemp("home")
    simulate(SimulatorConfig(channels=2, days=12), home / "data")
    made = Settings(home=home)
    database = Database(made.database)
    migrate.upgrade(database)
    import_path(home / "data", database, "default", clock=SystemClock())
    return made


def test_every_channel_is_in_one_shard_whatever_the_order() -> None:
    channels = [channel(i) for i in range(7)]
    cut = shards(channels, size=3)
    assert [len(s.channels) for s in cut] == [3, 3, 1]
    assert cut == shards(channels[::-1], size=3)
    assert shards([]) == ()


def test_a_fingerprint_changes_with_the_data_the_day_and_the_period() -> None:
    shard = Shard(0, (channel(1), channel(2)))
    same = Shard(0, (channel(1), channel(2)))
    newer = Shard(0, (channel(1), channel(2, version=2)))
    assert shard.fingerprint(DAY, 30) == same.fingerprint(DAY, 30)
    prints = {shard.fingerprint(DAY, 30), newer.fingerprint(DAY, 30), shard.fingerprint(2 * DAY, 30)}
    assert len(prints | {shard.fingerprint(DAY, 7)}) == 4


def test_a_shard_holds_every_channels_figures(settings: Settings) -> None:
    (shard,) = shards(ChannelStore(Database(settings.database)).channels())
    until = SimulatorConfig().start + 10 * DAY
    figures, findings, without = analyse(settings, shard, until, 5)
    assert without == 0
    assert {row["channel"] for row in figures} == {c.name for c in shard.channels}
    assert any(row["value"] is not None for row in figures)
    assert all(set(row) == set(nightly._FINDING_COLUMNS) for row in findings)


def test_a_shard_leaves_the_levels_that_cohorts_are_made_of(settings: Settings, tmp_path: Path) -> None:
    database = Database(settings.database)
    (shard,) = shards(ChannelStore(database).channels())
    levels, day = LevelStore(database), SimulatorConfig().start + 10 * DAY
    analyse(settings, shard, day, 6)
    first = levels.all(6)
    analyse(settings, shard, day, 6)
    assert levels.all(6) == first  # done twice is done once
    assert first.keys() == {c.id for c in shard.channels}

    def computed(channel: str, days: int) -> Overview:
        raise AssertionError(f"the figures of {channel} are stored")

    own, *_ = shard.channels
    peers = Peers(ChannelStore(database), levels, ManualClock(day + HOUR))
    member, others, notes = peers.members(own, 6, computed)
    overview = Analytics(database, ManualClock(day)).overview(own.name, 6)
    assert member.figures == {f.metric: f.value for f in overview.figures if f.value is not None}
    assert ([m.channel_id for m in others], notes) == ([c.id for c in shard.channels if c.id != own.id], ())
    analyse(settings, shard, day + DAY, 6)
    analyse(settings, shard, day, 6)  # an old run that goes on late
    assert {level.until for level in levels.all(6).values()} == {day + DAY}
    database.dispose()


def test_a_part_is_whole_current_and_replaced_when_the_data_changed(tmp_path: Path) -> None:
    shard = Shard(3, (channel(1),))
    row = {**nightly._EMPTY_FIGURE, "channel": "c1", "metric": "posts", "value": 2.0, "n": 2}
    assert nightly._is_current(tmp_path, shard, "a") is False
    nightly._write(nightly._part(tmp_path, "anomalies", shard), [], nightly._FINDING_COLUMNS, "a")
    nightly._write(nightly._part(tmp_path, "overview", shard), [row], nightly._FIGURE_COLUMNS, "a")
    assert nightly._is_current(tmp_path, shard, "a")
    assert nightly._is_current(tmp_path, shard, "b") is False
    assert pq.read_table(tmp_path / "overview-0003.parquet").to_pylist()[0]["value"] == 2.0
    nightly._part(tmp_path, "overview", shard).write_bytes(b"cut off")
    assert nightly._is_current(tmp_path, shard, "a") is False


def test_parts_of_channels_that_are_gone_go(tmp_path: Path) -> None:
    for number in range(3):
        nightly._write(tmp_path / f"overview-{number:04d}.parquet", [], nightly._FIGURE_COLUMNS, "a")
    nightly._finish(tmp_path, 2, "2026-01-01", 60)
    assert sorted(p.name for p in tmp_path.glob("*.parquet")) == ["overview-0000.parquet", "overview-0001.parquet"]
    assert json.loads((tmp_path / "done.json").read_text())["channels"] == 60
