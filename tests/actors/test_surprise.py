"""The detector of long series: quiet within its budget, quick on what is new at this hour, small, restartable."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.anomaly_analysis import daily, hourly
from actors.anomaly_analysis.backfill import score_many
from actors.anomaly_analysis.surprise import (
    ALARM,
    BUDGET,
    ROW_LIMIT,
    SurpriseState,
    from_text,
    score,
    to_text,
)
from bench._made_channel import T0, make
from core.clock import DAY, HOUR
from core.errors import InvalidInput
from core.history import ChannelHistory

VALUES = st.lists(st.one_of(st.floats(), st.integers(-3, 3).map(float)), min_size=1, max_size=60)


def hours(n: int, per_hour: int = 12) -> np.ndarray:
    return np.arange(n) // per_hour % 24


def run(values: np.ndarray, hour: np.ndarray, state: SurpriseState | None = None) -> np.ndarray:
    state = SurpriseState() if state is None else state
    return np.array([score(state, v, h) for v, h in zip(values.tolist(), hour.tolist(), strict=True)])


def plateaus(rng: np.random.Generator, days: int) -> np.ndarray:
    """Five-minute values of a day with a plateau from 9 to 18 o'clock."""
    hour = hours(days * 288)
    return np.where((hour >= 9) & (hour < 18), 80.0, 20.0) + rng.normal(0, 2, len(hour))


@given(values=VALUES, cut=st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_a_restart_between_any_two_points_changes_nothing(values: list[float], cut: int) -> None:
    whole, halves = SurpriseState(), SurpriseState()
    for i, value in enumerate(values):
        if i == cut:
            halves = from_text(to_text(halves))
        assert score(whole, value, i % 24) == score(halves, value, i % 24)
    assert to_text(whole) == to_text(halves)
    assert len(to_text(whole)) <= 4096


@given(values=VALUES)
@settings(max_examples=60, deadline=None)
def test_scores_are_between_0_and_1_and_what_is_no_number_changes_nothing(values: list[float]) -> None:
    state = SurpriseState()
    for i, value in enumerate(values):
        before = to_text(state)
        found = score(state, value, i % 24)
        assert 0.0 <= found < 1.0
        if not math.isfinite(value):
            assert (found, to_text(state)) == (0.0, before)


def test_a_batch_gives_bit_for_bit_what_single_points_give() -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_t(2, (12, 1500)) + np.cumsum(rng.normal(size=(12, 1500)), axis=1) * 0.2
    values[3, 1:] = values[3, 0]  # constant
    values[4] = np.round(values[4])
    values[5, ::7], values[6, 900:], values[7, 10] = np.nan, np.nan, np.inf
    values[8] *= 1e40
    hour = np.tile(hours(1500, 3), (12, 1))
    first, states = score_many([SurpriseState() for _ in values], values[:, :700], hour[:, :700])
    second, states = score_many(states, values[:, 700:], hour[:, 700:])
    for row, found in enumerate(np.hstack([first, second])):
        state = SurpriseState()
        assert run(values[row], hour[row], state).tolist() == found.tolist()
        assert to_text(state) == to_text(states[row])


def test_a_batch_leaves_the_given_states_alone_and_wants_one_for_each_series() -> None:
    state = SurpriseState()
    score_many([state], np.ones((1, 5)), np.zeros((1, 5), dtype=np.int64))
    assert to_text(state) == to_text(SurpriseState())
    with pytest.raises(InvalidInput, match="2 states"):
        score_many([state, state], np.ones((1, 5)), np.zeros((1, 5), dtype=np.int64))


LAWS, LANES, POINTS = ("normal", "heavy", "daily"), 24, 10_000


@pytest.fixture(scope="module")
def quiet_scores() -> dict[str, np.ndarray]:
    """Scores of series in which nothing happens, of all laws in one batch: a step costs the same for many rows."""
    hour = np.tile(hours(POINTS, 1), (LANES, 1))
    values = []
    for law in LAWS:
        rng = np.random.default_rng(2)
        made = rng.standard_t(3, (LANES, POINTS)) if law == "heavy" else rng.normal(size=(LANES, POINTS))
        values.append(made + 3 * np.sin(2 * np.pi * hour / 24) if law == "daily" else made)
    states = [SurpriseState() for _ in range(LANES * len(LAWS))]
    scores, _ = score_many(states, np.concatenate(values), np.tile(hour, (len(LAWS), 1)))
    return dict(zip(LAWS, np.split(scores, len(LAWS)), strict=True))


@pytest.mark.parametrize("law", LAWS)
def test_quiet_series_cost_the_budget_of_alarms_within_a_factor_of_two(
    law: str, quiet_scores: dict[str, np.ndarray]
) -> None:
    rate = float((quiet_scores[law][:, 3000:] >= ALARM).mean())
    assert BUDGET / 2 <= rate <= 2 * BUDGET


def test_a_day_without_its_plateau_is_found_though_no_value_is_new() -> None:
    values = plateaus(np.random.default_rng(3), 20)
    day = slice(16 * 288, 17 * 288)
    values[day] = 20 + np.random.default_rng(4).normal(0, 2, 288)
    found = np.flatnonzero(run(values, hours(len(values))) >= ALARM)
    assert any(day.start + 9 * 12 <= i < day.stop for i in found)


def test_a_level_never_seen_is_found_at_once_and_not_told_again_while_it_lasts() -> None:
    values = np.random.default_rng(5).normal(100, 3, 4000)
    values[3000:3050] += 60
    scores = run(values, hours(4000))
    assert scores[3000:3003].max() >= ALARM
    assert (scores[3000:3100] >= ALARM).sum() <= 2


def test_a_spike_that_comes_every_day_becomes_usual() -> None:
    values = np.random.default_rng(6).normal(10, 1, 40 * 288)
    values[100::288] += 50
    alarms = run(values, hours(len(values))) >= ALARM
    assert alarms[15 * 288 :].sum() <= 10  # of 25 spikes


def test_a_constant_series_raises_nothing_until_it_changes() -> None:
    values = np.full(3000, 7.0)
    values[2500] = 8.0
    scores = run(values, hours(3000))
    assert scores[:2500].max() < ALARM
    assert scores[2500] >= ALARM


def test_counts_stay_within_a_byte_however_long_a_series_stays_in_one_place() -> None:
    state = SurpriseState()
    rng = np.random.default_rng(7)
    for value in rng.choice([-1.0, 1.0], 3000).tolist():
        score(state, value, 3)
    assert max(max(totals) for totals in state.totals) < ROW_LIMIT
    assert [[sum(t[r : r + 24]) for r in range(0, len(t), 24)] for t in state.visits] == state.totals


@pytest.mark.parametrize("text", ["", "not base64 !", "AAAA", to_text(SurpriseState())[:-4]])
def test_a_text_that_is_no_state_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="state"):
        from_text(text)


