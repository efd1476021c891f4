"""Rules on forecasts: a day beside the band that was forecast for it, and the ledger that they keep going."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, cast

import pytest
from sqlalchemy import Connection

from actors.alerts_fusion.actor import Alerts
from actors.alerts_fusion.measure import clear_level, half_widths
from actors.alerts_fusion.samples import forecast_days
from actors.alerts_fusion.validation import checked
from actors.analytics_fusion.actor import Analytics
from actors.predictive_intelligence import ledger
from actors.predictive_intelligence.actor import Intelligence
from bench._made_channel import T0, Plan, make
from core.buckets import day_start, local_date
from core.clock import DAY, HOUR
from core.errors import AnalyticBotError, InsufficientData, InvalidInput, NoData, ServiceUnavailable
from core.protocols import IntelligenceService
from core.schemas.alerts import Alert, RuleSpec
from core.schemas.forecasts import Forecast, ForecastMetric, ForecastPoint
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.events import Outbox
from core.store.forecasts import ForecastStore
from core.store.series import SeriesStates
from tests.actors.alert_world import AlertWorld

PURGE = Plan(posts=lambda day: 1, growth=lambda day: -900.0 if day in (10, 11) else 10.0)
FEWER = RuleSpec("fewer than forecast", "forecast", "subscribers", channel="made", cool_down_s=0, horizon_days=7)


def expected(mean: float, half: float = 500.0) -> ForecastPoint:
    return ForecastPoint(7, 0, mean, mean - half / 2, mean + half / 2, mean - half, mean + half)


@dataclass
class Foretelling:
    """The service that looks ahead with answers that are set: errors by channel."""

    trouble: dict[str, AnalyticBotError] = field(default_factory=dict)
    asked: list[tuple[str, str, int]] = field(default_factory=list)

    def forecast(self, channel: str, metric: str, days: int) -> None:
        self.asked.append((channel, metric, days))
        if channel in self.trouble:
            raise self.trouble[channel]


class World(AlertWorld):
    """Also asks for forecasts."""

    ahead: Any = None
    shards: int = 1

    def part(self, shard: int) -> Alerts:
        return Alerts(
            self.database, self.clock, self.anomaly, Analytics(self.database, self.clock), self.settings,
            intelligence=cast(IntelligenceService, self.ahead), senders=self.out, wall=self.wall, seed=7,
            autostart=False, shard=shard, shards=self.shards,
        )  # fmt: skip

    def service(self) -> Alerts:
        return self.part(0)

    def days(self, first: int, last: int, step_h: int = 24) -> list[Alert]:
        """From 8 o'clock of each day on, when the day before can be judged."""
        for until in range(T0 + first * DAY + 8 * HOUR, T0 + last * DAY, step_h * HOUR):
            self.feed(until)
            for shard in range(self.shards):
                self.part(shard).catch_up()
                self.part(shard).ask_forecasts()
        return list(self.service().alerts())

    def say(self, day: int, mean: float, channel: str = "made", made_at: int | None = None) -> None:
        """A forecast of a day, given when the day 7 days before was over."""
        store, found = ForecastStore(self.database), ChannelStore(self.database).channel(channel)
        origin = T0 + (day - 6) * DAY
        point = replace(expected(mean), at=T0 + (day + 1) * DAY)
        said = Forecast(channel, "subscribers", "subscribers", origin, mean, (point,), (), ())
        store.add(found.id, said, origin + 4 * HOUR if made_at is None else made_at)


@pytest.fixture
def world(sqlite_database: Database) -> World:
    """Ten days of data, a purge to come that no forecast knew; what was said later knows it."""
    made = World(sqlite_database, make(16, 5, PURGE))
    made.feed(T0 + 10 * DAY)
    for day in (*range(8, 12), 13, 14):
        made.say(day, 20_000 + 10 * day - (1800 if day > 12 else 0))
    return made


# ---------------------------------------------------------------- the measure


