from __future__ import annotations

import numpy as np
import pytest

from training.forecasting.steps import LONGEST, STEP, WINDOW, steps, usual


def row(*values: float) -> np.ndarray:
    return np.array([values])


def test_usual_change_is_not_moved_by_a_step_nor_by_quiet_days() -> None:
    rng = np.random.default_rng(0)
    past = rng.normal(10, 5, (1, 60))
    centre, spread = usual(past)
    past[0, -3] = 10_000
    moved_centre, moved_spread = usual(past)
    assert moved_centre == pytest.approx(centre, abs=2)
    assert moved_spread == pytest.approx(spread, rel=0.4)
    quiet = row(*([0.0] * 16 + [4.0, 5, 3, 6, 4.0, 0, 5, 3, 0, 6, 0, 4]))
    assert usual(quiet)[1].item() >= 3.0


def test_only_the_window_counts_and_missing_days_do_not() -> None:
    past = np.concatenate([np.full(50, 1000.0), np.full(WINDOW, 7.0)])[None]
    assert [x.item() for x in usual(past)] == [7.0, 1.0]
    assert usual(row(np.nan, np.nan, 2.0, 4.0))[0].item() == 3.0


@pytest.mark.parametrize(("days", "found"), [(1, 1), (LONGEST, LONGEST), (LONGEST + 1, 0)])
def test_as_many_far_days_as_a_step_may_take(days: int, found: int) -> None:
    past = np.zeros((1, 40))
    past[0, 20 : 20 + days] = -100.0
    out = steps(past, np.zeros((1, 1)), np.ones((1, 1)))
    assert out.sum() == found


def test_far_is_beyond_the_limit_and_nothing_before_the_first_change() -> None:
    past = row(np.nan, STEP + 0.5, 0.0, STEP - 0.5, 0.0)
    np.testing.assert_array_equal(steps(past, np.zeros((1, 1)), np.ones((1, 1))), [[False, True, False, False, False]])
