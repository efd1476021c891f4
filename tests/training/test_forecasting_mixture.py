"""Weights by the backtest, and intervals from what was missed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.forecasting.conformal import calibrate, widened
from training.forecasting.ensemble import weigh


def test_weight_goes_to_what_errs_less_and_twins_share_it() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (8, 4, 30, 10))
    errors = np.stack([3 * noise[:, 0], noise[:, 1], noise[:, 1], noise[:, 3]], axis=1)
    weights = weigh(errors)
    assert weights.sum(axis=1) == pytest.approx(1)
    mean = weights.mean(axis=0)
    assert mean[0] < 0.15
    assert mean[1] == pytest.approx(mean[2])
    assert mean[3] > 1.3 * mean[1], "two members which err alike are worth one"


def test_a_series_of_its_own_kind_gets_weights_of_its_own() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 1, (8, 2, 20, 10))
    noise[:, 1, :19] *= 3
    noise[:, 0, 19] *= 3
    weights = weigh(noise)
    assert weights[0, 0] > 0.8
    assert weights[19, 1] > 0.8


def test_a_lead_that_may_be_chance_is_not_believed() -> None:
    """Member 1 leads in the mean, by one origin alone; beside it a member that leads everywhere."""
    rng = np.random.default_rng(2)
    benchmark = rng.normal(0, 1, (8, 40, 10))
    lucky = benchmark * np.array([0.1, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1])[:, None, None]
    steady = benchmark * 0.97
    mean = weigh(np.stack([benchmark, lucky, steady], axis=1)).mean(axis=0)
    assert mean[2] > mean[1]


def test_a_lead_in_one_series_that_may_be_chance_is_not_believed() -> None:
    """Two series in which another member errs less than the group's: at every origin alike, and far less at one."""
    rng = np.random.default_rng(7)
    benchmark = rng.normal(0, 1, (8, 20, 10))
    other = rng.normal(0, 1, (8, 20, 10)) * 2.0
    other[:, 18] = benchmark[:, 18] * 0.8
    other[:, 19] = benchmark[:, 19] * np.array([0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9])[:, None]
    steady, lucky = weigh(np.stack([benchmark, other], axis=1))[18:, 1]
    assert steady > 0.6
    assert lucky < 0.9 * steady


def test_without_errors_weights_are_equal_or_the_groups() -> None:
    assert weigh(np.full((3, 4, 2, 5), np.nan)) == pytest.approx(0.25)
    rng = np.random.default_rng(3)
    errors = rng.normal(0, 1, (6, 2, 10, 5)) * np.array([3.0, 1.0])[None, :, None, None]
    errors[:, :, 9] = np.nan
    assert weigh(errors)[9, 1] > 0.7


@settings(max_examples=25)
@given(seed=st.integers(0, 99), k=st.integers(1, 8), n=st.integers(1, 6), h=st.integers(1, 12))
def test_intervals_are_nested_and_never_narrow_with_the_horizon(seed: int, k: int, n: int, h: int) -> None:
    residuals = np.random.default_rng(seed).standard_t(3, (k, n, h)) * np.arange(1, h + 1)
    spread = calibrate(residuals, np.ones(n))
    assert (spread.below <= 0).all()
    assert (spread.above >= 0).all()
    assert (spread.below[1] <= spread.below[0]).all()
    assert (spread.above[1] >= spread.above[0]).all()
    assert (np.diff(spread.above - spread.below, axis=2) >= -1e-9).all()


@pytest.mark.parametrize(("n", "k"), [(100, 6), (8, 8), (1, 8)])
def test_coverage_on_new_errors(n: int, k: int) -> None:
    """Series of different sizes, heavy tails; means over repetitions."""
    rng = np.random.default_rng(4)
    held = []
    for _ in range(max(200 // n, 4)):
        size = rng.lognormal(0, 1, n)
        errors = rng.standard_t(4, (k + 1, n, 8)) * size[:, None] * np.sqrt(np.arange(1, 9))
        spread = calibrate(errors[1:], size * rng.lognormal(0, 0.3, n))
        held.append(
            [((s[0] <= errors[0]) & (errors[0] <= s[1])).mean() for s in zip(*vars(spread).values(), strict=True)]
        )
    eighty, ninety_five = np.mean(held, axis=0)
    assert 0.76 < eighty < 0.87
    assert 0.92 < ninety_five < 0.985


def test_errors_that_grow_with_the_level_are_carried_to_the_present_level() -> None:
    rng = np.random.default_rng(5)
    level = 100.0 * 1.5 ** -np.arange(9)[:, None] * np.ones((9, 30))
    residuals = rng.normal(0, 0.1, (8, 30, 5)) * level[1:, :, None]
    wide = calibrate(residuals, np.ones(30), level)
    assert np.mean(wide.above[0]) == pytest.approx(0.1 * 100 * 1.28, rel=0.25)
    steady = calibrate(rng.normal(0, 10, (8, 30, 5)), np.ones(30), level)
    assert np.mean(steady.above[0]) == pytest.approx(12.8, rel=0.25)


def test_doubt_widens_where_it_is() -> None:
    spread = calibrate(np.random.default_rng(6).normal(0, 1, (8, 20, 4)), np.ones(20))
    doubt = np.zeros((20, 4))
    doubt[:, 2] = 5.0
    wider = widened(spread, doubt)
    assert wider.above[:, :, 1] == pytest.approx(spread.above[:, :, 1])
    assert (wider.above[0, :, 2] > 5).all()


def test_no_error_known_no_interval() -> None:
    assert np.isnan(calibrate(np.full((2, 3, 4), np.nan), np.ones(3)).above).all()
