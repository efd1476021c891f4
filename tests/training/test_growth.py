from __future__ import annotations

import dataclasses
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.growth import days, readings, rolling, simulated
from core.errors import InsufficientData, InvalidInput, NoData
from core.history import Floats
from training.forecasting.drift import LEAST_DAYS, Drift, Drifts
from training.forecasting.growth import Outlook, forecast, forecast_growth, learn, learn_from
from training.forecasting.result import Forecast
from training.forecasting.series import DailySeries

FIRST = date(2026, 1, 1)
HORIZONS = (7, 14, 30)


def made(values: object, name: str = "made", first: date = FIRST) -> DailySeries:
    return DailySeries(name, first, np.asarray(values, dtype=float))


def alone(values: object, horizons: tuple[int, ...] = HORIZONS) -> Forecast:
    return forecast_growth([made(values)], horizons)[0]


def growing(days: int, a_day: float, noise: float = 5.0, start: float = 10_000, seed: int = 0) -> Floats:
    steps = a_day + np.random.default_rng(seed).normal(0, noise, days - 1)
    return np.round(start + np.concatenate([[0.0], np.cumsum(steps)]))


def test_steady_growth_goes_on_and_intervals_hold_it() -> None:
    found = alone(growing(90, 20.0))
    assert found.origin == FIRST + timedelta(days=89)
    for one in found.horizons:
        assert one.mean == pytest.approx(found.last + 20.0 * one.days, abs=2.0 * one.days)
        assert one.lo95 < one.lo80 < one.mean < one.hi80 < one.hi95
        assert one.lo80 <= found.last + 20.0 * one.days <= one.hi80
        assert sum(one.weights.values()) == pytest.approx(1.0)
        assert one.backtest.n == 90 - LEAST_DAYS + 1 - one.days
        assert one.backtest.mape < 1.0


def test_a_decline_is_forecast_as_a_decline_and_never_below_zero() -> None:
    found = alone(growing(60, -100.0, start=8_000), (7, 30, 90))
    assert [one.mean < found.last for one in found.horizons] == [True] * 3
    assert found.horizons[0].mean == pytest.approx(found.last - 700, rel=0.05)
    assert found.horizons[-1].mean == found.horizons[-1].lo95 == 0.0


def test_a_channel_that_never_changes_stays_within_a_few_subscribers() -> None:
    for one in alone(np.full(60, 500.0)).horizons:
        assert one.mean == 500.0
        assert 400 < one.lo95 < one.lo80 < 500.0 < one.hi80 < one.hi95 < 600


def test_an_empty_channel_is_forecast_empty() -> None:
    for one in alone(np.zeros(40)).horizons:
        assert (one.mean, one.lo80) == (0.0, 0.0)
        assert np.isfinite(one.hi95)
        assert np.isnan(one.backtest.mape)  # no percentage of nothing
        assert one.backtest.coverage80 == 1.0


def test_days_without_change_and_a_few_joins() -> None:
    values = 1_000 + np.cumsum(np.random.default_rng(0).random(80) < 0.15)
    found = alone(values)
    assert found.steps == ()
    assert found.last <= found.horizons[-1].mean < found.last + 10


def test_eight_days_are_enough_and_seven_are_not() -> None:
    values = growing(8, 20.0)
    found = alone(values, (1, 7, 24))
    assert [one.backtest.n for one in found.horizons] == [0, 0, 0]
    assert any("has come due" in note for note in found.notes)
    with pytest.raises(InsufficientData) as few:
        alone(values[:7], (7,))
    assert (few.value.needed, few.value.have) == (8, 7)
    with pytest.raises(InsufficientData) as short:
        alone(values, (7, 30))
    assert (short.value.needed, short.value.have) == (10, 8)
    with pytest.raises(NoData):
        alone([np.nan] * 30)
    with pytest.raises(NoData):
        alone([])


def test_without_any_pool_theory_gives_the_width() -> None:
    assert forecast_growth([], HORIZONS) == ()
    (bare,) = forecast(made(growing(60, 20.0)), (14,), learn([], (14,))).horizons
    (usual,) = alone(growing(60, 20.0), (14,)).horizons
    assert bare.mean == pytest.approx(usual.mean, rel=1e-3)
    assert 0.3 < (bare.hi80 - bare.lo80) / (usual.hi80 - usual.lo80) < 3.0


@pytest.mark.parametrize("horizons", [(0,), (10_000,), (7, -1), ()])
def test_horizons_out_of_range_are_refused(horizons: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput):
        alone(growing(60, 1.0), horizons)


def test_counts_that_are_none_are_refused() -> None:
    with pytest.raises(InvalidInput):
        alone([-1.0] * 20)
    with pytest.raises(InvalidInput):
        alone([np.inf] * 20)
    with pytest.raises(InvalidInput):
        forecast_growth([made(growing(60, 1.0))], (7,), target=1)
    with pytest.raises(InvalidInput):
        forecast(made(growing(60, 1.0)), (5,), learn([made(growing(60, 1.0))], (14,)))


