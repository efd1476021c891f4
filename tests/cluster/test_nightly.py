from __future__ import annotations

from pathlib import Path

import pytest

from actors.analytics_fusion.actor import Analytics
from actors.analytics_fusion.peers import Peers
from cluster.jobs import nightly
from cluster.jobs.nightly import analyse
from cluster.jobs.parts import shards
from core.clock import DAY, HOUR, ManualClock, SystemClock
from core.ingest.importer import import_path
from core.ingest.simulator import SimulatorConfig, simulate
from core.schemas.analytics import Overview
from core.settings import Settings
from core.store import migrate
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.levels import LevelStore


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


def test_a_shard_holds_every_channels_figures(settings: Settings) -> None:
    (shard,) = shards(ChannelStore(Database(settings.database)).channels())
    until = SimulatorConfig().start + 10 * DAY
    tables = analyse(settings, shard, until, 5)
    figures, findings = tables["overview"], tables["anomalies"]
    assert all(row["metric"] is not None for row in figures)
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
