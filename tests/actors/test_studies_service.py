"""Questions of time and links over a database: answers kept until data or the calendar change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from actors.predictive_intelligence.studies import Studies
from core.cache import Cache
from core.clock import DAY, ManualClock, SystemClock
from core.errors import InvalidInput, NoData, NotConfigured, NotFound
from core.ingest.importer import import_path
from core.ingest.simulator import SimulatorConfig, simulate
from core.store import migrate
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.ingest import Batch, ChannelRow, IngestWriter, SubscriberRow

CONFIG = SimulatorConfig(channels=3, days=70, posts_per_day=1.5, reading_every_h=12.0)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Database:
    """Three simulated channels of seventy days; @bare has nothing."""
    home = tmp_path_factory.mktemp("studies")
    simulate(CONFIG, home / "data")
    database = Database(f"sqlite:///{home}/channels.db")
    migrate.upgrade(database)
    import_path(home / "data", database, clock=SystemClock())
    batch = Batch()
    batch.channel(ChannelRow("@bare", "UTC", "api"))
    IngestWriter(database).write(batch, CONFIG.start)
    return database


@pytest.fixture
def calendar(tmp_path: Path) -> Path:
    file = tmp_path / "days.csv"
    file.write_text("date,name,source,until\n2025-01-20,Fair,https://example.org,2025-01-26\n")
    return file


@pytest.fixture
def studies(stored: Database, calendar: Path) -> Studies:
    return Studies(ChannelStore(stored), ManualClock(CONFIG.start + 70 * DAY), Cache(), calendar)


def test_answers_hold_until_data_arrives(studies: Studies, stored: Database) -> None:
    first = studies.cross_channel()
    assert first.pairs == 3
    assert [each.channel for each in first.left_out] == ["@bare"]
    asked = studies.cache.stats().misses
    assert studies.cross_channel() == first
    assert studies.cache.stats().misses == asked
    batch = Batch()
    own = batch.channel(ChannelRow("@bare", "UTC", "api"))
    batch.subscribers.append(SubscriberRow(own, CONFIG.start, 100))
    IngestWriter(stored).write(batch, CONFIG.start + DAY)
    studies.cross_channel()
    assert studies.cache.stats().misses == asked + 1


def test_growth_is_compared_without_reading_posts(studies: Studies) -> None:
    by_growth, by_views = studies.cross_channel(), studies.cross_channel("views_gained")
    assert by_growth.channels == by_views.channels == ("sim01", "sim02", "sim03")
    assert studies.cross_channel(channels=["sim03", "sim01"]).pairs == 1


def test_a_calendar_that_changes_is_read_again(studies: Studies, calendar: Path) -> None:
    found = studies.context("sim01")
    assert [(f.name, len(f.days)) for f in found.factors] == [("Fair", 7)]
    assert "holiday" in studies.best_times("sim01").controls
    calendar.write_text("date,name,source\n2025-02-03,Other,a law\n")
    os.utime(calendar, (1, 1))
    assert [f.name for f in studies.context("sim01").factors] == ["Other"]
    calendar.unlink()
    with pytest.raises(NotConfigured, match="cannot be read"):
        studies.context("sim01")


def test_mentions_of_stored_channels_have_a_lift(studies: Studies) -> None:
    lifts = studies.mention_lift()
    assert lifts.mentions > 0
    target = lifts.links[0].target
    own = studies.mention_lift(target)
    assert {link.target for link in own.links} == {target}
    names = {rank.channel for rank in studies.influence().ranks}
    assert names <= {f"sim0{i}" for i in range(1, 4)}


def test_what_cannot_be_answered_is_said(studies: Studies) -> None:
    for ask in (studies.best_times, studies.seasonality, studies.context, studies.mention_lift):
        with pytest.raises(NotFound):
            ask("@nobody")
    for ask in (studies.best_times, studies.seasonality, studies.mention_lift):
        with pytest.raises(NoData):
            ask("@bare")
    with pytest.raises(NotConfigured, match="model in service"):
        studies.scenario("sim01", hour=19)
    with pytest.raises(InvalidInput, match="days"):
        studies.seasonality("sim01", days=0)
    with pytest.raises(InvalidInput, match="limit"):
        studies.influence(limit=0)
    with pytest.raises(NotFound, match="@nobody"):
        studies.cross_channel(channels=["sim01", "@nobody"])