def test_the_half_widths_of_a_band_are_measured_each_for_itself() -> None:
    point = replace(expected(100.0), lo95=80.0, hi95=150.0)
    assert [half_widths(value, point) for value in (80.0, 70.0, 100.0, 125.0)] == [-1.0, -1.5, 0.0, 0.5]
    assert half_widths(5.0, replace(point, mean=0.0, lo95=0.0, hi95=0.0)) is None
    assert half_widths(0.0, replace(point, mean=0.0, lo95=0.0, hi95=0.0)) == 0.0


def test_the_bound_is_the_edge_unless_given_and_the_alert_ends_half_way_back() -> None:
    below = checked(replace(FEWER, metric="participants_count"), lambda _: None)
    assert (below.metric, below.threshold, clear_level(below)) == ("subscribers", -1.0, -0.5)
    above = checked(replace(FEWER, direction="above", threshold=2.0, clear=1.5), lambda _: None)
    assert (above.threshold, clear_level(above)) == (2.0, 1.5)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"metric": "vtr"}, "metric"),
        ({"metric": None}, "metric"),
        ({"horizon_days": 60}, "horizon_days"),
        ({"horizon_days": 3}, "horizon_days"),
        ({"direction": "either"}, "direction"),
        ({"threshold": 1.0}, "threshold"),
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": -21.0}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"clear": -1.5}, "clear"),
        ({"window_days": 7}, "window_days"),
        ({"noise": 3.0}, "noise"),
        ({"kind": "threshold", "threshold": 5.0, "horizon_days": 14}, "horizon_days"),
        ({"kind": "anomaly", "horizon_days": 14}, "horizon_days"),
    ],
)
def test_rules_that_cannot_work_are_refused_by_field(changes: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidInput) as wrong:
        checked(replace(FEWER, **changes), lambda _: None)
    assert wrong.value.details["field"] == name


@pytest.mark.parametrize("metric", ["subscribers", "views_gained"])
def test_a_days_value_is_the_one_that_forecasts_are_held_to(metric: ForecastMetric) -> None:
    history = make(20, 3).history()
    history = replace(history, channel=replace(history.channel, timezone="Europe/Berlin"))
    first = local_date("Europe/Berlin", T0 + 9 * DAY).toordinal()
    ends = [day_start("Europe/Berlin", date.fromordinal(first + 1 + k)) for k in range(5)]
    found = forecast_days(history, (), metric, first, first + 4)
    assert found.day.tolist() == [first + k for k in range(5)]
    assert found.value.tolist() == [ledger.measured(history, metric, end) for end in ends]


# ---------------------------------------------------------------- the service on a ledger


def test_a_breach_is_raised_once_and_over_when_a_forecast_is_right_again(world: World) -> None:
    world.add(FEWER)
    assert world.days(10, 11) == []
    (raised,) = world.days(11, 12)
    assert (raised.kind, raised.state, raised.onset) == ("forecast", "firing", T0 + 10 * DAY)
    assert raised.reference == 20_100.0
    assert raised.value == pytest.approx(19_210, abs=60)
    assert raised.reason == (
        f"subscribers on 2025-01-11: {raised.value:,.0f} subscribers, expected 20,100 subscribers (95 % between 19,600 "
        "subscribers and 20,600 subscribers; forecast 2025-01-05 04:00, 7 days ahead), "
        f"{((raised.value or 0) - 20_100) / 500:+.2f} half-widths of the band away; the rule's bound is below -1 "
        "half-widths; n 1"
    )
    (held,) = world.days(12, 13)  # the second day is worse
    assert (held.id, held.state, held.until) == (raised.id, "firing", T0 + 12 * DAY)
    assert world.days(13, 14) == [held]  # of the day 12 nothing was forecast
    (over,) = world.days(14, 15)
    assert (over.id, over.state) == (raised.id, "resolved")
    assert T0 + 14 * DAY <= (over.resolved_at or 0) < T0 + 35 * DAY
    assert [line.split("] ")[1] for line in world.told()] == [
        "fewer than forecast in made", "over: fewer than forecast in made"
    ]  # fmt: skip
    past = world.service().backtest(FEWER, 20).channels[0]
    assert [(a.at, a.resolved_at, a.reason) for a in past.alerts] == [(T0 + 11 * DAY, T0 + 14 * DAY, raised.reason)]
    assert (past.judged, past.unknown) == (5, 9)


