"""Members find what they are made for, and bear every series."""

from functools import partial

import numpy as np
import pytest

from training.forecasting.batch import Batch
from training.forecasting.members import fast, full
from training.forecasting.members.autoregression import autoregression
from training.forecasting.members.holidays import holiday_doubt, with_holidays, without_holidays
from training.forecasting.members.pooled import Pooled
from training.forecasting.members.seasonal import deseasonalised
from training.forecasting.members.simple import cycle_average, last_year, naive, seasonal_naive
from training.forecasting.members.smoothing import damped_trend, theta


def test_a_gap_takes_the_mean_of_its_phase() -> None:
    values = np.tile([10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0], 4)
    values[9] = values[15] = values[27] = np.nan
    filled = Batch.of([values], 7).filled[0]
    assert filled.tolist() == np.tile([10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0], 4).tolist()


def test_simple_members() -> None:
    line = Batch.of([np.arange(30.0)])
    assert naive(line, 2).tolist() == [[29, 29]]
    week = Batch.of([np.tile(np.arange(7.0), 3), np.arange(3.0)], 7)
    assert seasonal_naive(week, 8)[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 0]
    assert cycle_average(week, 7, 9)[0].tolist() == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("member", [damped_trend, theta])
def test_smoothing_follows_a_trend(member: object) -> None:
    said = member(Batch.of([3.0 * np.arange(80)]), 5)  # type: ignore[operator]
    assert 237 < said[0, 0] < 241
    assert said[0, -1] > said[0, 0]


def test_autoregression_returns_to_the_mean_at_the_process_own_pace() -> None:
    rng = np.random.default_rng(0)
    x = np.zeros(1000)
    for i in range(1, 1000):
        x[i] = 0.8 * x[i - 1] + rng.normal()
    x[-1] = 10.0
    said = autoregression(Batch.of([x]), 3, order=5, differences=False)[0]
    assert said == pytest.approx([8.0, 6.4, 5.1], abs=1.0)


def test_a_drift_that_may_be_chance_is_not_carried_on() -> None:
    rng = np.random.default_rng(1)
    walks = 100 + rng.normal(0, 1, (50, 200)).cumsum(axis=1)
    flat = np.abs(autoregression(Batch(walks), 10, order=1)[:, -1] - walks[:, -1])
    assert np.median(flat) < 0.5
    steady = walks + 2.0 * np.arange(200)
    risen = autoregression(Batch(steady), 10, order=1)[:, -1] - steady[:, -1]
    assert np.median(risen) == pytest.approx(20, abs=3)


def test_cycles_are_taken_out_and_cycles_of_chance_are_not() -> None:
    rng = np.random.default_rng(2)
    week = rng.normal(0, 10, 7)
    seasonal = 100 + 0.5 * np.arange(210) + week[np.arange(210) % 7] + rng.normal(0, 0.5, 210)
    flat, ahead = deseasonalised(Batch.of([seasonal], 7), 7, (7,))
    assert np.abs(ahead[0] - (week - week.mean())[np.arange(210, 217) % 7]).max() < 0.7
    assert np.abs(np.diff(flat.values[0])).mean() < 2
    walks = rng.normal(0, 1, (60, 300)).cumsum(axis=1)
    untouched, _ = deseasonalised(Batch(walks), 7, (52,))
    assert (np.abs(untouched.values - walks).max(axis=1) == 0).mean() > 0.8


def test_last_year_is_the_same_week() -> None:
    values = np.tile(np.arange(7.0), 80)
    values[-364 : -364 + 14] += 5  # two weeks of last year were higher
    said = last_year(Batch.of([values], 7), 14, smooth=1)
    assert said[0] == pytest.approx(np.tile(np.arange(7.0), 2) + 5)


def test_a_day_on_which_all_moved_comes_again_and_is_doubted() -> None:
    rng = np.random.default_rng(3)
    values = 100 + rng.normal(0, 1, (20, 500))
    values[:, 500 - 365 + 4] += 50
    batch = Batch(values, 7)
    plain, ahead = without_holidays(batch, 10)
    assert ahead[:, 4] == pytest.approx(50, abs=8)
    assert np.abs(np.delete(ahead, 4, axis=1)).mean() < 0.5
    assert plain.values[:, 139].max() < 110
    doubt = holiday_doubt(batch, 10)
    assert (doubt[:, 4] > 10).all()
    assert (doubt[:, 9] < 0.5).all()
    assert with_holidays(naive)(batch, 5)[:, 4] == pytest.approx(values[:, -1] + 50, abs=8)
    alone = Batch(values[:1], 7)
    assert without_holidays(alone, 10)[0] is alone, "one series' own days are no holidays"


def test_what_is_pooled_within_a_block_does_not_leak_into_another() -> None:
    rng = np.random.default_rng(4)
    values = 100 + rng.normal(0, 1, (10, 500))
    moved = values + 40 * (np.arange(500) == 500 - 365 + 2)
    together = Batch(np.concatenate([values, moved]), 7, copies=2)
    _, ahead = without_holidays(together, 5)
    assert np.abs(ahead[:10]).max() < 5
    assert (ahead[10:, 2] > 25).all()


def test_the_pooled_map_learns_from_all_what_none_shows_alone() -> None:
    rng = np.random.default_rng(5)
    changes = np.zeros((60, 40))
    for i in range(1, 40):
        changes[:, i] = -0.7 * changes[:, i - 1] + rng.normal(0, 1, 60)
    batch = Batch(100 + changes.cumsum(axis=1))
    said = Pooled(4).fit(batch, 1)(batch, 1)[:, 0] - batch.values[:, -1]
    assert np.corrcoef(said, changes[:, -1])[0, 1] < -0.95


@pytest.mark.parametrize("season", [1, 7, 24])
def test_every_member_bears_every_series_and_none_is_written_to(season: int) -> None:
    rng = np.random.default_rng(6)
    gappy = rng.normal(0, 1, 90)
    gappy[rng.random(90) < 0.4] = np.nan
    rows = [np.zeros(90), np.full(60, 3.0), gappy, np.arange(9.0), -np.arange(70.0), rng.poisson(0.3, 90).astype(float)]
    batch = Batch.of(rows, season)
    before = batch.values.copy()
    panels = (fast(season), full(season))
    for panel in panels:
        for name, member in panel.members.items():
            assert np.isfinite(member(batch, 30)).all(), name
        for name, learner in panel.learners.items():
            assert np.isfinite(learner.fit(batch, 30)(batch, 30)).all(), name
    assert np.array_equal(batch.values, before, equal_nan=True)


@pytest.mark.parametrize("member", [naive, damped_trend, theta, partial(autoregression, order=5)])
def test_a_series_forecast_does_not_depend_on_its_company(member: object) -> None:
    rng = np.random.default_rng(7)
    rows = [100 + rng.normal(0, 1, n).cumsum() for n in (50, 80, 120)]
    together = member(Batch.of(rows), 5)  # type: ignore[operator]
    alone = [member(Batch.of([row]), 5)[0] for row in rows]  # type: ignore[operator]
    assert together == pytest.approx(np.array(alone), rel=1e-6)
