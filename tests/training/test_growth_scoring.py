from __future__ import annotations

import math

import pytest

from core.errors import InvalidInput
from training.forecasting.result import Accuracy, HorizonForecast
from training.forecasting.scoring import accuracy, score


def told(days: int, mean: float) -> HorizonForecast:
    nothing = Accuracy(0, math.nan, math.nan, math.nan, math.nan)
    return HorizonForecast(days, mean, mean - 10, mean + 10, mean - 20, mean + 20, {}, nothing)


def test_a_forecast_that_came_due() -> None:
    found = score(7, told(7, 110.0), 100.0)
    assert (found.error, found.ape, found.inside80, found.inside95) == (
        pytest.approx(10.0),
        pytest.approx(10.0),
        True,
        True,
    )
    found = score(7, told(7, 85.0), 100.0)
    assert (found.error, found.inside80, found.inside95) == (pytest.approx(-15.0), False, True)
    assert not score(7, told(7, 79.0), 100.0).inside95


def test_nothing_has_no_percentage_but_lies_inside_or_not() -> None:
    found = score(7, told(7, 5.0), 0.0)
    assert math.isnan(found.error)
    assert found.inside80
    with pytest.raises(InvalidInput):
        score(7, told(7, 5.0), math.nan)


def test_accuracy_by_horizon() -> None:
    rows = [score(14, told(14, 101.0), 100.0), score(7, told(7, 110.0), 100.0), score(7, told(7, 85.0), 100.0)]
    rows.append(score(7, told(7, 5.0), 0.0))
    found = accuracy(rows)
    assert list(found) == [7, 14]
    assert found[14] == Accuracy(1, pytest.approx(1.0), 1.0, 1.0, pytest.approx(1.0))
    assert found[7] == Accuracy(3, pytest.approx(12.5), pytest.approx(2 / 3), 1.0, pytest.approx(-2.5))
    assert accuracy([]) == {}