def test_days_without_a_forecast_or_a_value_do_nothing(world: World) -> None:
    world.made.subscribers[:] = [s for s in world.made.subscribers if not T0 + 10 * DAY < s[0] < T0 + 13 * DAY]
    world.add(FEWER)
    world.add(replace(FEWER, name="another horizon", horizon_days=14))
    world.say(12, 90_000.0, made_at=T0 + 13 * DAY)  # said when the day was over: no forecast
    assert world.days(10, 14) == []
    channel = world.service().backtest(replace(FEWER, horizon_days=14), 20).channels[0]
    assert channel.missing == "no forecast was given yet for subscribers of made, 14 days ahead"
    assert channel.per_30_days is None


def test_killed_before_the_commit_nothing_is_lost_or_doubled(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add(FEWER)
    world.days(10, 11)
    world.feed(T0 + 12 * DAY)
    real = Outbox.advance

    def killed(self: Any, connection: Connection, consumer: str, seq: int) -> None:
        real(self, connection, consumer, seq)
        raise KeyboardInterrupt

    monkeypatch.setattr(Outbox, "advance", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            world.service().catch_up()
    monkeypatch.undo()
    assert world.service().alerts() == ()
    assert [world.service().catch_up().raised for _ in range(2)] == [1, 0]
    assert len(world.told()) == 1


def test_what_a_channel_cannot_have_is_refused_and_a_ledger_may_be_empty(world: World) -> None:
    bare = make(10, 6, PURGE, name="bare")
    bare.subscribers.clear()
    AlertWorld(world.database, bare, clock=world.clock, wall=world.wall).feed(T0 + 10 * DAY)
    with pytest.raises(NoData, match="subscribers unavailable from this source"):
        world.add(replace(FEWER, channel="bare"))
    world.add(replace(FEWER, channel="bare", metric="views_gained", direction="above"))  # its forecasts begin with it
    past = world.service().backtest(replace(FEWER, channel=None), 20)
    missing = {one.channel: one.missing for one in past.channels}
    assert missing["made"] is None
    assert "subscribers unavailable" in str(missing["bare"])


# ---------------------------------------------------------------- the ledger is kept going


def test_each_judged_day_is_followed_by_one_question(world: World) -> None:
    world.ahead = Foretelling()
    world.add(FEWER)
    world.add(replace(FEWER, name="again", direction="above"))  # rests on the same forecast
    world.add(replace(FEWER, name="views", metric="views_gained", horizon_days=14))
    world.days(10, 13, step_h=12)
    assert Counter(world.ahead.asked) == {("made", "subscribers", 7): 3, ("made", "views_gained", 14): 3}
    (rule,) = [r for r in world.service().rules("made") if r.spec.name == "views"]
    world.service().switch_rule(rule.id, False)
    world.days(13, 14)
    assert Counter(world.ahead.asked) == {("made", "subscribers", 7): 4, ("made", "views_gained", 14): 3}


def test_too_little_data_is_remembered_and_silence_is_asked_again(world: World) -> None:
    world.ahead = Foretelling({"made": InsufficientData("made: too short a series", needed=8, have=3)})
    rule = world.add(FEWER)
    world.days(10, 11)
    assert len(world.ahead.asked) == 1
    why = {"made": "not judged: made: too short a series (needed 8, have 3)"}
    assert world.service().rule(rule).not_judged == world.service().rules("made")[0].not_judged == why
    world.ahead.trouble["made"] = ServiceUnavailable("predictive_intelligence is not running")
    world.feed(T0 + 11 * DAY + 8 * HOUR)
    service = world.service()
    assert service.catch_up().raised == 1  # the ledger has what the day is judged by
    assert [service.ask_forecasts() for _ in range(3)] == [0, 0, 0]
    assert len(world.ahead.asked) == 2  # not more often than once a sweep
    health = service.health()
    assert (health.status, "1 not answered (predictive_intelligence is not running)" in health.did) == (
        "degraded",
        True,
    )
    world.ahead.trouble.clear()
    world.wall.advance(60)
    assert service.ask_forecasts() == 1
    assert service.health().status == "ok"
    assert service.rule(rule).not_judged == {}
    world.wall.advance(60)
    assert service.ask_forecasts() == 0


def test_a_channel_that_never_answers_keeps_nobody_waiting(world: World) -> None:
    for seed, name in enumerate(("a", "b"), 6):
        AlertWorld(world.database, make(10, seed, PURGE, name=name), clock=world.clock).feed(T0 + 10 * DAY)
    ids = {c.name: c.id for c in ChannelStore(world.database).channels()}
    worst = min(ids, key=lambda name: str(ids[name]))
    world.ahead = Foretelling({worst: ServiceUnavailable("no answer within 30 s")})
    world.add(replace(FEWER, channel=None))
    service = world.service()
    service.catch_up()
    assert service.ask_forecasts() == 0
    world.wall.advance(60)
    assert service.ask_forecasts() == 2
    assert [name for name, *_ in world.ahead.asked].count(worst) == 2


def test_shards_ask_for_their_own_channels_and_raise_what_one_would(world: World) -> None:
    names = ("made", "a", "b", "c")
    others = [AlertWorld(world.database, make(16, i, PURGE, name=name), clock=world.clock, wall=world.wall)
              for i, name in enumerate(names[1:], 6)]  # fmt: skip
    for other in others:
        other.feed(T0 + 10 * DAY)
        for day in (10, 11, 13):
            world.say(day, 20_000 + 10 * day - (1800 if day > 12 else 0), other.made.name)
    world.ahead, world.shards = Foretelling(), 3
    assert len({c.id % 3 for c in ChannelStore(world.database).channels()}) > 1
    world.add(replace(FEWER, channel=None))
    for day in range(11, 16):
        for one in (world, *others):
            one.feed(T0 + day * DAY + 8 * HOUR)
        for shard in range(3):
            world.part(shard).catch_up()
            world.part(shard).ask_forecasts()
    found = Counter((a.channel, a.state, a.onset) for a in world.service().alerts())
    assert found == {(name, "resolved", T0 + 10 * DAY): 1 for name in names}
    assert Counter(name for name, *_ in world.ahead.asked) == dict.fromkeys(names, 5)


def test_killed_between_answer_and_state_it_asks_again_and_the_first_forecast_stands(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(
        sqlite_database, make(30, 5, Plan(posts=lambda day: 1, growth=lambda day: -900.0 if day >= 23 else 10.0))
    )
    world.ahead = Intelligence(sqlite_database, world.clock)
    world.feed(T0 + 20 * DAY)
    world.add(FEWER)
    missing = world.service().backtest(FEWER, 15).channels[0].missing
    assert missing == "no forecast was given yet for subscribers of made, 7 days ahead"
    world.feed(T0 + 20 * DAY + 8 * HOUR)
    world.service().catch_up()

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SeriesStates, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        world.service().ask_forecasts()
    monkeypatch.undo()
    channel = ChannelStore(sqlite_database).channel("made").id
    store = ForecastStore(sqlite_database)
    given = store.entries(channel, "subscribers")
    assert {e.point.horizon_days for e in given} == {1, 7}
    assert world.service().ask_forecasts() == 1
    assert store.entries(channel, "subscribers") == given
    assert world.days(20, 26) == []
    (raised,) = world.days(27, 28)  # the first day of which anything was said 7 days before is over
    said = next(e for e in store.entries(channel, "subscribers") if e.point.horizon_days == 7 and e.actual is not None)
    assert raised.onset == said.point.at - DAY
    assert (raised.reference, raised.value) == (said.point.mean, said.actual)
    assert raised.value is not None
    assert raised.value < said.point.lo95
