"""Forecasts as a whole: degenerate series, declines, determinism, what the intervals hold."""

import numpy as np
import pytest

from core.errors import InsufficientData, InvalidInput
from training.forecasting.batch import Batch
from training.forecasting.forecaster import Forecasts, forecast


def weekly(n: int, length: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    profile = rng.normal(0, 10, (n, 7))
    return 100 + profile[:, np.arange(length) % 7] + rng.normal(0, 3, (n, length))


def everything(said: Forecasts) -> np.ndarray:
    return np.stack([said.mean, said.lo80, said.hi80, said.lo95, said.hi95])


@pytest.mark.parametrize("horizon", [0, -1, 10_000])
def test_a_horizon_out_of_range_is_refused(horizon: int) -> None:
    with pytest.raises(InvalidInput):
        forecast(Batch.of([np.arange(50.0)]), horizon, quick=True)


def test_too_short_a_series_is_named() -> None:
    with pytest.raises(InsufficientData) as gap:
        forecast(Batch.of([np.arange(50.0), np.arange(7.0)]), 3, quick=True)
    assert (gap.value.needed, gap.value.have, gap.value.details["series"]) == (8, 7, 1)


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("season", [1, 7])
def test_degenerate_series_get_sensible_forecasts(quick: bool, season: int) -> None:
    rng = np.random.default_rng(1)
    gappy = weekly(1, 120)[0]
    gappy[rng.random(120) < 0.4] = np.nan
    zeros = np.where(rng.random(120) < 0.8, 0.0, rng.poisson(5, 120).astype(float))
    series = [np.full(60, 5.0), np.arange(8.0) + 10, gappy, zeros, np.zeros(30)]
    for one in series:
        said = forecast(Batch.of([one], season), 10, quick=quick)
        found = everything(said)
        assert np.isfinite(found).all()
        known = one[np.isfinite(one)]
        assert (found >= 0).all()
        reach = np.ptp(known) + 1.0
        assert (said.mean <= known.max() + 2 * reach).all()
    constant = forecast(Batch.of([np.full(60, 5.0)], season), 10, quick=quick)
    assert everything(constant) == pytest.approx(5.0)


def test_a_decline_is_forecast_as_a_decline() -> None:
    rng = np.random.default_rng(2)
    falling = 1000 - 5.0 * np.arange(120) + rng.normal(0, 2, 120)
    said = forecast(Batch.of([falling]), 14)
    assert said.mean[0, -1] == pytest.approx(1000 - 5.0 * 133, abs=15)


@pytest.mark.parametrize("quick", [True, False])
def test_the_same_input_gives_the_same_output(quick: bool) -> None:
    batch = Batch.of(list(weekly(4, 100)), 7)
    one, other = (forecast(batch, 7, quick=quick) for _ in range(2))
    assert np.array_equal(everything(one), everything(other))


def test_intervals_are_nested_and_hold_what_they_say() -> None:
    values = weekly(40, 200)
    said = forecast(Batch.of(list(values[:, :-14]), 7), 14, quick=True)
    truth = values[:, -14:]
    assert (said.lo95 <= said.lo80).all()
    assert (said.lo80 <= said.mean).all()
    assert (said.mean <= said.hi80).all()
    assert (said.hi80 <= said.hi95).all()
    assert 0.74 < ((said.lo80 <= truth) & (truth <= said.hi80)).mean() < 0.86
    assert 0.91 < ((said.lo95 <= truth) & (truth <= said.hi95)).mean() < 0.985


def test_growth_by_percents_stays_within_reason() -> None:
    rng = np.random.default_rng(4)
    said = forecast(Batch.of([np.exp(0.05 * np.arange(60) + rng.normal(0, 0.2, 60))]), 1000)
    assert np.isfinite(everything(said)).all()
    assert said.mean.max() < 1e6


def test_a_known_week_is_found() -> None:
    values = weekly(10, 150)
    said = forecast(Batch.of(list(values[:, :-14]), 7), 14)
    assert np.abs(said.mean - values[:, -14:]).mean() < 3.2  # the noise alone: 2.4
