from __future__ import annotations

from dataclasses import replace

from core.clock import DAY
from core.schemas.forecasts import Forecast, ForecastPoint
from core.store.database import Database
from core.store.forecasts import ForecastStore

NOON = 1_750_000_000
POINTS = tuple(ForecastPoint(days, NOON + days * DAY, 100.0 + days, 90.0, 110.0, 80.0, 120.0) for days in (1, 7))
GIVEN = Forecast("@x", "subscribers", "subscribers", NOON, 100.0, POINTS, (), ())


def test_the_first_forecast_from_a_day_stands(database: Database) -> None:
    store = ForecastStore(database)
    assert store.add(1, GIVEN, NOON + 5) == 2
    again = replace(GIVEN, points=(replace(POINTS[0], mean=999.0), replace(POINTS[1], horizon_days=30)))
    assert store.add(1, again, NOON + 9) == 1  # the new horizon
    assert store.add(1, replace(GIVEN, points=()), NOON) == 0
    entries = store.entries(1, "subscribers")
    assert [(e.point.horizon_days, e.point.mean, e.made_at) for e in entries] == [
        (1, 101.0, NOON + 5),
        (7, 107.0, NOON + 5),
        (30, 107.0, NOON + 9),
    ]
    assert store.entries(2, "subscribers") == store.entries(1, "views_gained") == ()


def test_newest_origins_come_first(database: Database) -> None:
    store = ForecastStore(database)
    store.add(1, GIVEN, NOON)
    store.add(1, replace(GIVEN, origin=NOON + DAY), NOON)
    origins = [(e.origin - NOON) // DAY for e in store.entries(1, "subscribers")]
    assert origins == [1, 1, 0, 0]
    assert len(store.entries(1, "subscribers", limit=3)) == 3


def test_a_day_that_is_over_is_no_forecast(database: Database) -> None:
    store = ForecastStore(database)
    assert store.add(1, GIVEN, NOON + DAY) == 1
    assert [e.point.horizon_days for e in store.entries(1, "subscribers")] == [7]
    assert store.add(1, replace(GIVEN, origin=NOON - DAY), NOON + 8 * DAY) == 0


def test_points_are_scored_once_when_they_are_due(database: Database) -> None:
    store = ForecastStore(database)
    store.add(1, GIVEN, NOON)
    assert store.due(1, NOON + DAY - 1) == ()
    assert store.channels_due(NOON + DAY) == {1}
    (due,) = store.due(1, NOON + DAY)
    place = ("subscribers", due.origin, due.point.horizon_days)
    store.score(1, {place: 103.5}, NOON + 2 * DAY)
    store.score(1, {place: 7.0}, NOON + 3 * DAY)
    scored, waiting = store.entries(1, "subscribers")
    assert (scored.actual, scored.scored_at) == (103.5, NOON + 2 * DAY)
    assert (waiting.actual, waiting.scored_at) == (None, None)
    assert store.due(1, NOON + 2 * DAY) == ()


def test_a_day_that_nobody_measured_is_given_up(database: Database) -> None:
    store = ForecastStore(database)
    store.add(1, GIVEN, NOON)
    store.score(1, {("subscribers", NOON, 1): None}, NOON + 9 * DAY)
    given_up = store.entries(1, "subscribers")[0]
    assert (given_up.actual, given_up.scored_at) == (None, NOON + 9 * DAY)
    assert [e.point.horizon_days for e in store.due(1, NOON + 9 * DAY)] == [7]


def test_of_a_day_what_was_said_before_it_was_over(database: Database) -> None:
    store = ForecastStore(database)
    for days, made_at in ((0, NOON), (1, NOON + DAY), (2, NOON + 9 * DAY), (3, NOON + 3 * DAY)):
        points = tuple(replace(point, at=point.at + days * DAY) for point in POINTS)
        store.add(1, replace(GIVEN, origin=NOON + days * DAY, points=points), made_at)
    found = store.given(1, "subscribers", 7, NOON + 7 * DAY, NOON + 9 * DAY)
    assert [(e.point.at, e.made_at) for e in found] == [(NOON + 7 * DAY, NOON), (NOON + 8 * DAY, NOON + DAY)]
    assert store.given(1, "views_gained", 7, 0, 2 * NOON) == store.given(2, "subscribers", 7, 0, 2 * NOON) == ()