def test_unread_days_are_told_and_change_little() -> None:
    values = growing(90, 20.0)
    gappy = values.copy()
    gappy[np.random.default_rng(1).random(90) < 0.4] = np.nan
    gappy[[0, -1]] = values[[0, -1]]
    whole, holes = alone(values), alone(gappy)
    assert any("were not read" in note for note in holes.notes)
    for one, other in zip(whole.horizons, holes.horizons, strict=True):
        assert other.mean == pytest.approx(one.mean, abs=10.0 * one.days)
        assert other.backtest.n < one.backtest.n


def test_the_origin_is_the_last_day_read() -> None:
    values = np.concatenate([growing(60, 20.0), [np.nan] * 5])
    found = forecast_growth([made(values), made(growing(65, 10.0), "other")], HORIZONS, target=0)[0]
    assert found.origin == FIRST + timedelta(days=59)
    assert any("5 days before other channels" in note for note in found.notes)


def test_a_purge_is_told_and_not_taken_for_growth() -> None:
    values = growing(80, 20.0)
    purged = values.copy()
    purged[70:] -= 900
    found, clean = alone(purged), alone(values)
    (step,) = found.steps
    assert step.day == FIRST + timedelta(days=70)
    assert step.size == pytest.approx(-900, abs=25)
    for one, other in zip(found.horizons, clean.horizons, strict=True):
        assert one.mean - found.last == pytest.approx(other.mean - clean.last, abs=0.2 * 20 * one.days)


def test_growth_that_lasts_is_a_new_pace_and_not_a_step() -> None:
    values = np.concatenate([growing(60, 0.0), growing(60, 0.0)[-1] + 200 * np.arange(1, 7)])
    found = alone(values)
    assert found.steps == ()
    assert found.horizons[0].mean > found.last + 7 * 50


def test_what_the_others_do_counts_more_for_longer_horizons_and_little_history() -> None:
    others = [made(growing(90, 50.0, seed=i), f"other{i}") for i in range(6)]
    new = made(growing(10, 0.0), "new", FIRST + timedelta(days=80))
    beside = forecast_growth([*others, new], (7,), target=6)[0]
    by_itself = forecast_growth([new], (7,))[0]
    assert by_itself.horizons[0].mean < beside.horizons[0].mean
    assert beside.horizons[0].mean < new.values[-1] + 7 * 50


@settings(max_examples=3, deadline=None)
@given(day=st.integers(LEAST_DAYS + 2, 88), seed=st.integers(0, 3))
def test_a_forecast_uses_nothing_later_than_its_origin(day: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    channels = [dataclasses.replace(one, values=one.values.copy()) for one in simulated(4, 90, seed)]
    for one in channels:
        one.values[rng.random(90) < 0.1] = np.nan
        one.values[[0, day]] = 5_000.0, 5_100.0 + rng.integers(100)
    drifts = Drifts.of([Drift.of(one) for one in channels])
    hindsight = Outlook(drifts, learn_from(drifts, (7, 20)), (7, 20))
    known = [dataclasses.replace(one, values=one.values[: day + 1]) for one in channels]
    told = {one.series: one for one in forecast_growth(known, (7, 20))}
    for row, one in enumerate(channels):
        for horizon in told[one.name].horizons:
            mean, ends = hindsight.bounds(row, day, horizon.days)
            assert (horizon.mean, horizon.lo80, horizon.hi95) == pytest.approx((mean, ends[0], ends[3]))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.one_of(st.integers(0, 10**7).map(float), st.just(float("nan"))), min_size=0, max_size=60),
    st.integers(1, 60),
)
def test_any_counts_give_ordered_finite_intervals_or_a_typed_error(values: list[float], horizon: int) -> None:
    try:
        (one,) = alone(values, (horizon,)).horizons
    except InsufficientData:
        return
    assert 0 <= one.lo95 <= one.lo80 <= one.mean <= one.hi80 <= one.hi95 < np.inf


def test_intervals_hold_what_they_promise_where_growth_walks() -> None:
    rows = rolling(simulated(10, 120, seed=5), 28)
    due = rows[rows.actual.notna() & (rows.horizon_days <= 30)]
    for _, part in due.groupby("horizon_days"):
        assert 0.73 <= ((part.actual >= part.lo80) & (part.actual <= part.hi80)).mean() <= 0.88
        assert 0.90 <= ((part.actual >= part.lo95) & (part.actual <= part.hi95)).mean() <= 0.99


def test_readings_become_days_of_the_channels_own_zone() -> None:
    ts = np.array([1_767_300_000, 1_767_301_200, 1_767_225_600, 1_767_474_000])  # 2026-01-01 20:40, 21:00, 00:00; 03
    found = DailySeries.from_readings("made", ts, np.array([5.0, 6.0, 4.0, 9.0]), "Europe/Moscow")
    assert found.first_day == FIRST
    np.testing.assert_array_equal(found.values, [5.0, 6.0, np.nan, 9.0])


@pytest.mark.data
@pytest.mark.parametrize("name", ["tracked/subscribers.csv", "streamers/followers.csv"])
def test_real_channels_are_forecast_better_than_by_their_median_change(data_dir: Path, name: str) -> None:
    rows = rolling(days(readings(data_dir / "channels" / name)), 28)
    due = rows[rows.actual.notna()]
    for _, part in due.groupby("horizon_days"):
        ours, simple = ((part[by] / part.actual - 1).abs().mean() for by in ("mean", "median"))
        assert ours < 0.95 * simple
