from __future__ import annotations

import numpy as np
import pytest

from core.errors import InvalidInput, NoData
from training.stream.metrics import absolute_error, accuracy, task_scores

R = np.array([[0.9, 0.2, 0.3], [0.95, 0.8, 0.4], [0.6, 0.7, 0.85]])


def test_figures_of_one_matrix_by_hand() -> None:
    scores = task_scores(R, untrained=np.array([0.1, 0.1, 0.1]))
    assert scores.acc == pytest.approx((0.6 + 0.7 + 0.85) / 3)
    assert scores.bwt == pytest.approx(((0.6 - 0.9) + (0.7 - 0.8)) / 2)
    assert scores.forgetting == pytest.approx(((0.95 - 0.6) + (0.8 - 0.7)) / 2)
    assert scores.fwt == pytest.approx(((0.2 - 0.1) + (0.4 - 0.1)) / 2)
    assert scores.now == pytest.approx((0.9 + 0.8 + 0.85) / 3)
    assert scores.newest == 0.85


def test_errors_count_as_minus() -> None:
    scores = task_scores(-np.array([[0.2, 1.0], [0.5, 0.3]]))
    assert scores.bwt == pytest.approx(-0.3)
    assert scores.forgetting == pytest.approx(0.3)


def test_undefined_is_not_a_number() -> None:
    one = task_scores(np.array([[0.7]]))
    assert one.acc == 0.7
    assert np.isnan([one.bwt, one.fwt, one.forgetting]).all()
    assert np.isnan(task_scores(R).fwt)
    with pytest.raises(InvalidInput):
        task_scores(R[:2])


def test_prequential_scores() -> None:
    assert accuracy(np.array([1, 2, 3, 3]), np.array([1, 2, 0, 3])) == 0.75
    assert absolute_error(np.array([1.0, 2.0]), np.array([0.0, 4.0])) == 1.5
    with pytest.raises(NoData):
        accuracy(np.empty(0, np.int64), np.empty(0, np.int64))
