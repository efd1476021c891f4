"""The service that looks ahead, over a database of simulated channels."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from actors.predictive_intelligence.actor import Intelligence
from actors.predictive_intelligence.ledger import PATIENCE
from core.clock import DAY, ManualClock, SystemClock
from core.errors import InsufficientData, InvalidInput, NoData, NotFound
from core.ingest.importer import import_path
from core.ingest.simulator import SimulatorConfig, simulate
from core.store import migrate
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.ingest import Batch, ChannelRow, IngestWriter, SubscriberRow

CONFIG = SimulatorConfig(channels=3, days=70, posts_per_day=1.0, reading_every_h=8.0)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Database:
    """Three simulated channels of seventy days; @bare has no readings, @young three days of them."""
    home = tmp_path_factory.mktemp("ahead")
    simulate(CONFIG, home / "data")
    database = Database(f"sqlite:///{home}/channels.db")
    migrate.upgrade(database)
    import_path(home / "data", database, clock=SystemClock())
    batch = Batch()
    batch.channel(ChannelRow("@bare", "UTC", "api"))
    young = batch.channel(ChannelRow("@young", "UTC", "api"))
    batch.subscribers += [SubscriberRow(young, CONFIG.start + day * DAY, 100 + day) for day in range(4)]
    IngestWriter(database).write(batch, CONFIG.start)
    return database


@pytest.fixture
def now() -> ManualClock:
    return ManualClock(CONFIG.start + 45 * DAY)


@pytest.fixture
def service(stored: Database, now: ManualClock) -> Intelligence:
    return Intelligence(stored, now)


def test_a_forecast_says_what_it_rests_on(service: Intelligence, now: ManualClock) -> None:
    found = service.forecast("sim01", days=40)
    assert [p.horizon_days for p in found.points] == [1, 7, 14, 30, 40]
    assert now.now() - DAY < found.origin <= now.now()
    for point in found.points:
        assert (point.at - found.origin) // DAY == point.horizon_days
        assert point.lo95 <= point.lo80 <= point.mean <= point.hi80 <= point.hi95
    widths = [p.hi80 - p.lo80 for p in found.points]
    assert widths == sorted(widths)
    assert sum(m.weight for m in found.members) == pytest.approx(1.0)
    assert {a.horizon_days for a in found.backtest} >= {1, 7}
    assert found.last == pytest.approx(found.points[0].mean, rel=0.05)


def test_views_a_day_are_forecast_too(service: Intelligence) -> None:
    found = service.forecast("sim02", "views_gained", 14)
    assert found.unit == "views/day"
    assert all(p.lo80 >= 0 and p.mean > 0 for p in found.points)


def test_what_was_said_is_held_to_what_came(service: Intelligence, now: ManualClock, stored: Database) -> None:
    said = service.forecast("sim03", days=30)
    assert said.past == ()
    assert service.ledger("sim03").pending == len(said.points)
    now.advance(8 * DAY)
    ledger = service.ledger("sim03")
    came = {e.point.horizon_days: e.actual for e in ledger.entries if e.origin == said.origin}
    history = ChannelStore(stored).history(ChannelStore(stored).channel("sim03"))
    at = [said.origin + days * DAY for days in (1, 7)]
    assert [came[1], came[7]] == pytest.approx(np.interp(at, history.subscriber_ts, history.subscribers))
    assert came[14] is came[30] is None
    one = next(a for a in ledger.accuracy if a.horizon_days == 1)
    first = said.points[0]
    assert came[1] is not None
    assert one.n == 1
    assert one.mape == pytest.approx(abs(first.mean - came[1]) / came[1])
    assert one.coverage80 == float(first.lo80 <= came[1] <= first.hi80)
    assert {a.horizon_days for a in service.forecast("sim03", days=30).past} == {1, 7}


def test_the_first_forecast_of_a_day_stands(service: Intelligence) -> None:
    first = service.forecast("sim01")
    before = service.ledger("sim01", limit=1000).entries
    service.forecast("sim01")
    assert service.ledger("sim01", limit=1000).entries == before
    entries = [e for e in service.ledger("sim01").entries if e.origin == first.origin]
    assert len({e.point.horizon_days for e in entries}) == len(entries)


def test_a_day_that_nobody_measured_is_given_up(service: Intelligence, now: ManualClock) -> None:
    now.time = CONFIG.start + 69 * DAY
    said = service.forecast("sim02")
    now.time = said.points[1].at + PATIENCE + DAY
    ledger = service.ledger("sim02")
    assert service.forecast("sim02").notes[-1].endswith("days ahead count from there")
    late = {e.point.horizon_days: e for e in ledger.entries if e.origin == said.origin}
    assert (late[7].actual, late[7].scored_at) == (None, now.time)
    assert ledger.unmeasured >= 1
    service.score_due()
    assert service.score_due() == 0


def test_what_cannot_be_forecast_is_said(service: Intelligence) -> None:
    with pytest.raises(NotFound):
        service.forecast("@nobody")
    with pytest.raises(NoData, match="@bare"):
        service.forecast("@bare")
    with pytest.raises(InsufficientData, match="@young") as few:
        service.forecast("@young")
    assert (few.value.needed, few.value.have) == (8, 3)
    with pytest.raises(InvalidInput, match="use one of subscribers, views_gained"):
        service.forecast("sim01", cast(Any, "reach"))
    for days in (0, 10_000):
        with pytest.raises(InvalidInput, match="between 1 and 365"):
            service.forecast("sim01", days=days)
    assert service.health().status == "ok"
