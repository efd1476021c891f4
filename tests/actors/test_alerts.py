"""An alert is stored and told once when it begins and once when it ends, whoever dies and whoever does not answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, cast

import pytest

from actors.adaptive_learning.monitoring.actor import Monitoring
from actors.adaptive_learning.monitoring.alerts import changes
from actors.adaptive_learning.monitoring.requests import STEP
from actors.adaptive_learning.monitoring.slo import judge_bounds
from actors.adaptive_learning.orchestrator.actor import WATCH_S, Orchestrator
from actors.adaptive_learning.orchestrator.notices import Notices
from core.clock import DAY, HOUR, ManualClock
from core.errors import InvalidInput, ServiceUnavailable
from core.schemas.monitoring import SloReport
from core.settings import RolloutDefaults, Settings
from core.store.alerts import AlertLog
from core.store.database import Database
from tests.actors.test_monitoring import T0, answered, row
from tests.actors.test_rollout_notices import Receiver, receiver
from tests.actors.test_slo import FEW, NOW, judged, sample, steps

__all__ = ["receiver"]
MODEL = "engagement"
NOTHING: frozenset[tuple[str, str]] = frozenset()


def report(*parts: Any) -> SloReport:
    events = tuple(part for part in parts if hasattr(part, "rules"))
    outcomes = tuple(part for part in parts if not hasattr(part, "rules"))
    return SloReport(MODEL, None, NOW, 30, events, outcomes)


def told(open_alerts: frozenset[tuple[str, str]], *parts: Any) -> list[tuple[str, str, str]]:
    return [(c.slo, c.severity, c.state) for c in changes(MODEL, open_alerts, report(*parts))]


OUTAGE = judged(steps(30 * DAY, HOUR, 20, 0.0) | steps(HOUR, -STEP, 20, 0.1))
SLOW_BURN = judged(steps(30 * DAY, 4 * DAY, 20, 0.0) | steps(4 * DAY, -STEP, 20, 0.01))
WELL = judged(steps(30 * DAY, -STEP, 20, 0.0))
UNASKED = judged(steps(HOUR, 20 * 60, 20, 0.5))  # nobody has asked for 20 minutes
PAGE, TICKET = ("availability", "page"), ("availability", "ticket")


def test_what_fires_begins_once_and_what_is_quiet_ends_once() -> None:
    assert told(NOTHING, OUTAGE) == [(*PAGE, "begun")]
    assert told(frozenset({PAGE}), OUTAGE) == []
    assert told(frozenset({PAGE}), WELL) == [(*PAGE, "ended")]
    assert told(NOTHING, WELL) == []


def test_not_enough_data_neither_begins_nor_ends_an_alert() -> None:
    assert told(frozenset({PAGE, TICKET}), judged({})) == []
    assert told(NOTHING, judged({})) == []
    short = replace(UNASKED, rules=tuple(rule for rule in UNASKED.rules if rule.state != "firing"))
    assert told(frozenset({PAGE}), short) == []


def test_a_page_that_becomes_a_ticket_is_told_as_both_in_order() -> None:
    assert told(NOTHING, SLOW_BURN) == [(*TICKET, "begun")]
    assert told(frozenset({PAGE}), SLOW_BURN) == [(*PAGE, "ended"), (*TICKET, "begun")]
    both = replace(OUTAGE, rules=(*OUTAGE.rules[:2], SLOW_BURN.rules[2]))
    assert told(NOTHING, both) == [(*PAGE, "begun")], "no ticket beside a page"
    assert told(frozenset({TICKET}), both) == [(*PAGE, "begun")], "the ticket stays open"


@pytest.mark.parametrize(
    ("share", "before", "expected"),
    [
        (0.55, (), [("page", "begun")]),
        (0.66, (), [("ticket", "begun")]),
        (0.66, ("page",), [("page", "ended"), ("ticket", "begun")]),
        (0.80, ("page", "ticket"), [("page", "ended"), ("ticket", "ended")]),
    ],
)
def test_means_begin_and_end_alerts_too(share: float, before: tuple[str, ...], expected: list[tuple[str, str]]) -> None:
    bound = judge_bounds("coverage", "x", (sample(20_000, share), sample(5_000, share)), (0.7, 0.9), 100)
    found = told(frozenset(("coverage", severity) for severity in before), bound)
    assert found == [("coverage", *what) for what in expected]
    unknown = judge_bounds("coverage", "x", (sample(20_000, share), sample(5, share)), (0.7, 0.9), 100)
    assert told(frozenset({("coverage", "page")}), unknown) == []


class Office:
    """Requests, and an orchestrator that tells people; `restarted` is another process on the same database."""

    def __init__(self, database: Database, receiver: Receiver) -> None:
        self.database, self.clock, self.receiver = database, ManualClock(time=T0), receiver
        self.restarted()

    def restarted(self) -> None:
        self.monitoring = Monitoring(self.database, self.clock, FEW)
        settings = Settings(rollout=RolloutDefaults(webhook=self.receiver.url))
        nobody = cast(Any, None)
        self.orchestrator = Orchestrator(
            self.database,
            self.clock,
            settings,
            nobody,
            nobody,
            nobody,
            self.monitoring,
            nobody,
            nobody,
            nobody,
            autostart=False,
        )

    def ask(self, n: int, failures: int = 0) -> None:
        at = self.clock.time
        answered(self.database, *(row(at=at) for _ in range(n - failures)))
        answered(self.database, *(row(at=at, arm="failed", answer={}) for _ in range(failures)))

    def notify(self) -> int:
        self.clock.elapsed += WATCH_S
        return self.orchestrator.notify(MODEL)

    @property
    def taken(self) -> list[tuple[str, str, str]]:
        return [(n["slo"], n["severity"], n["state"]) for n in self.receiver.taken]


@pytest.fixture
def office(database: Database, receiver: Receiver) -> Office:
    return Office(database, receiver)


@pytest.fixture
def light(sqlite_database: Database, receiver: Receiver) -> Office:
    return Office(sqlite_database, receiver)


def test_an_outage_is_told_when_it_begins_and_when_it_ends_across_restarts(office: Office) -> None:
    office.ask(200)
    assert office.notify() == 0
    office.clock.advance(600)
    office.ask(100, 60)
    assert office.notify() == 1
    assert office.taken == [("availability", "page", "begun")]
    for _ in range(3):
        office.restarted()
        office.ask(20, 20)
        assert office.notify() == 0
    office.clock.advance(2 * DAY)
    for _ in range(3):
        office.ask(1500)
        office.clock.advance(6 * HOUR)
    office.ask(1500)
    office.restarted()
    assert office.notify() >= 1
    assert office.taken[1:2] == [("availability", "page", "ended")]
    begun, ended = [change for change in reversed(office.monitoring.alerts(MODEL)) if change.severity == "page"]
    assert (begun.state, begun.at, ended.state) == ("begun", T0 + 600, "ended")
    assert "times too fast" in begun.reason
    assert office.notify() == 0


def test_a_receiver_that_is_down_gets_everything_later_in_order(light: Office) -> None:
    light.receiver.down = True
    light.ask(100, 60)
    assert light.notify() == 0
    light.restarted()
    assert light.notify() == 0
    assert light.taken == []
    light.receiver.down = False
    assert light.notify() == 1
    assert light.taken == [("availability", "page", "begun")]
    assert light.receiver.keys == [f"alert:{MODEL}:1"]
    assert light.receiver.taken[0]["reason"].startswith("availability: the error budget burns ")


def test_a_death_between_telling_and_noting_tells_again_under_the_same_key(light: Office) -> None:
    light.ask(100, 60)
    dying = AlertLog(light.database)
    light.monitoring.watch(MODEL)

    def dies(_: int) -> None:
        raise KeyboardInterrupt

    notices = Notices.of(light.database, light.receiver.url)
    object.__setattr__(dying, "told", dies)
    object.__setattr__(notices.outboxes[1], "log", dying)
    with pytest.raises(KeyboardInterrupt):
        notices.deliver(MODEL)
    assert Notices.of(light.database, light.receiver.url).deliver(MODEL) == 1
    assert len(light.receiver.keys) == 2
    assert len(set(light.receiver.keys)) == 1


def test_several_that_look_at_once_store_a_begin_once(database: Database, clock: ManualClock) -> None:
    answered(database, *(row(arm="failed", answer={}) for _ in range(60)))
    watchers = [Monitoring(database, clock, FEW) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        new = list(pool.map(lambda watcher: watcher.watch(MODEL), watchers))
    assert sorted(map(len, new)) == [0, 0, 0, 1]
    assert len(AlertLog(database).latest(MODEL, 10)) == 1


def test_models_have_alerts_of_their_own(database: Database, clock: ManualClock) -> None:
    answered(database, *(row(arm="failed", answer={}) for _ in range(60)))
    answered(database, *(row(model="other", arm="failed", answer={}) for _ in range(60)))
    monitoring = Monitoring(database, clock, FEW)
    assert [c.model for c in (*monitoring.watch(MODEL), *monitoring.watch("other"))] == [MODEL, "other"]
    assert [c.model for c in AlertLog(database).untold("other")] == ["other"]
    assert monitoring.watch(MODEL) == monitoring.watch("nothing") == ()
    with pytest.raises(InvalidInput, match="limit"):
        monitoring.alerts(MODEL, 0)


def test_objectives_are_looked_at_now_and_then_and_what_is_stored_is_told_without(light: Office) -> None:
    light.ask(100)
    light.notify()
    light.ask(100, 100)
    assert light.orchestrator.notify(MODEL) == 0, "looked at a moment ago"
    light.monitoring.watch(MODEL)

    class Away:
        def watch(self, _: str) -> None:
            raise ServiceUnavailable("restarting")

    light.orchestrator.monitoring = cast(Any, Away())
    assert light.notify() == 1
    light.orchestrator.monitoring = light.monitoring
    light.clock.advance(30 * DAY)
    light.ask(1000)
    assert light.notify() == 1, "looked at again as soon as it answers"
