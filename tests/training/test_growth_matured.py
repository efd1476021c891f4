from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from training.forecasting import matured
from training.forecasting.drift import Drift, Drifts
from training.forecasting.matured import THEORY
from training.forecasting.series import DailySeries


def test_half_of_the_weight_is_the_middle_members_and_one_far_off_loses_half() -> None:
    rng = np.random.default_rng(0)
    values = np.round(10_000 + np.cumsum(rng.normal(20, 5, 60)))
    drifts = Drifts.of([Drift.of(DailySeries("made", date(2026, 1, 1), values))])
    rates = matured.member_rates(drifts, np.full(60, 0.02))  # the others grow ten times as fast
    scale = matured.scales(drifts, np.full(60, np.nan))
    shared = matured.PoolHorizon(*matured.member_sums(drifts, rates, scale, 7), np.zeros(60), np.zeros((60, 4)))
    weights = matured.mix(drifts, rates, scale, 7, shared, np.arange(60)).weights[0, 10:]
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    assert (weights.max(axis=1) > 0.5).all()
    middle = np.argsort(rates[0, 10:14], axis=1)[:, 1]  # nothing has come due yet
    np.testing.assert_allclose(weights[np.arange(4), middle], 0.7)
    np.testing.assert_allclose(weights[:4, 2], 0.1)


def test_channels_that_err_alike_are_worth_one() -> None:
    rng = np.random.default_rng(0)
    own = rng.normal(size=(10, 60))
    alike, shorter = np.tile(own[:1], (10, 1)), np.tile(THEORY, (60, 1))
    one, same, apart = (matured.quantiles(scores, 1, shorter)[1][-1] for scores in (own[:1], alike, own))
    assert same == pytest.approx(one)
    assert 6 * one < apart <= 10 * one + 1e-9
