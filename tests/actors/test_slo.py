"""Alerts fire for a budget that burns fast and still does, say "not enough data", and survive a restart."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from actors.adaptive_learning.monitoring.actor import Monitoring
from actors.adaptive_learning.monitoring.degradation import Sample
from actors.adaptive_learning.monitoring.requests import STEP
from actors.adaptive_learning.monitoring.slo import alerts, judge_bounds, judge_events
from core.clock import DAY, HOUR, ManualClock
from core.schemas.monitoring import BoundStatus, SloStatus
from core.settings import SloSettings
from core.store.database import Database
from core.store.metrics_store import Sum
from tests.actors.test_monitoring import T0, answered, measured, row

NOW = T0 + 40 * DAY
FEW = SloSettings(least=10)


def steps(since_s: int, until_s: int, n: int, bad: float) -> dict[int, Sum]:
    """Buckets from `since_s` to `until_s` seconds before NOW, n events each, of which a share was bad."""
    return {at: Sum(n, n * bad) for at in range(NOW - since_s, NOW - until_s, STEP)}


def judged(buckets: Mapping[int, Sum], least: int = 100) -> SloStatus:
    return judge_events("availability", "x", buckets, 0.995, NOW, period_s=30 * DAY, least=least)


def states(status: SloStatus) -> list[str]:
    return [rule.state for rule in status.rules]


def test_a_steady_trickle_of_failures_within_the_budget_is_quiet() -> None:
    status = judged(steps(30 * DAY, 0, 20, 0.004))
    assert states(status) == ["quiet"] * 3
    assert status.figure == pytest.approx(0.996)
    assert status.budget_left == pytest.approx(0.2, abs=0.01)
    assert alerts([status], []) == ()


def test_an_outage_pages_and_says_what_is_left() -> None:
    status = judged(steps(30 * DAY, HOUR, 20, 0.0) | steps(HOUR, -STEP, 20, 0.1))
    assert states(status)[0] == "firing"
    assert status.rules[0].long_burn == pytest.approx(20)
    (alert,) = alerts([status], [])
    assert (alert.slo, alert.severity) == ("availability", "page")
    assert "20.0 times too fast over 1 h" in alert.reason


def test_an_outage_that_has_ended_does_not_page_any_more() -> None:
    status = judged(steps(30 * DAY, HOUR, 20, 0.0) | steps(HOUR, 15 * 60, 20, 0.2) | steps(15 * 60, -STEP, 20, 0.0))
    assert status.rules[0].long_burn is not None
    assert status.rules[0].long_burn > 14.4
    assert status.rules[0].state == "quiet"


def test_a_slow_burn_is_a_ticket_and_no_page() -> None:
    status = judged(steps(30 * DAY, 4 * DAY, 20, 0.0) | steps(4 * DAY, -STEP, 20, 0.01))
    assert states(status) == ["quiet", "quiet", "firing"]
    (alert,) = alerts([status], [])
    assert alert.severity == "ticket"


def test_an_overspent_budget_is_below_nothing() -> None:
    status = judged(steps(30 * DAY, 0, 20, 0.05))
    assert status.budget_left == pytest.approx(-9, abs=0.1)


def test_a_few_requests_say_nothing_whatever_became_of_them() -> None:
    status = judged(steps(10 * 60, -STEP, 3, 1.0))
    assert states(status) == ["insufficient"] * 3
    assert (status.budget_left, status.rules[0].long_burn, status.n) == (None, None, 9)
    assert judged({}).figure is None
    assert alerts([status, judged({})], []) == ()


def test_when_nobody_asks_any_more_it_is_not_known_whether_it_has_stopped() -> None:
    status = judged(steps(HOUR, 20 * 60, 20, 0.5))
    assert states(status)[0] == "insufficient"
    assert states(status)[1] == "firing"  # half an hour still sees it


def sample(n: int, mean: float) -> Sample:
    return Sample(n, mean, mean * (1 - mean))


@pytest.mark.parametrize(
    ("long", "recent", "state"),
    [
        (0.80, 0.80, "met"),
        (0.55, 0.55, "page"),
        (0.66, 0.66, "ticket"),
        (0.99, 0.99, "ticket"),  # intervals that hold everything say nothing: bad, and not urgent
        (0.60, 0.80, "met"),  # it was, and has ended
        (0.80, 0.60, "met"),  # three bad days in fourteen that are well
    ],
)
def test_coverage_has_two_bounds_and_two_severities(long: float, recent: float, state: str) -> None:
    found = judge_bounds("coverage", "x", (sample(20_000, long), sample(5_000, recent)), (0.7, 0.9), 100)
    assert found.state == state


def test_bounds_are_not_missed_by_chance_or_by_a_few() -> None:
    def state(n: int, mean: float) -> str:
        return judge_bounds("coverage", "x", (sample(n, mean), sample(n, mean)), (0.7, 0.9), 100).state

    assert state(100, 0.64) == "met"
    assert state(99, 0.01) == "insufficient"
    assert state(0, float("nan")) == "insufficient"


def test_an_error_has_one_bound_and_a_small_one_is_no_alert() -> None:
    def found(mean: float) -> BoundStatus:
        return judge_bounds("error", "x", (Sample(1000, mean, 0.01), Sample(300, mean, 0.01)), (None, 0.7), 100)

    assert [found(mean).state for mean in (0.01, 0.69, 0.8, 1.6)] == ["met", "met", "ticket", "page"]
    (alert,) = alerts([], [found(1.6)])
    assert "should be at most 0.7" in alert.reason


def test_a_rescued_request_was_answered_for_its_asker_and_failed_by_the_canary(
    database: Database, clock: ManualClock
) -> None:
    answered(database, *(row(arm="canary", version=2, epoch=7) for _ in range(20)))
    answered(database, *(row(arm="rescued", epoch=7) for _ in range(20)))
    monitoring = Monitoring(database, clock, FEW)
    availability, latency = monitoring.slo("engagement").events
    assert (availability.n, availability.bad, latency.n) == (40, 0, 40)
    own = monitoring.slo("engagement", 2)
    assert (own.events[0].n, own.events[0].bad, own.events[1].n) == (40, 20, 20)
    assert [(a.slo, a.severity) for a in own.alerts] == [("availability", "page")]
    assert monitoring.slo("engagement", 1).alerts == ()


def test_a_request_that_both_versions_failed_is_one_failure(database: Database, clock: ManualClock) -> None:
    answered(database, row(arm="rescued", epoch=7, answer={}), row(arm="failed", epoch=7, answer={}), row())
    availability, _ = Monitoring(database, clock, FEW).slo("engagement").events
    assert (availability.n, availability.bad) == (2, 1)


def test_slow_answers_burn_the_budget_and_outlive_the_actor(database: Database, clock: ManualClock) -> None:
    answered(database, *(row(latency_ms=900.0) for _ in range(10)), *(row() for _ in range(10)))
    first = Monitoring(database, clock, FEW).slo("engagement")
    answered(database, *(row() for _ in range(20)))
    again = Monitoring(database, clock, FEW)
    again.catch_up()
    report = again.slo("engagement")
    assert [(r.events[1].n, r.events[1].bad) for r in (first, report)] == [(20, 10), (40, 10)]
    assert [a.slo for a in report.alerts] == ["latency"]
    assert Monitoring(database, clock, FEW).slo("engagement") == report
    stricter = Monitoring(database, clock, FEW.model_copy(update={"latency_ms": 1.0}))
    assert stricter.slo("engagement").events[1].n == 0  # counted from now on, not guessed from what was


def test_outcomes_that_miss_their_bounds_are_alerts(sqlite_database: Database) -> None:
    rows = answered(sqlite_database, *(row() for _ in range(60)))
    for prediction in rows:
        measured(sqlite_database, prediction, 1000, T0 + DAY)
    clock = ManualClock(time=T0 + 2 * DAY)
    report = Monitoring(sqlite_database, clock, FEW).slo("engagement")
    assert [(b.name, b.state, b.n) for b in report.outcomes] == [("coverage", "page", 60), ("error", "page", 60)]
    assert report.outcomes[0].figure == 0
    clock.time = T0 + 30 * DAY
    assert {b.state for b in Monitoring(sqlite_database, clock, FEW).slo("engagement").outcomes} == {"insufficient"}


def test_a_model_that_nobody_asked_has_no_figures_and_no_alerts(sqlite_database: Database, clock: ManualClock) -> None:
    report = Monitoring(sqlite_database, clock).slo("nothing")
    assert report.alerts == ()
    assert {rule.state for status in report.events for rule in status.rules} == {"insufficient"}
    assert [(b.state, b.figure) for b in report.outcomes] == [("insufficient", None)] * 2
