"""The backtest looks at the past of each origin alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.forecasting.backtest import backtest, rolling_origins
from training.forecasting.batch import Batch
from training.forecasting.members import full


@pytest.mark.parametrize("season", [1, 7])
def test_what_comes_after_an_origin_changes_nothing_said_there(season: int) -> None:
    rng = np.random.default_rng(0)
    values = 50 + rng.normal(0, 1, (5, 160)).cumsum(axis=1)
    values[0, 100:110] = np.nan
    changed = values.copy()
    changed[:, -10:] = 1e6
    changed[1, -20:] = np.nan
    panel = full(season)
    origins = (20, 40)
    one, other = (backtest(Batch(v, season), 10, origins, panel.members, panel.learners) for v in (values, changed))
    assert np.array_equal(one.points, other.points)
    assert np.array_equal(one.unit, other.unit)
    assert not np.array_equal(one.ahead, other.ahead)


def test_truth_is_what_came_after_the_origin() -> None:
    batch = Batch.of([np.arange(40.0), np.arange(9.0)])
    tested = backtest(batch, 5, (5, 3), {"naive": lambda b, h: np.repeat(b.filled[:, -1:], h, axis=1)})
    assert tested.truth[0, 0].tolist() == [35, 36, 37, 38, 39]
    assert tested.points[0, 0, 0].tolist() == [34] * 5
    assert np.isnan(tested.truth[1, 0, 3:]).all()
    assert tested.truth[1, 1, :3].tolist() == [6, 7, 8]
    assert np.isnan(tested.truth[0, 1]).all(), "four values before the origin are too few"


@given(
    length=st.integers(8, 400),
    horizon=st.integers(1, 100),
    count=st.integers(1, 10),
    season=st.sampled_from([1, 7, 24]),
)
def test_origins_leave_something_to_learn_from(length: int, horizon: int, count: int, season: int) -> None:
    origins = rolling_origins(Batch(np.ones((1, length)), season), horizon, count)
    assert len(origins) <= count
    assert list(origins) == sorted(set(origins))
    assert all(1 <= o < length for o in origins)


@pytest.mark.parametrize(("length", "horizon", "found"), [(400, 14, 16), (229, 14, 16), (228, 14, 8), (400, 90, 8)])
def test_more_origins_where_all_lie_a_horizon_apart(length: int, horizon: int, found: int) -> None:
    origins = rolling_origins(Batch(np.ones((1, length))), horizon, 8, 16)
    assert len(origins) == found
    if found == 16:
        assert set(np.diff(origins)) == {horizon}
