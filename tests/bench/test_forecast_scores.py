"""The M4 scores and Naive2 against figures worked out by hand."""

import numpy as np
import pytest

from bench import _forecast_scores as scores


def test_scores_by_hand() -> None:
    points, truth = np.array([[110.0, 90.0]]), np.array([[100.0, np.nan]])
    assert scores.smape(points, truth) == pytest.approx([200 * 10 / 210])
    assert scores.mase(points, truth, np.array([5.0])) == pytest.approx([2.0])
    low, high = np.array([[105.0, 0.0]]), np.array([[115.0, 1.0]])
    assert scores.msis(low, high, truth, np.array([5.0]), 0.95) == pytest.approx([(10 + 40 * 5) / 5])
    assert scores.covered(low, high, np.array([[110.0, np.nan]]))[0, 0] == 1
    ours, theirs = (np.array([1.0, 3.0]), np.array([1.0])), (np.array([4.0, 4.0]), np.array([2.0]))
    assert scores.owa(ours, theirs) == 0.5


def test_naive2_adjusts_only_for_a_season_that_is_there() -> None:
    profile = np.array([0.5, 1.0, 1.5, 1.0])
    seasonal = 100 * np.tile(profile, 10)
    assert scores.naive2(seasonal, 6, 4) == pytest.approx(100 * profile[[0, 1, 2, 3, 0, 1]])
    walk = 100 + np.random.default_rng(0).normal(0, 1, 40).cumsum()
    assert scores.naive2(walk, 3, 1).tolist() == [walk[-1]] * 3


def test_the_seasonal_naive_keeps_its_zeros() -> None:
    assert scores.seasonal_naive(np.array([1.0, 2.0, 0.0, 3.0]), 3, 2).tolist() == [0, 3, 0]
