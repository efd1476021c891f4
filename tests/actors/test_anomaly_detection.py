"""The streaming detector: quiet on quiet series within its budget, quick on real changes, small, and restartable."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.anomaly_analysis.detection import (
    FALSE_ALARMS,
    LEAST_HISTORY,
    DetectorState,
    Episode,
    expected,
    step,
)
from actors.anomaly_analysis.scales import GROWTH, POSTING, SCALES, VIEWS, Scale
from core.codec import from_json, to_json

MONDAY = 739_251  # ordinal of 2025-01-06
PLAIN = Scale(lambda x: x, lambda y: y, 1e-9)
WEEK = np.array([0.5, 0.5, 0.5, 0.3, 0.2, -1.0, -1.0])


def run(values: np.ndarray, scale: Scale = PLAIN, state: DetectorState | None = None) -> dict[int, Episode]:
    """Episodes by the position of their onset."""
    state = DetectorState() if state is None else state
    found = {}
    for i, value in enumerate(values):
        for episode in step(state, scale, MONDAY + i, float(value)):
            found[episode.onset - MONDAY] = episode
    return found


def white(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(size=n)


def autoregressive(rng: np.random.Generator, n: int) -> np.ndarray:
    noise, out = rng.normal(size=n), np.zeros(n)
    for i in range(1, n):
        out[i] = 0.6 * out[i - 1] + noise[i]
    return out


def weekly(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(size=n) + 3 * WEEK[np.arange(n) % 7]


def drifting(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(size=n) + np.cumsum(rng.normal(size=n)) * 0.1


def heavy(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_t(5, size=n)


def counted(rng: np.random.Generator, n: int) -> np.ndarray:
    return 2 * np.sqrt(rng.poisson(2, size=n) + 0.375)


Maker = Callable[[np.random.Generator, int], np.ndarray]


@pytest.mark.parametrize("make", [white, autoregressive, weekly, drifting, heavy, counted])
def test_a_year_of_a_quiet_series_costs_its_budget_of_false_alarms_within_a_factor_of_two(make: Maker) -> None:
    n, seeds = 365, 60
    alarms = sum(len(run(make(np.random.default_rng(seed), n))) for seed in range(seeds))
    rate = alarms / seeds / (n - LEAST_HISTORY)
    assert FALSE_ALARMS / 2 <= rate <= FALSE_ALARMS * 2


@pytest.mark.parametrize("drop", [0.7, 1 / 0.7], ids=["30 % fall", "rise of the same size"])
def test_a_lasting_change_is_found_within_two_days_in_nine_of_ten_channels(drop: float) -> None:
    found = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        views = 5000 * np.exp(0.1 * WEEK[np.arange(72) % 7] + rng.normal(0, 0.075, 72))
        views[70:] *= drop
        episodes = run(views, SCALES[VIEWS])
        direction = "down" if drop < 1 else "up"
        found += any(i >= 69 and e.direction == direction for i, e in episodes.items())
    assert found >= 180


def test_one_odd_day_is_a_spike_that_ends_and_leaves_the_level_where_it_was() -> None:
    values = np.random.default_rng(1).normal(100, 2, 80)
    values[60] = 160
    state = DetectorState()
    episode = run(values, state=state)[60]
    assert (episode.kind, episode.direction, episode.open) == ("spike", "up", False)
    assert [p.day - MONDAY for p in episode.away] == [60]
    assert episode.score > 1 - FALSE_ALARMS
    assert expected(state, PLAIN, MONDAY + 80) == pytest.approx(100, abs=2)


def test_a_lasting_change_becomes_a_level_shift_and_then_the_usual_level() -> None:
    values = np.random.default_rng(2).normal(100, 2, 100)
    values[60:] -= 40
    state = DetectorState()
    found = run(values, state=state)
    assert found[60].kind == "level_shift"
    assert found[60].settled
    assert not found[60].open
    assert expected(state, PLAIN, MONDAY + 100) == pytest.approx(60, abs=2)
    assert not [i for i in found if i > 67]


def test_a_weekly_rhythm_is_expected_and_its_absence_is_not() -> None:
    values = 100 + 30 * WEEK[np.arange(91) % 7] + np.random.default_rng(3).normal(0, 2, 91)
    state = DetectorState()
    assert not [i for i in run(values, state=state) if i >= LEAST_HISTORY + 7]
    sunday = expected(state, PLAIN, MONDAY + 97)
    monday = expected(state, PLAIN, MONDAY + 91)
    assert sunday is not None
    assert monday is not None
    assert monday - sunday == pytest.approx(45, abs=5)


def test_nothing_is_said_before_there_is_enough_history() -> None:
    values = np.random.default_rng(4).normal(100, 2, LEAST_HISTORY)
    values[20] = 500
    assert run(values) == {}
    assert expected(DetectorState(), PLAIN, MONDAY) is None


def test_unknown_days_are_passed_over_and_a_long_gap_ends_an_episode() -> None:
    values = np.random.default_rng(15).normal(100, 2, 80)
    values[40:44] = math.nan
    values[60:62] = 150
    values[62:70] = math.nan
    found = run(values)
    assert list(found) == [60]
    assert not found[60].open
    assert len(found[60].away) == 2


def test_the_day_that_ends_a_fall_can_begin_a_rise() -> None:
    values = np.random.default_rng(8).normal(100, 2, 80)
    values[60:62], values[62] = 60, 160
    found = run(values)
    assert {i: e.direction for i, e in found.items() if i >= 60} == {60: "down", 62: "up"}
    assert [p.day - MONDAY for p in found[60].away] == [60, 61]


def test_days_that_came_already_change_nothing() -> None:
    values = np.random.default_rng(6).normal(100, 2, 60)
    state = DetectorState()
    run(values, state=state)
    before = to_json(state)
    assert run(values, state=state) == {}
    assert to_json(state) == before


def test_a_purge_among_quiet_growth_is_found_with_its_size() -> None:
    values = np.random.default_rng(7).normal(-150, 25, 70)
    values[55:57] = [-2255, -1902]
    episode = run(values, SCALES[GROWTH])[55]
    assert sum(p.value for p in episode.away) == -4157
    assert episode.direction == "down"


def test_a_daily_posters_silence_is_noticed_by_the_third_day_and_a_single_post_of_a_silent_one_is_not() -> None:
    silence = np.ones(63)
    silence[60:] = 0
    assert [e.direction for e in run(silence, SCALES[POSTING]).values()] == ["down"]
    lonely = np.zeros(63)
    lonely[60] = 1
    assert run(lonely, SCALES[POSTING]) == {}


@given(
    values=st.lists(st.one_of(st.floats(0, 1e9), st.just(math.nan)), min_size=1, max_size=90),
    cut=st.integers(0, 90),
)
@settings(max_examples=60, deadline=None)
def test_a_restart_between_any_two_days_changes_nothing(values: list[float], cut: int) -> None:
    whole, halves = DetectorState(), DetectorState()
    for i, value in enumerate(values):
        step(whole, SCALES[VIEWS], MONDAY + i, value)
        if i == cut:
            halves = from_json(DetectorState, to_json(halves))
        step(halves, SCALES[VIEWS], MONDAY + i, value)
    assert to_json(halves) == to_json(whole)
    assert len(to_json(halves)) < 4096


@pytest.mark.parametrize("name", SCALES)
@given(value=st.floats(0, 1e9))
@settings(max_examples=40, deadline=None)
def test_scales_lead_there_and_back(name: str, value: float) -> None:
    scale = SCALES[name]
    assert scale.back(scale.forward(value)) == pytest.approx(value, rel=1e-6, abs=1e-6)
