"""All columns together: the level is kept, means, correlations and interactions are found, and their columns named."""

from __future__ import annotations

import numpy as np
import pytest

from actors.adaptive_learning.drift.batch.classifier import auc_of, effect_of, reconstruction_p
from actors.adaptive_learning.drift.batch.multiplicity import benjamini_hochberg, holm, simes
from actors.adaptive_learning.drift.batch.multivariate import Rows, compare_rows
from actors.adaptive_learning.drift.batch.permutation import _squared_distances, normal_scores, permutation_test
from core.errors import InsufficientData

NAMES = tuple(f"f{i}" for i in range(8))


def rows(values: np.ndarray) -> Rows:
    return Rows(values.astype(float), np.zeros((len(values), 0), dtype=object))


def test_holm_by_shares_is_holm_where_they_are_equal() -> None:
    p = np.array([0.01, 0.04, 0.03])
    np.testing.assert_allclose(holm(p, np.ones(3)), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm(p, np.array([0.1, 0.8, 0.1])), [0.05, 0.05, 0.05])


def test_simes_rejects_exactly_where_a_column_is_named() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        p = rng.random(6) ** 2
        assert (simes(p) <= 0.05) == benjamini_hochberg(p, 0.05).any()
    assert simes(np.zeros(0)) == 1.0


def test_the_permutation_test_keeps_its_level_under_any_distribution() -> None:
    rng = np.random.default_rng(2)
    found = []
    for _ in range(250):
        values = rng.standard_cauchy((120, 4)) + rng.standard_cauchy((120, 1))
        found.append(permutation_test(normal_scores(values[:50], values[50:]), 50, rng, permutations=99).p_value)
    assert np.mean(np.array(found) <= 0.05) <= 0.08
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)


def test_random_features_and_the_kernel_itself_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(150, 5)), rng.normal(0.18, 1, size=(150, 5))
    scores = normal_scores(a, b)
    exact = permutation_test(scores, 150, np.random.default_rng(4)).by_name["kernel"]
    monkeypatch.setattr("actors.adaptive_learning.drift.batch.permutation.EXACT_ROWS", 10)
    monkeypatch.setattr("actors.adaptive_learning.drift.batch.permutation.FOURIER", 2048)
    approximate = permutation_test(scores, 150, np.random.default_rng(4)).by_name["kernel"]
    assert approximate == pytest.approx(exact, abs=0.02)


def test_distances_are_never_negative() -> None:
    near = np.full((50, 3), 1e6) + np.random.default_rng(5).normal(0, 1e-9, (50, 3))
    assert (_squared_distances(near) >= 0).all()


def test_correlations_alone_are_found_and_the_pair_is_named() -> None:
    rng = np.random.default_rng(6)
    reference, recent = rng.normal(size=(400, 8)), rng.normal(size=(400, 8))
    recent[:, 5] = 0.5 * recent[:, 2] + np.sqrt(0.75) * recent[:, 5]
    found = compare_rows(NAMES, rows(reference), rows(recent), np.full(8, 0.5), 0.05, rng)
    assert found.rejected
    assert {found.pairs[0].first, found.pairs[0].second} == {"f2", "f5"}
    assert found.pairs[0].recent_correlation == pytest.approx(0.5, abs=0.1)
    assert found.pairs[0].reference_correlation == pytest.approx(0.0, abs=0.12)
    assert {member.name for member in found.members} >= {"permutation", "columns", "classifier", "reconstruction"}
    assert sum(member.share for member in found.members) == pytest.approx(1.0)


def test_an_interaction_is_found_by_the_classifier_and_weighed() -> None:
    rng = np.random.default_rng(7)
    reference, recent = rng.normal(size=(1500, 8)), rng.normal(size=(1500, 8))
    order = np.argsort(np.abs(recent[:, 0]) + 0.3 * np.abs(rng.normal(size=1500)))
    side = np.sign(recent[:, 1])
    recent[order, 1] = np.sort(np.abs(recent[:, 1])) * side[order]  # large where f0 is, and uncorrelated as before
    found = compare_rows(NAMES, rows(reference), rows(recent), np.full(8, 0.5), 0.05, rng)
    assert found.rejected
    assert found.auc is not None
    assert found.auc > 0.6
    assert {weight.column for weight in found.weights[:2]} == {"f0", "f1"}
    assert found.effect > 0.1
    assert found.pairs == ()


def test_reconstruction_is_centred_on_the_reference_and_works_for_one_column() -> None:
    rng = np.random.default_rng(8)
    factor = rng.normal(size=(600, 1)) @ np.ones((1, 6)) + 0.3 * rng.normal(size=(600, 6))
    moved = factor[300:] + np.array([1.0, -1, 0, 0, 0, 0])
    assert reconstruction_p(factor[:300], moved, rng) < 1e-6
    assert reconstruction_p(factor[:300], factor[300:], rng) > 0.01
    assert reconstruction_p(factor[:300, :1], factor[300:, :1] + 3, rng) < 1e-6
    assert reconstruction_p(np.ones((300, 3)), np.ones((300, 3)), rng) == 1.0


def test_effects_of_a_classifier_are_without_what_chance_gives() -> None:
    scores = np.array([0.1, 0.4, 0.4, 0.9])
    assert auc_of(scores, np.array([False, False, True, True])) == pytest.approx(0.875)
    assert effect_of(0.55, 250, 250) == 0.0
    assert effect_of(0.55, 5000, 5000) == pytest.approx(0.0316, abs=1e-3)
    assert effect_of(1.0, 5000, 5000) > 10


def test_one_constant_missing_or_categorical_column_is_enough_and_few_rows_are_not() -> None:
    rng = np.random.default_rng(9)
    for column in (np.zeros((60, 1)), np.full((60, 1), np.nan), np.where(rng.random((60, 1)) < 0.5, np.inf, 1.0)):
        assert not compare_rows(("x",), rows(column), rows(column), np.zeros(0), 0.05, rng).rejected
    kinds = np.array([["a"], [None], ["b"]] * 30, dtype=object)
    other = np.array([["a"], ["c"], ["c"]] * 30, dtype=object)
    empty = np.zeros((90, 0))
    found = compare_rows(("kind",), Rows(empty, kinds), Rows(empty, other), np.array([1e-9]), 0.05, rng)
    assert found.rejected
    assert found.effect > 0.25
    with pytest.raises(InsufficientData):
        compare_rows(("x",), rows(np.zeros((39, 1))), rows(np.zeros((60, 1))), np.zeros(0), 0.05, rng)