def test_a_state_of_another_version_is_refused() -> None:
    with pytest.raises(InvalidInput, match="version 0"):
        from_text("AA" + to_text(SurpriseState())[2:])


@pytest.mark.data
def test_labelled_anomalies_of_the_development_series_are_found_at_the_fixed_threshold(data_dir: Path) -> None:
    from bench import _nab
    from bench.anomaly import batched, read

    folder = data_dir / "anomaly" / "nab"
    windows = _nab.read_windows(folder / "windows.json")
    files = read(folder)
    marked = [_nab.labelled(len(f.rows), _nab.rows_of(f.timestamps, windows[f.name])) for f in files]
    assert _nab.sweep(marked, batched(files)).at(ALARM)["standard"] >= 70


# ---------------------------------------------------------------- hours of a channel


def surged(views: float) -> tuple[ChannelHistory, int]:
    """A made channel whose newest post brings so many views between two readings of day 40, and when these begin."""
    history = make(44, 3).history()
    moment = T0 + 40 * DAY + 12 * HOUR
    post = int(np.flatnonzero(history.published_at <= moment - 6 * HOUR)[-1])
    rows = np.arange(history.offsets[post], history.offsets[post + 1])
    history.reading_views[rows[history.reading_ts[rows] > moment]] += views
    return history, moment


def test_the_hours_of_a_surge_are_found_and_given_to_the_post_that_brought_them() -> None:
    history, moment = surged(20_000)
    first = daily.first_day(history)
    assert first is not None
    (found,), _ = hourly.odd_hours([SurpriseState()], [hourly.hours_of(history, first, first + 42)])
    inside = [hour for hour in found if moment <= hour.start < moment + 4 * HOUR]
    assert inside
    expected = hourly.usual(history, inside[0].start)
    assert expected is not None
    assert inside[0].observed > 5 * expected
    top, rest = hourly.hour_causes(history, inside[0], expected)
    assert top.factor.startswith("post ")
    assert top.share + rest.share == pytest.approx(inside[0].observed - expected, abs=1e-9)
    assert top.share > 0.8 * (inside[0].observed - expected)


def test_hours_taken_day_by_day_with_restarts_raise_the_same_alarms() -> None:
    history, _ = surged(20_000)
    first = daily.first_day(history)
    assert first is not None
    (at_once,), (whole,) = hourly.odd_hours([SurpriseState()], [hourly.hours_of(history, first, first + 42)])
    text, found = to_text(SurpriseState()), []
    for day in range(first, first + 43):
        (odd,), (state,) = hourly.odd_hours([from_text(text)], [hourly.hours_of(history, day, day)])
        found += odd
        text = to_text(state)
    assert found == at_once
    assert text == to_text(whole)


def test_many_channels_together_are_watched_as_one_after_another() -> None:
    history, _ = surged(20_000)
    first = daily.first_day(history)
    assert first is not None
    spans = [hourly.hours_of(history, first, first + 42 - lane % 3) for lane in range(70)]
    together, states = hourly.odd_hours([SurpriseState() for _ in spans], spans)
    for lane in (0, 1, 2, 69):
        (alone,), (state,) = hourly.odd_hours([SurpriseState()], [spans[lane]])
        assert together[lane] == alone
        assert to_text(states[lane]) == to_text(state)
    assert together[0]


def test_an_hour_with_fewer_views_than_usual_blames_no_post() -> None:
    history, moment = surged(0)
    (cause,) = hourly.hour_causes(history, hourly.OddHour(moment, 1.0, 0.9), 50.0)
    assert (cause.factor, cause.share) == ("unexplained", -49.0)


def test_without_a_week_of_hours_nothing_is_called_usual() -> None:
    history = make(5, 1).history()
    assert hourly.usual(history, T0 + 4 * DAY) is None
