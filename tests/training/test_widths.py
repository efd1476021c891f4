"""How intervals go with the channel, and what is made of errors by folds that had learned from few rows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from core.history import Floats, Ints
from core.schemas.predictions import TARGETS
from tests.training.audience import make_history
from training.calibration import Calibration, calibrate
from training.dataset import Dataset, build
from training.names import FEATURES, PLACE
from training.widths import Widths, shrinkage

COVERAGE = 0.8


@pytest.fixture(scope="module")
def data() -> Dataset:
    return build([make_history(number) for number in (1, 2, 3)], 2**40)


def rows_of(size: Floats, spread: Floats, history: float = 30.0) -> np.ndarray:
    x = np.zeros((len(size), len(FEATURES)), dtype=np.float32)
    x[:, PLACE["level"]], x[:, PLACE["spread"]], x[:, PLACE["log_history"]] = size, spread, np.log(history)
    return x


def test_quiet_and_noisy_channels_are_held_alike(data: Dataset) -> None:
    """Two kinds of channels that the network cannot tell apart: one width for both would hold .66 and .94 or so."""
    rng = np.random.default_rng(1)
    noisy = rng.random(len(data)) < 0.5
    spread = np.where(noisy, 0.3, 0.1)
    x = data.x.copy()
    x[:, PLACE["spread"]], x[:, PLACE["log_history"]] = spread, np.log(30)
    x[:, PLACE["level"]] = np.where(noisy, 9.0, 6.0)
    channel = rng.integers(10, size=len(data)) + 10 * noisy

    def with_noise() -> Dataset:
        noise = rng.normal(0, 1, data.base.shape) * spread[:, None]
        return dataclasses.replace(
            data, x=x, channel=channel, actual=np.where(np.isfinite(data.actual), data.base + noise, np.nan)
        )

    seen, fresh = with_noise(), with_noise()
    raw = np.tile([-0.2, 0.0, 0.2], (len(data), len(TARGETS), 1))
    found = calibrate(seen, raw)
    q = found.apply(raw, data.ages, x)
    inside = (fresh.residual >= q[:, :, 0]) & (fresh.residual <= q[:, :, 2])
    known = np.isfinite(fresh.residual)
    for group in (noisy, ~noisy):
        assert inside[group][known[group]].mean() == pytest.approx(COVERAGE, abs=0.06)
    one_width = dataclasses.replace(found, widths=Widths()).apply(raw, data.ages, x)
    inside = (fresh.residual >= one_width[:, :, 0]) & (fresh.residual <= one_width[:, :, 2])
    assert inside[~noisy][known[~noisy]].mean() - inside[noisy][known[noisy]].mean() > 0.2


def test_a_channel_with_few_results_is_taken_for_a_usual_one() -> None:
    widths = Widths(float(np.log(0.1)))
    size = np.zeros(1)
    few, many = (float(widths.of(rows_of(size, np.full(1, 0.4), history))[0]) for history in (5.0, 30.0))
    assert 1 < few < many < 2  # the square root of four times the spread
    unknown = widths.of(rows_of(size, np.full(1, np.nan)))
    np.testing.assert_array_equal(unknown, 1.0)


def test_groups_of_few_channels_stay_near_the_whole() -> None:
    x = rows_of(np.repeat([1.0, 2.0, 3.0], 400), np.full(1200, 0.1))
    channel = np.repeat([*range(10), 10, 11], [40] * 10 + [400, 400])
    times = np.full((1200, 1), np.nan)
    times[:800] = 2.0  # ten channels, then a single one: outcomes at twice the distance
    found = Widths.between(x).with_factors(x, channel, times, COVERAGE)
    first, second, third = found.factors
    assert first == pytest.approx(2 ** (10 / 15))
    assert second == pytest.approx(2 ** (1 / 6))
    assert third == 1.0
    np.testing.assert_allclose(found.of(x[[0, 400, 800]]), [first, second, third])


def folds(*sizes: int) -> Ints:
    return np.repeat(np.arange(len(sizes)), sizes)


def test_errors_of_small_folds_shrink_to_the_last_ones_level() -> None:
    fold, residual = folds(50, 50, 50), np.ones((150, 1))
    residual[50:100] = 3.0  # a noisy time, for the starting point as for the fit
    off = residual * np.repeat([0.9, 0.8, 0.72], 50)[:, None]
    np.testing.assert_allclose(shrinkage(off, residual, fold), np.repeat([0.8, 0.9, 1.0], 50))


def test_a_learning_curve_only_falls() -> None:
    """A last fold that did worse than the others widens nothing: it is noise, or all three are alike."""
    fold, residual = folds(50, 50, 50), np.ones((150, 1))
    off = residual * np.repeat([0.8, 0.7, 0.9], 50)[:, None]
    np.testing.assert_allclose(shrinkage(off, residual, fold), 1.0)
    np.testing.assert_array_equal(shrinkage(off[:50], residual[:50], fold[:50]), 1.0)


def test_what_is_stored_comes_back_and_what_was_not_has_no_effect(data: Dataset) -> None:
    raw = np.tile([-0.2, 0.0, 0.2], (len(data), len(TARGETS), 1))
    steps = np.zeros((3, len(data), len(TARGETS)))
    found = calibrate(data, raw, steps)
    again = Calibration.of(found.to_plain(), 4)
    np.testing.assert_array_equal(
        again.apply(raw, data.ages, data.x, steps), found.apply(raw, data.ages, data.x, steps)
    )
    by_age = found.mix[:3, 0]  # as weights were before each target had its own
    old = {name: found.to_plain()[name] for name in ("trust", "stretch")} | {"mix": by_age.tolist()}
    before = Calibration.of(old, 4)
    np.testing.assert_array_equal(before.mix[:3, -1], by_age)
    np.testing.assert_array_equal(before.mix[3], 0.0)
    np.testing.assert_array_equal(before.widths.of(data.x), 1.0)
    for wrong in ({"size_factors": [1.0, 2.0]}, {"mix": np.zeros((5, 4))}, {"trust": [1.0]}):
        with pytest.raises(ValueError, match=r"."):
            Calibration.of(found.to_plain() | wrong, 4)
