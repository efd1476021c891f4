"""Rules and schedules that cannot work: each is refused with a typed answer that says what would do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import SecretStr

from bench._made_channel import T0, Plan, make
from core.clock import DAY
from core.delivery.senders import Senders
from core.errors import InsufficientData, InvalidInput, NoData, Refused
from core.schemas.alerts import QuietHours, RuleSpec, Target
from core.schemas.report_schedules import ReportSpec
from core.settings import AlertSettings
from core.store.database import Database
from tests.actors.alert_world import AlertWorld

FALL = RuleSpec("fall", "change", "views_gained", threshold=-0.3, window_days=5, reference="previous_period")
FEW = Plan(posts=lambda day: 1)
PRIVATE = (Target("webhook", "http://169.254.169.254/latest/meta-data"),)


@pytest.fixture
def world(sqlite_database: Database) -> AlertWorld:
    """Channels of fourteen and of four days, and one of which nobody reads the views; targets are really checked."""
    made = AlertWorld(sqlite_database, make(14, 5, FEW))
    made.out = Senders(AlertSettings(webhook_secret=SecretStr("s")))  # type: ignore[assignment]
    made.feed(T0 + 14 * DAY)
    short, unread = make(14, 6, FEW, name="short"), make(14, 7, FEW, name="unread")
    unread.readings.clear()
    AlertWorld(sqlite_database, short, clock=made.clock, fed=T0 + 10 * DAY).feed(T0 + 14 * DAY)
    AlertWorld(sqlite_database, unread, clock=made.clock).feed(T0 + 14 * DAY)
    return made


def test_an_unknown_metric_is_answered_with_those_that_there_are(world: AlertWorld) -> None:
    with pytest.raises(InvalidInput, match="views_gained") as wrong:
        world.add(replace(FALL, metric="charisma"))
    assert wrong.value.details["field"] == "metric"
    assert world.service().rules() == ()


def test_a_window_longer_than_the_data_says_what_is_needed_and_there(world: AlertWorld) -> None:
    with pytest.raises(InsufficientData) as gap:  # when the rule is made ...
        world.add(replace(FALL, channel="short"))
    assert (gap.value.needed, gap.value.details["field"]) == (10, "window_days")
    assert 2 <= gap.value.have <= 4
    world.add(replace(FALL, channel=None))  # one channel has enough ...
    tried = {c.channel: c.missing for c in world.service().backtest(replace(FALL, channel=None), 3).channels}
    assert tried["made"] is None  # ... and of the other it is said where it is judged
    assert f"needed 10, have {gap.value.have:g}" in str(tried["short"])
    assert world.service().catch_up().raised == 0


def test_a_threshold_in_the_wrong_unit_is_answered_with_the_right_one(world: AlertWorld) -> None:
    for rule, hint in (
        (RuleSpec("r", "threshold", "vtr", threshold=30.0), 0.3),
        (replace(FALL, threshold=-30.0), -0.3),
    ):
        with pytest.raises(InvalidInput) as wrong:
            world.add(replace(rule, channel="made"))
        assert (wrong.value.details["field"], wrong.value.details["hint"]) == ("threshold", hint)


def test_a_time_zone_that_does_not_exist_is_named(world: AlertWorld) -> None:
    with pytest.raises(InvalidInput, match="Europe/Nowhere"):
        world.add(replace(FALL, channel="made", quiet=QuietHours("22:00", "08:00", "Europe/Nowhere")))
    with pytest.raises(InvalidInput, match="Europe/Nowhere"):
        world.service().schedule_report(ReportSpec("r", ("made",), timezone="Europe/Nowhere"), "k")
    assert world.service().report_schedules() == ()


def test_a_webhook_to_a_private_address_is_refused_unless_allowed(world: AlertWorld) -> None:
    rule, report = replace(FALL, channel="made", targets=PRIVATE), ReportSpec("r", ("made",), targets=PRIVATE)
    for made in (lambda: world.add(rule), lambda: world.service().schedule_report(report, "k")):
        with pytest.raises(Refused, match="not a public address") as refused:
            made()
        assert "meta-data" not in refused.value.message
    world.out = Senders(AlertSettings(webhook_secret=SecretStr("s"), allow_private=True))  # type: ignore[assignment]
    world.add(rule)
    world.service().schedule_report(report, "k")


@pytest.mark.parametrize("metric", ["views_gained", "views_pace", "vtr"])
def test_a_channel_without_views_says_what_its_source_lacks(world: AlertWorld, metric: str) -> None:
    with pytest.raises(NoData, match="views unavailable from this source"):
        world.add(
            RuleSpec("r", "threshold", metric, threshold=0.5 if metric != "views_gained" else 5.0, channel="unread")
        )
    with pytest.raises(NoData, match="views unavailable from this source"):
        world.add(RuleSpec("r", "competitor_post", channels=("unread",), overperforms=2.0))
