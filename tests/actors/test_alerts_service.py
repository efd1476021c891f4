"""The alerts service on stored data: raised once, told once, over when it is over, whoever dies in between."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from actors.alerts_fusion import judge as module
from actors.analytics_fusion.actor import Analytics
from bench._made_channel import T0, Plan, make
from core.clock import DAY, HOUR
from core.errors import InsufficientData, InvalidInput, NoData, NotConfigured, NotFound, Refused
from core.schemas.alerts import Escalation, QuietHours, RuleSpec, Target
from core.settings import AlertSettings
from core.store import schema
from core.store.database import Database
from tests.actors.alert_world import AlertWorld, finding

PURGE = Plan(growth=lambda day: -900.0 if day in (30, 31) else 10.0)
LEAVE = RuleSpec(
    "subscribers leave", "threshold", "growth_rate", threshold=-0.01, clear=0.0, channel="made", cool_down_s=0
)


@pytest.fixture
def world(sqlite_database: Database) -> AlertWorld:
    """Thirty days of data, a purge to come."""
    made = AlertWorld(sqlite_database, make(40, 5, PURGE))
    made.feed(T0 + 30 * DAY)
    return made


def test_a_purge_is_raised_goes_on_and_is_over(database: Database) -> None:
    world = AlertWorld(database, make(40, 5, PURGE))
    world.feed(T0 + 30 * DAY)
    world.add(LEAVE)
    assert world.days(30, 31) == []
    (raised,) = world.days(31, 32)
    assert (raised.state, raised.onset, raised.channel) == ("firing", T0 + 30 * DAY, "made")
    assert T0 + 31 * DAY <= raised.raised_at < T0 + 32 * DAY
    assert raised.value == pytest.approx(-0.044, abs=0.002)
    (over,) = world.days(32, 34)
    assert (over.id, over.state) == (raised.id, "resolved")
    assert T0 + 33 * DAY <= (over.resolved_at or 0) < T0 + 34 * DAY
    assert world.told() == [
        "log: [medium] subscribers leave in made",
        "log: [medium] over: subscribers leave in made",
    ]
    assert [d.state for d in world.service().deliveries(raised.id)] == ["sent", "sent"]


def test_small_steps_raise_what_a_backtest_says(world: AlertWorld) -> None:
    world.add(LEAVE)
    (raised,) = world.days(30, 36, step_h=6)
    past = world.service().backtest(LEAVE, 30)
    (one,) = past.channels[0].alerts
    assert past.alerts == 1
    assert (one.at, one.resolved_at) == (raised.onset + DAY, T0 + 33 * DAY)
    assert one.reason.startswith("growth_rate on 2025-01-31: ")
    assert past.per_30_days == pytest.approx(30 / past.channels[0].judged)


def test_killed_before_the_commit_nothing_is_lost_or_doubled(
    world: AlertWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(LEAVE)
    world.days(30, 31)
    world.feed(T0 + 32 * DAY)
    real = module.Outbox.advance

    def killed(self: Any, connection: Connection, consumer: str, seq: int) -> None:
        real(self, connection, consumer, seq)
        raise KeyboardInterrupt

    monkeypatch.setattr(module.Outbox, "advance", killed)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            world.service().catch_up()
    monkeypatch.undo()
    assert world.service().alerts() == ()
    assert world.service().catch_up().raised == 1
    assert world.service().catch_up().raised == 0
    assert len(world.told()) == 1


def test_a_rule_is_judged_from_the_last_day_on_and_history_is_for_backtests(world: AlertWorld) -> None:
    world.days(30, 34)
    world.add(replace(LEAVE, name="later"))
    assert world.service().catch_up().raised == 0
    assert world.days(34, 36) == []
    assert world.service().backtest(LEAVE, 20).alerts == 1


def test_a_service_that_was_away_catches_up_on_the_days_in_between(world: AlertWorld) -> None:
    world.add(LEAVE)
    world.days(30, 30)
    world.service().catch_up()
    world.feed(T0 + 36 * DAY)
    report = world.service().catch_up()
    assert (report.raised, report.resolved) == (1, 1)
    (alert,) = world.service().alerts()
    assert alert.state == "resolved"


def test_one_alert_a_rule_and_channel_at_a_time(world: AlertWorld) -> None:
    growing = Plan(growth=lambda day: 500.0)
    world.made = make(40, 5, growing)
    rule = replace(LEAVE, direction="above", threshold=0.005, clear=0.001)
    world.add(rule)
    found = world.days(30, 38)
    assert [a.state for a in found] == ["firing"]
    assert found[0].until == T0 + 37 * DAY  # brought up to date by each day
    assert len(world.told()) == 1


def test_a_rule_for_every_channel_skips_those_that_cannot_have_its_metric(world: AlertWorld) -> None:
    bare = make(40, 6, PURGE, name="bare")
    bare.subscribers.clear()
    other = AlertWorld(world.database, bare, clock=world.clock, wall=world.wall)
    other.feed(T0 + 30 * DAY)
    world.add(replace(LEAVE, channel=None))
    found = world.days(30, 33)
    assert [a.channel for a in found] == ["made"]
    past = {c.channel: c.missing for c in world.service().backtest(replace(LEAVE, channel=None), 20).channels}
    assert past["made"] is None
    assert "subscribers unavailable from this source" in str(past["bare"])


# ---------------------------------------------------------------- what is refused


def test_a_channel_without_views_says_what_is_missing(world: AlertWorld) -> None:
    bare = make(20, 6, name="bare")
    bare.readings.clear()
    AlertWorld(world.database, bare, clock=world.clock).feed(T0 + 30 * DAY)
    for metric, threshold in (("views_gained", 100.0), ("views_pace", 0.8), ("vtr", 0.1), ("err", 0.01)):
        with pytest.raises(NoData, match="views unavailable from this source"):
            world.add(RuleSpec("r", "threshold", metric, threshold=threshold, channel="bare"))
    with pytest.raises(NotFound, match="@nowhere"):
        world.add(replace(LEAVE, channel="@nowhere"))


def test_a_window_longer_than_the_data_says_how_much_there_is(world: AlertWorld) -> None:
    rule = RuleSpec(
        "r", "change", "views_gained", threshold=-0.3, window_days=30, reference="previous_period", channel="made"
    )
    with pytest.raises(InsufficientData) as gap:
        world.add(rule)
    assert (gap.value.needed, gap.value.details["field"]) == (60, "window_days")
    assert 25 <= gap.value.have <= 30
    with pytest.raises(InsufficientData):
        world.service().backtest(rule)
    with pytest.raises(InsufficientData):
        world.add(replace(rule, channel=None))  # no channel at all has enough
    world.add(replace(rule, window_days=10))


def test_targets_are_looked_at_and_their_addresses_not_shown(world: AlertWorld) -> None:
    with pytest.raises(NotConfigured, match="TELEGRAM_TOKEN"):
        world.add(replace(LEAVE, targets=(Target("telegram", "1"),)))
    hook = Target("webhook", "https://h.example/T0/s3cret")
    world.add(replace(LEAVE, targets=(hook,), escalation=Escalation(30 * DAY, (hook,))))
    (rule,) = world.service().rules("made")
    assert "s3cret" not in repr(rule)
    world.days(30, 32)
    (delivery,) = world.service().deliveries()
    assert delivery.target.address == "https://h.example/…"
    world.service().deliver()
    assert world.out.sent[0][0] == hook


def test_the_same_key_stores_a_rule_once(world: AlertWorld) -> None:
    service = world.service()
    assert service.add_rule(LEAVE, "k").id == service.add_rule(LEAVE, "k").id
    assert len(service.rules()) == 1


# ---------------------------------------------------------------- people


def firing(world: AlertWorld, **changes: Any) -> str:
    world.add(replace(LEAVE, **changes))
    (alert,) = world.days(30, 32)
    return alert.id


def test_acknowledging_stops_the_escalation(world: AlertWorld) -> None:
    alert = firing(world, escalation=Escalation(25 * HOUR, (Target("log", "boss"),)))
    assert world.service().acknowledge(alert, " Ann\n ").acknowledged_by == "Ann"
    assert world.wait(DAY).escalated == 0
    with pytest.raises(InvalidInput):
        world.service().acknowledge(alert, " ")


def test_nobody_acknowledges_and_somebody_else_is_told_once(world: AlertWorld) -> None:
    alert = firing(world, escalation=Escalation(25 * HOUR, (Target("log", "boss"),)))
    assert world.told() == ["log: [medium] subscribers leave in made"]
    world.clock.time = world.service().alert(alert).raised_at + 25 * HOUR - 1
    assert world.wait(0).escalated == 0
    assert world.wait(1).escalated == 1
    assert world.wait(2 * HOUR).escalated == 0
    found = world.service().alert(alert)
    assert (found.severity, found.state) == ("high", "firing")
    assert world.told() == [
        "log: [medium] subscribers leave in made",
        "log: [high] not acknowledged: subscribers leave in made",
    ]


def test_a_snoozed_alert_is_told_again_when_it_is_still_there(world: AlertWorld) -> None:
    alert = firing(world)
    world.told()
    assert world.service().snooze(alert, world.clock.time + HOUR).state == "snoozed"
    world.wait(HOUR - 1)
    assert len(world.told()) == 1
    world.wait(1)
    assert world.told()[1:] == ["log: [medium] still: subscribers leave in made"]


def test_an_end_inside_a_snooze_is_silent(world: AlertWorld) -> None:
    alert = firing(world)
    world.told()
    world.service().snooze(alert, world.clock.time + 20 * DAY)
    world.days(32, 36)
    assert world.service().alert(alert).state == "resolved"
    assert len(world.told()) == 1
    with pytest.raises(Refused):
        world.service().snooze(alert, world.clock.time + 21 * DAY)


def test_a_rule_at_rest_ends_its_alerts_and_goes_on_later(world: AlertWorld) -> None:
    alert = firing(world)
    (rule,) = world.service().rules()
    world.service().switch_rule(rule.id, False)
    ended = world.service().alert(alert)
    assert (ended.state, ended.resolution) == ("resolved", "the rule was switched off")
    assert world.service().switch_rule(rule.id, True).enabled
    found = world.days(32, 33)  # the second day of the purge
    assert [a.state for a in found] == ["firing", "resolved"]
    removed = world.service().remove_rule(rule.id)
    assert not removed.enabled
    assert world.service().rules() == ()
    assert {a.state for a in world.service().alerts()} == {"resolved"}
    with pytest.raises(NotFound):
        world.service().rule(rule.id)


# ---------------------------------------------------------------- quiet hours and digests


NIGHT = QuietHours("20:00", "12:00", "UTC")


def test_what_comes_up_in_quiet_hours_is_told_after_them(world: AlertWorld) -> None:
    firing(world, quiet=NIGHT)
    raised_at = world.service().alerts()[0].raised_at
    assert raised_at % DAY < 12 * HOUR
    world.clock.time = raised_at
    assert world.told() == []
    world.clock.time = raised_at // DAY * DAY + 12 * HOUR
    assert len(world.told()) == 1


def test_a_digest_gathers_what_came_up_in_quiet_hours(world: AlertWorld) -> None:
    quiet = replace(NIGHT, then="digest")
    world.add(replace(LEAVE, quiet=quiet))
    world.add(replace(LEAVE, name="the same again", quiet=quiet))
    world.days(30, 31)
    world.feed(T0 + 31 * DAY + 8 * HOUR)
    assert world.service().catch_up().raised == 2
    assert world.told() == []
    world.clock.time = T0 + 31 * DAY + 12 * HOUR
    assert world.told() == ["log: 2 notices by 2025-02-01 12:00"]
    (_, message) = world.out.sent[0]
    assert [n["alert"]["rule"] for n in json.loads(message.document)["notices"]] == [
        "subscribers leave",
        "the same again",
    ]
    (delivery,) = world.service().deliveries()
    assert (delivery.about, delivery.alert_id) == ("digest", None)


def test_a_daily_digest_comes_once_and_not_for_nothing(world: AlertWorld) -> None:
    world.settings = AlertSettings(digest_at="09:00", digest_timezone="UTC")
    world.out = type(world.out)(world.settings)
    world.add(LEAVE)
    world.days(30, 31)
    assert world.told() == []
    world.days(31, 33)
    assert [t for t in world.told() if "raised," in t] == [
        "log: 1 raised, 0 resolved, 1 open, 2025-01-31 09:00 to 2025-02-01 09:00",
        "log: 0 raised, 0 resolved, 1 open, 2025-02-01 09:00 to 2025-02-02 09:00",
    ]


def test_a_digest_of_a_period_is_answered(world: AlertWorld) -> None:
    firing(world)
    found = world.service().digest(T0 + 31 * DAY)
    assert (found.raised, found.open, found.by_channel) == (1, 1, {"made": 1})
    assert world.service().digest(T0, T0 + DAY).raised == 0
    with pytest.raises(InvalidInput):
        world.service().digest(T0 + DAY, T0)


# ---------------------------------------------------------------- stale data and findings


STALE = RuleSpec("stale", "threshold", "data_age", direction="above", threshold=12.0, channel="made", cool_down_s=0)


def test_a_source_that_stops_is_noticed_without_any_event(world: AlertWorld) -> None:
    world.add(STALE)
    assert world.wait(7 * HOUR).raised == 0  # the last reading came 4 h before the feed's end
    assert world.wait(HOUR + 60).raised == 1
    world.feed(world.clock.time + HOUR)
    assert world.service().catch_up().resolved == 1
    assert "data arrives again" in world.service().alerts()[0].resolution  # type: ignore[operator]
    past = world.service().backtest(replace(STALE, threshold=3.0), 10)
    assert past.alerts > 20  # readings come every 4 hours


def test_findings_raise_one_alert_that_ends_with_the_last_of_them(world: AlertWorld) -> None:
    rule = RuleSpec("odd", "anomaly", direction="either", channel="made", cool_down_s=0)
    world.add(rule)
    now = world.clock.time
    world.anomaly.found = (
        finding("old", now - 20 * DAY),
        finding("small", now, severity="low"),
        finding("other", now, channel="b"),
    )
    assert world.wait(60).raised == 0
    first = finding("f1", now)
    world.anomaly.found = (first,)
    assert world.wait(60).raised == 1
    assert world.wait(60).raised == 0
    second = finding("f2", now + 60, metric="views_gained", direction="up")
    world.anomaly.found = (replace(first, ended=now + 90), second)
    assert world.wait(60).raised == 0
    (alert,) = world.service().alerts()
    assert alert.findings == ("f1", "f2")
    assert alert.state == "firing"
    world.anomaly.found = (replace(first, ended=now + 90), replace(second, ended=now + 200))
    assert world.wait(60).resolved == 1
    assert world.wait(60).raised == 0
    assert len(world.told()) == 2


def test_rules_on_findings_take_their_direction_and_metric(world: AlertWorld) -> None:
    world.add(RuleSpec("falls", "anomaly", "views_gained", channel="made"))
    now = world.clock.time
    world.anomaly.found = (finding("a", now), finding("b", now, metric="views_gained", direction="up"))
    assert world.wait(60).raised == 0
    world.anomaly.found = (finding("c", now, metric="views_gained"),)
    assert world.wait(60).raised == 1


def test_an_anomaly_service_that_is_away_keeps_nothing_else_from_being_judged(world: AlertWorld) -> None:
    world.add(RuleSpec("odd", "anomaly", direction="either"))
    world.add(LEAVE)
    world.anomaly.down = True
    service = world.service()
    for until in (30, 31, 32):
        world.feed(T0 + until * DAY)
        service.catch_up()
    assert [a.rule for a in service.alerts()] == ["subscribers leave"]
    health = service.health()
    assert (health.status, "anomaly_analysis is not running" in health.did) == ("degraded", True)
    world.anomaly.down = False
    world.wall.advance(120)
    service.catch_up()
    assert service.health().status == "ok"


# ---------------------------------------------------------------- the usual rules


def test_the_usual_rules_suit_the_data_and_are_stored_once(sqlite_database: Database) -> None:
    world = AlertWorld(sqlite_database, make(60, 5))
    world.feed(T0 + 60 * DAY)
    found = world.service().add_defaults("made")
    assert {r.spec.metric for r in found.rules} == {"views_pace", "views_gained", "vtr", "growth_rate", "data_age"}
    assert found.left_out == {}
    again = world.service().add_defaults("made")
    assert [r.id for r in again.rules] == [r.id for r in found.rules]
    bare = make(60, 6, name="bare")
    bare.readings.clear()
    AlertWorld(sqlite_database, bare, clock=world.clock).feed(T0 + 60 * DAY)
    partly = world.service().add_defaults("bare")
    assert {r.spec.metric for r in partly.rules} == {"growth_rate", "data_age"}
    assert "views unavailable" in partly.left_out["posts are read less"]
    with pytest.raises(NotFound):
        world.service().add_defaults("@nowhere")


def test_readers_who_stay_away_are_noticed_the_day_after(sqlite_database: Database) -> None:
    world = AlertWorld(sqlite_database, make(66, 5, Plan(reach=lambda day: 0.7 if day >= 60 else 1.0)))
    world.feed(T0 + 58 * DAY)
    world.service().add_defaults("made")
    assert world.days(58, 60) == []
    (alert,) = world.days(60, 61) + world.days(61, 62, step_h=4)
    assert (alert.metric, alert.severity) == ("views_pace", "high")
    assert alert.raised_at < T0 + 62 * DAY


# ---------------------------------------------------------------- the whole of it


def test_health_says_what_it_looked_at_and_that_it_is_behind(world: AlertWorld, tmp_path: Path) -> None:
    world.add(LEAVE)
    health = world.service().health()
    assert (health.status, health.details["rules"]) == ("ok", 1)
    assert health.details["behind"] > 0
    world.service().catch_up()
    assert world.service().health().details["behind"] == 0
    absent = Database(f"sqlite:///{tmp_path / 'absent.db'}")
    world.database = absent
    assert world.service().health().status == "broken"
    absent.dispose()


def test_the_threads_judge_and_deliver_by_themselves(world: AlertWorld) -> None:
    import threading

    from actors.alerts_fusion.actor import Alerts

    world.add(LEAVE)
    world.days(30, 31)
    world.feed(T0 + 32 * DAY)
    sent = threading.Event()
    real = type(world.out).send

    class Signalling(type(world.out)):  # type: ignore[misc]
        def send(self, *args: Any) -> None:
            real(self, *args)
            sent.set()

    service = Alerts(
        world.database,
        world.clock,
        world.anomaly,
        Analytics(world.database, world.clock),
        senders=Signalling(world.settings),
        wall=world.wall,
        tick_s=0.02,
    )
    try:
        assert sent.wait(30)
        assert service.health().status == "ok"
        world.wall.advance(1000)  # the turns do not know of it: they look stuck until they turn again
    finally:
        service.stop()


def test_unwatched_events_move_the_offset_on(world: AlertWorld) -> None:
    report = world.service().catch_up()
    assert report.events > 0
    with world.database.read() as connection:
        assert connection.execute(select(schema.alert_rule.c.id)).all() == []
    assert world.service().health().details["behind"] == 0
