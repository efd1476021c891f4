"""Times of publishing: found where they matter, not named where they do not; rhythm of views; outside factors."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from actors.predictive_intelligence.context import context, parsed
from actors.predictive_intelligence.profile import fit
from actors.predictive_intelligence.seasonality import cycle, seasonality
from actors.predictive_intelligence.temporal import best_times, local
from bench._made_channel import T0, Plan
from bench._made_channel import make as made_channel
from bench.best_times import FOREVER, START, make
from core.clock import DAY, HOUR
from core.errors import InsufficientData, InvalidInput, NoData, NotConfigured
from core.history import ChannelHistory, HistoryBuilder
from core.schemas.channels import Channel

EMPTY = HistoryBuilder(Channel(1, "default", "a", "UTC", "bundle", 1)).build()


def without_views(history: ChannelHistory) -> ChannelHistory:
    return replace(
        history,
        offsets=np.zeros_like(history.offsets),
        reading_ts=np.zeros(0, dtype=np.int64),
        reading_views=np.zeros(0),
        reading_exact_time=np.zeros(0, dtype=bool),
    )


# ---------------------------------------------------------------- best times


def test_the_better_hours_are_named_with_intervals_that_hold() -> None:
    made = make("week", np.random.default_rng(6))
    found = best_times(made.history, 0, FOREVER)
    assert found.decided
    assert found.p <= 0.05
    assert len(found.cells) == 168
    assert sum(cell.n for cell in found.cells) == found.posts
    best = found.best[0]
    truth = np.expm1(made.truth[best.weekday * 24 + best.hour])
    assert best.low <= truth <= best.high
    assert truth > np.expm1(made.truth[np.array([c.n >= 3 for c in found.cells])]).mean()
    for cell in found.cells:
        assert cell.low < cell.low_80 < cell.effect < cell.high_80 < cell.high
    own = next(cell for cell in found.cells if (cell.weekday, cell.hour) == (best.weekday, best.hour))
    assert best.low < own.low  # the price of having chosen it
    assert best.n >= 3
    assert {"ad", "media video"} <= set(found.controls)
    assert best_times(made.history, 0, FOREVER) == found


def test_where_the_time_does_nothing_none_is_named() -> None:
    told = [best_times(make("nothing", np.random.default_rng([7, k])).history, 0, FOREVER) for k in range(3)]
    named = [each for each in told if each.best]
    assert len(named) <= 1
    quiet = next(each for each in told if not each.best)
    assert quiet.notes[0].startswith("no time is better than another beyond chance")


def test_content_that_comes_at_an_hour_is_not_taken_for_the_hour() -> None:
    rng = np.random.default_rng(3)
    made = make("nothing", rng, days=200)
    raw = np.log(made.history.reading_views[::2])
    hour = local("UTC", made.history.published_at)[0]
    evening = hour >= 18
    assert raw[evening].mean() - raw[~evening].mean() > 0.1  # videos stand there
    held = best_times(made.history, 0, FOREVER)
    bare = best_times(replace(made.history, media=np.full(made.history.n, None, dtype=object)), 0, FOREVER)
    assert bare.p_hour <= 0.01 < held.p_hour


def test_an_hour_never_used_rests_on_its_neighbours_and_is_unsure() -> None:
    made = make("hours", np.random.default_rng(6))
    cells = best_times(made.history, 0, FOREVER).cells
    night = [cell for cell in cells if cell.hour in (2, 3)]
    used = [cell for cell in cells if cell.n >= 10]
    assert all(cell.n == 0 for cell in night)
    assert min(c.high - c.low for c in night) > max(c.high - c.low for c in used)


def test_hours_are_those_of_the_channels_zone() -> None:
    hour, weekday, day = local("Asia/Tashkent", np.array([START + 20 * HOUR]))
    assert (int(hour[0]), int(weekday[0]), int(day[0])) == (1, 1, date(2025, 1, 7).toordinal())


def test_a_profile_of_noise_claims_nothing() -> None:
    rng = np.random.default_rng(1)
    n = 300
    hour, weekday = rng.integers(0, 24, n), rng.integers(0, 7, n)
    profile = fit(rng.normal(0, 0.3, n), hour, weekday, np.arange(n) // 3, np.zeros((n, 0)))
    assert np.abs(profile.effects).max() < 0.15
    assert (np.abs(profile.effects) < 2.5 * profile.deviations).all()
    drawn = profile.drawn(rng, 2000)
    np.testing.assert_allclose(drawn.std(axis=0), profile.deviations, rtol=0.15)


@pytest.mark.parametrize("history", [EMPTY, without_views(make("hours", np.random.default_rng(1)).history)])
def test_a_channel_without_views_has_no_best_time(history: ChannelHistory) -> None:
    with pytest.raises(NoData):
        best_times(history, 0, FOREVER)
    with pytest.raises(NoData):
        seasonality(history, 0, FOREVER)


def test_too_few_posts_are_said_with_how_many_are_needed() -> None:
    history = make("hours", np.random.default_rng(1)).history
    with pytest.raises(InsufficientData) as gap:
        best_times(history, 0, START + 5 * DAY)
    assert gap.value.needed == 40
    assert 0 < gap.value.have < 40


# ---------------------------------------------------------------- rhythm


def test_the_week_and_the_day_are_seen_in_the_views() -> None:
    history = made_channel(70, 2, Plan(reach=lambda day: 1.6 if day % 7 == 2 else 1.0)).history()
    found = seasonality(history, 0, FOREVER)
    assert found.week.p is not None
    assert found.week.p <= 0.01
    top = max(found.week.points, key=lambda point: point.effect)
    weekday = local("UTC", np.array([T0 + 2 * DAY]))[1][0]
    assert top.position == weekday
    assert top.low > 0
    assert found.day.p is not None  # posts come at fixed hours
    assert found.day.p <= 0.01
    assert len(found.day.points) == 6  # read every 4 hours
    assert found.half_life_h.value is not None
    assert found.half_life_h.low <= found.half_life_h.value <= found.half_life_h.high  # type: ignore[operator]


def test_days_that_only_resemble_their_neighbours_are_no_rhythm() -> None:
    named = 0
    for seed in range(20):
        rng = np.random.default_rng([8, seed])
        values = np.cumsum(rng.normal(0, 0.2, 20 * 7)) + rng.normal(0, 0.1, 20 * 7)
        p = cycle("week", values.reshape(-1, 7), np.arange(7), 6, rng).p
        named += p is not None and p <= 0.05
    assert named <= 3


def test_what_is_read_too_rarely_says_so() -> None:
    history = made_channel(30, 2).history()
    some = seasonality(history, T0, T0 + 10 * DAY)
    assert (some.week.p, some.week.missing) == (None, "needs 6 complete weeks, has 0")
    assert some.day.missing is not None
    daily = make("hours", np.random.default_rng(1), posts_a_day=0.5).history
    assert "readings every 6 h" in str(seasonality(daily, 0, FOREVER).day.missing)


# ---------------------------------------------------------------- outside factors

CSV = "date,name,source,until\n2025-02-03,Fair,https://example.org/fair,2025-02-16\n2030-01-01,Later,a book,\n"


def test_a_factor_is_cited_and_measured() -> None:
    made = make("nothing", np.random.default_rng(4))
    begin = int((date(2025, 2, 3) - date(1970, 1, 1)).days) * DAY
    readings = made.history.reading_views.copy()
    fair = (made.history.published_at >= begin) & (made.history.published_at < begin + 14 * DAY)
    lucky = np.flatnonzero(fair)[::2]  # every second post: the level of the posts around must not swallow all of it
    readings[2 * lucky] *= 4
    readings[2 * lucky + 1] *= 4
    found = context(replace(made.history, reading_views=readings), parsed(CSV, "days.csv"), START, START + 120 * DAY)
    assert [(f.name, f.source, len(f.days)) for f in found.factors] == [("Fair", "https://example.org/fair", 14)]
    effect = found.factors[0].effect
    assert effect.n == int(fair.sum())
    assert effect.low > 0  # type: ignore[operator]
    days = local("UTC", made.history.published_at)[2]
    rare = date.fromordinal(int(days[np.bincount(days - days[0])[days - days[0]] < 5][0])).isoformat()
    with_json = parsed(f'[{{"date": "{rare}", "name": "Day", "source": "s"}}]', "days.json")
    short = context(made.history, with_json, START, START + 120 * DAY).factors[0]
    assert (short.effect.value, short.days) == (None, (rare,))


def test_without_a_calendar_nothing_is_known_of_the_world() -> None:
    with pytest.raises(NotConfigured, match="ANALYTICBOT_CALENDAR"):
        context(make("nothing", np.random.default_rng(4)).history, None, START, START + DAY)


@pytest.mark.parametrize(
    ("text", "file", "said"),
    [
        ("{", "a.json", "not JSON"),
        ("{}", "a.json", "a list of objects"),
        ("x", "a.ics", "a .json or .csv file"),
        ("date,name,source\n2025-01-01,New year,\n", "a.csv", "entry 1: no source"),
        ("date,name,source\n1.1.2025,New year,law\n", "a.csv", "entry 1, date: '1.1.2025' is not a date"),
        ("date,name,source,until\n2025-01-05,New year,law,2025-01-01\n", "a.csv", "between 1 and 60 days"),
    ],
)
def test_a_calendar_that_cannot_be_read_names_the_place(text: str, file: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        parsed(text, file)
