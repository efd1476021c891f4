from __future__ import annotations

import dataclasses
import subprocess
import sys
from datetime import date

import numpy as np
import pytest

from training.forecasting import matured
from training.forecasting.drift import Drift, Drifts
from training.forecasting.growth import Outlook, forecast, forecast_growth, learn, learn_from
from training.forecasting.growth_network import LEAST_CHANNELS, fitted
from training.forecasting.paying import tried
from training.forecasting.series import DailySeries

FIRST = date(2026, 1, 1)


def bursting(n: int = 12, days: int = 150, seed: int = 0) -> list[DailySeries]:
    """Steady channels with bursts that all die away alike, by .85 a day: what came tells how much is still to come."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        noise = float(np.exp(rng.normal(-7.8, 0.4)))
        changes = 3e-4 + noise * rng.normal(size=days)
        for day in np.flatnonzero(rng.random(days) < 0.03):
            changes[day:] += noise * rng.uniform(5, 12) * 0.85 ** np.arange(days - day)
        made.append(DailySeries(f"burst{i}", FIRST, np.round(1e5 * np.exp(np.cumsum(changes)))))
    return made


def walking(n: int = 12, days: int = 150, seed: int = 0) -> list[DailySeries]:
    """Channels whose rate of growth is a random walk: the past holds nothing beyond the rate."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        rate = 3e-4 + np.cumsum(rng.normal(0, 1.2e-5, days))
        changes = rate + 2e-4 * rng.normal(size=days)
        made.append(DailySeries(f"walk{i}", FIRST, np.round(1e5 * np.exp(np.cumsum(changes)))))
    return made


def outlook(channels: list[DailySeries], network: bool, seed: int = 0) -> Outlook:
    drifts = Drifts.of([Drift.of(one) for one in channels])
    return Outlook(drifts, learn_from(drifts, (7, 30), network=network, seed=seed), (7, 30))


def test_where_bursts_die_away_alike_the_network_has_weight_and_lowers_the_error() -> None:
    channels = bursting()
    without, beside = outlook(channels, False), outlook(channels, True)
    weight = beside.mixtures[7].weights[:, :, -1]
    assert (weight[:, :60] == 0).all()  # before it had proved itself
    assert (weight[:, -1] > 0.2).all()
    came, used = matured.change(beside.drifts, 7), weight > 0
    ours, simple = (np.abs(came - one.mixtures[7].mean)[used] for one in (beside, without))
    assert np.nanmean(ours) < 0.95 * np.nanmean(simple)
    told = forecast(channels[0], (7, 30), learn(channels, (7, 30))).horizons[0]
    assert told.weights["network"] == pytest.approx(weight[0, -1])
    assert sum(told.weights.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(3))
def test_where_the_rate_walks_it_has_none_and_nothing_changes(seed: int) -> None:
    channels = walking(seed=seed)
    pool = learn(channels, (7, 30))
    trial = pool.horizons[7].network
    assert pool.network is not None
    assert trial is not None
    assert trial.counted.sum() > 500  # it was tried
    assert (trial.trust == 0).all()
    told, plain = (forecast(channels[0], (7, 30), one) for one in (pool, learn(channels, (7, 30), network=False)))
    for one, other in zip(told.horizons, plain.horizons, strict=True):
        assert one.weights["network"] == other.weights["network"] == 0.0
        assert (one.mean, one.lo80, one.hi95) == (other.mean, other.lo80, other.hi95)


def test_few_channels_or_days_have_no_network() -> None:
    assert learn(bursting(LEAST_CHANNELS - 1), (7,)).network is None
    assert learn(bursting(12, 40), (7,)).network is None
    assert learn([], (7,)).network is None


@pytest.mark.parametrize("day", [128, 140])
def test_a_forecast_with_a_network_uses_nothing_later_than_its_origin(day: int) -> None:
    channels = bursting()
    hindsight = outlook(channels, True)
    known = [dataclasses.replace(one, values=one.values[: day + 1]) for one in channels]
    for row, one in enumerate(forecast_growth(known, (7, 30))):
        assert one.horizons[0].weights["network"] > 0.1
        for horizon in one.horizons:
            mean, ends = hindsight.bounds(row, day, horizon.days)
            assert (horizon.mean, horizon.lo80, horizon.hi95) == pytest.approx((mean, ends[0], ends[3]))


def test_a_channel_beside_the_pool_is_told_as_in_it_and_one_of_other_days_as_well() -> None:
    channels = bursting()
    pool, inside = learn(channels, (7, 30)), outlook(channels, True)
    later = dataclasses.replace(channels[3], first_day=FIRST.replace(day=11), values=channels[3].values[10:])
    for one in (channels[3], later):
        told = forecast(one, (7, 30), pool).horizons[0]
        assert told.weights["network"] > 0.2
        assert told.mean == pytest.approx(inside.bounds(3, 149, 7)[0], rel=1e-3)


def test_the_same_seed_gives_the_same_forecast_and_another_one_another() -> None:
    one, same, other = (outlook(bursting(), True, seed).mixtures[7].mean[:, -1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).all()


def test_it_learns_a_bend_from_outcomes_that_are_partly_unknown() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2_000, 5))
    y = np.stack([np.abs(x[:, 0]), x[:, 1]], axis=1)
    y[::2, 0] = np.nan
    y[1::2, 1] = np.nan
    off = np.nanmean(np.abs(fitted(x, y, np.random.default_rng(0))(x) - y), axis=0)
    simple = np.nanmean(np.abs(y - np.nanmedian(y, axis=0)), axis=0)
    assert off[0] < 0.75 * simple[0]  # no line tells |x| from its median
    assert off[1] < 0.1 * simple[1]


def test_a_member_is_trusted_when_channels_and_spans_agree() -> None:
    rng = np.random.default_rng(0)
    base = 1.0 + 0.1 * rng.random((10, 100))

    def trust(gain: np.ndarray, days: int = 10) -> float:
        return float(tried(np.stack([base, base - gain], axis=2), days).trust[-1])

    even = np.full((10, 100), 0.1) + rng.normal(0, 0.05, (10, 100))
    one_channel = np.where(np.arange(10) == 0, 1.0, 0.0)[:, None] + 0 * base
    one_span = np.where(np.arange(100) // 10 == 4, 1.0, 0.0)[None, :] + 0 * base
    assert trust(even) > 0.8
    assert trust(one_channel) == trust(one_span) == trust(-even) == trust(rng.normal(0, 0.1, base.shape)) == 0.0
    assert trust(even, days=40) == 0.0  # two spans are no evidence
    assert trust(np.where(np.arange(10)[:, None] < 3, even, np.nan)) == 0.0


def test_trust_of_a_day_rests_on_what_had_come_due() -> None:
    errors = np.random.default_rng(0).random((8, 90, 2)) + np.array([0.3, 0.0])
    trust = tried(errors, 7).trust
    assert trust[60] > 0
    errors[:, 60 - 7 + 1 :, 1] += 100.0
    np.testing.assert_array_equal(tried(errors, 7).trust[:61], trust[:61])


def test_no_torch_is_needed() -> None:
    code = (
        "import sys; from bench.growth import simulated; from training.forecasting.growth import forecast, learn; "
        "channels = simulated(8, 120); pool = learn(channels, (7,)); forecast(channels[0], (7,), pool); "
        "assert pool.network and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
