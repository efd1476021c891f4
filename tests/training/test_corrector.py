from __future__ import annotations

import json

import numpy as np
import pytest

from core.errors import ArtifactCorrupt
from core.history import Floats, Ints
from core.schemas.predictions import KNOWN_AGES_H, TARGETS
from training.corrector import LIMIT, LIMIT_STRETCH, Corrector
from training.names import FEATURES, PLACE

T, A = len(TARGETS), len(KNOWN_AGES_H)


def answers(n: int, rng: np.random.Generator) -> tuple[Floats, np.ndarray, np.ndarray]:
    """A network's quantiles (n x T x 3), its rows, their known ages."""
    middle = 0.3 * rng.standard_normal((n, T))
    x = np.zeros((n, len(FEATURES)), dtype=np.float32)
    x[:, PLACE["level"]] = np.log(rng.uniform(100, 10_000, n))
    return np.stack([middle - 0.26, middle, middle + 0.26], axis=2), x, rng.integers(0, A, n)


def learned(shift: float, spread: float, n: int = 3_000) -> tuple[Corrector, Floats, Floats]:
    """A corrector, and errors (n/3 x T) without and with it of later outcomes."""
    rng = np.random.default_rng(3)
    corrector = Corrector()
    q, x, ages = answers(n, rng)
    actual = q[:, :, 1] + shift + spread * rng.standard_normal((n, T))
    assert corrector.learn(q, x, ages, actual, np.tile(np.arange(n)[:, None], (1, T))) == n * T
    q, x, ages = answers(n // 3, rng)
    actual = q[:, :, 1] + shift + spread * rng.standard_normal((n // 3, T))
    return corrector, actual[:, :, None] - q, actual[:, :, None] - corrector.apply(q, x, ages)


def test_a_lasting_shift_is_taken_out() -> None:
    _, before, after = learned(0.25, 0.2)
    assert np.abs(before[:, :, 1]).mean() > 1.4 * np.abs(after[:, :, 1]).mean()
    assert abs(np.median(after[:, :, 1])) < 0.05  # the ridge holds an eighth of it back


def test_where_nothing_is_wrong_nothing_is_made_worse() -> None:
    _, before, after = learned(0.0, 0.2)
    assert np.abs(after[:, :, 1]).mean() < 1.02 * np.abs(before[:, :, 1]).mean()


@pytest.mark.parametrize("spread", [0.1, 0.35])
def test_the_interval_comes_to_hold_what_it_says(spread: float) -> None:
    _, before, after = learned(0.0, spread)
    covered = [float(((e[:, :, 0] >= 0) & (e[:, :, 2] <= 0)).mean()) for e in (before, after)]
    assert abs(covered[1] - 0.8) < 0.06
    assert abs(covered[1] - 0.8) < abs(covered[0] - 0.8)


def test_an_error_that_grows_with_the_network_s_step_and_the_channel_s_size_is_seen() -> None:
    rng = np.random.default_rng(5)
    corrector = Corrector()
    q, x, ages = answers(4_000, rng)

    def truth(q: Floats, x: np.ndarray) -> Floats:
        size = (x[:, PLACE["level"]].astype(float) - np.log(1000)) / 2
        return 0.6 * q[:, :, 1] + 0.15 * size[:, None]

    corrector.learn(q, x, ages, truth(q, x), np.tile(np.arange(4_000)[:, None], (1, T)))
    q, x, ages = answers(500, rng)
    error = truth(q, x) - corrector.apply(q, x, ages)[:, :, 1]
    assert np.abs(error).mean() < 0.5 * np.abs(truth(q, x) - q[:, :, 1]).mean()


def test_what_it_does_is_bounded_and_its_size_stays() -> None:
    corrector, _, _ = learned(50.0, 5.0)
    q, x, ages = answers(200, np.random.default_rng(9))
    shift = corrector.apply(q, x, ages)[:, :, 1] - q[:, :, 1]
    assert np.abs(shift).max() <= LIMIT + 1e-12
    assert np.abs(corrector.stretch).max() <= np.log(LIMIT_STRETCH) + 1e-12
    assert len(json.dumps(corrector.to_plain())) < 30_000


def test_outcomes_count_in_the_order_in_which_they_became_known() -> None:
    rng = np.random.default_rng(7)
    q, x, ages = answers(100, rng)
    actual = q[:, :, 1] + rng.standard_normal((100, T))
    known: Ints = rng.permutation(100 * T).reshape(100, T)
    one, two = Corrector(), Corrector()
    one.learn(q, x, ages, actual, known)
    turned = rng.permutation(100)
    two.learn(q[turned], x[turned], ages[turned], actual[turned], known[turned])
    np.testing.assert_array_equal(one.products, two.products)


def test_it_comes_back_from_json_as_it_was_and_a_copy_is_its_own() -> None:
    corrector, _, _ = learned(0.2, 0.2, 300)
    back = Corrector.from_plain(json.loads(json.dumps(corrector.to_plain())))
    q, x, ages = answers(50, np.random.default_rng(1))
    np.testing.assert_array_equal(back.apply(q, x, ages), corrector.apply(q, x, ages))
    copied = corrector.copy()
    copied.learn(q, x, ages, q[:, :, 1] + 1, np.zeros(q.shape[:2], dtype=np.int64))
    np.testing.assert_array_equal(back.products, corrector.products)


def test_what_is_no_corrector_is_refused() -> None:
    good = Corrector().to_plain()
    for bad in ({}, good | {"stretch": [1]}, good | {"moments": np.full((T, A, 3, 3), np.nan).tolist()}):
        with pytest.raises(ArtifactCorrupt):
            Corrector.from_plain(bad)
