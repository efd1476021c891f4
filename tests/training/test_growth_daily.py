from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from core.errors import InsufficientData, InvalidInput, NoData
from training.forecasting.daily import forecast_metric
from training.forecasting.series import DailySeries

FIRST = date(2026, 1, 1)


def weekly(days: int, seed: int = 0, name: str = "views_gained") -> DailySeries:
    day = np.arange(days)
    noise = np.exp(np.random.default_rng(seed).normal(0, 0.08, days))
    return DailySeries(name, FIRST, 1_000 * (1 + 0.5 * (day % 7 == 5)) * noise)


def test_the_week_comes_again_and_intervals_hold_it() -> None:
    series = weekly(120)
    found = forecast_metric(series, (1, 7, 13, 14), quick=True)
    assert found.origin == FIRST + timedelta(days=119)
    for one in found.horizons:
        usual = 1_500 if (119 + one.days) % 7 == 5 else 1_000
        assert one.mean == pytest.approx(usual, rel=0.1)
        assert one.lo95 < one.lo80 < usual < one.hi80 < one.hi95
        assert one.backtest.n >= 3
        assert one.backtest.mape < 20
        assert sum(one.weights.values()) == pytest.approx(1.0)


def test_peers_count_up_to_the_series_own_last_day() -> None:
    series = weekly(60)
    peers = [weekly(90, i, f"peer{i}") for i in range(1, 4)]
    cut = [DailySeries(p.name, FIRST, p.values[:60]) for p in peers]
    beside = forecast_metric(series, (7,), peers=peers, quick=True)
    assert beside == forecast_metric(series, (7,), peers=cut, quick=True)
    assert beside != forecast_metric(series, (7,), quick=True)
    ended = [
        DailySeries("ended", FIRST, weekly(50).values),
        DailySeries("later", FIRST + timedelta(days=80), np.ones(9)),
    ]
    assert forecast_metric(series, (7,), peers=ended, quick=True) == forecast_metric(series, (7,), quick=True)


def test_days_without_a_value_are_told() -> None:
    series = weekly(90)
    series.values[10:15] = np.nan
    assert forecast_metric(series, (7,), quick=True).notes == ("5 of 90 days have no value",)


def test_too_little_or_too_far() -> None:
    with pytest.raises(NoData):
        forecast_metric(weekly(0), (7,))
    with pytest.raises(InsufficientData) as few:
        forecast_metric(weekly(7), (7,))
    assert (few.value.needed, few.value.have) == (8, 7)
    with pytest.raises(InsufficientData) as far:
        forecast_metric(weekly(20), (7, 90))
    assert (far.value.needed, far.value.have) == (30, 20)
    for horizon in (0, 10_000):
        with pytest.raises(InvalidInput):
            forecast_metric(weekly(90), (horizon,))
