"""Columns that moved are named, columns that did not are not, and neither size nor odd columns fool the comparison."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control, ks_2samp

from actors.adaptive_learning.drift.batch.multiplicity import benjamini_hochberg
from actors.adaptive_learning.drift.univariate import compare, grade, same_mix, stability
from core.schemas.monitoring import FeatureDrift

NAMES = tuple(f"f{i}" for i in range(10))


def table(n: int, rng: np.random.Generator, columns: int = 10) -> np.ndarray:
    return rng.standard_normal((n, columns), dtype=np.float32)


@pytest.mark.parametrize(("n", "m"), [(2000, 300), (500, 500)])
def test_identical_data_seldom_alarms_and_is_never_graded_high(n: int, m: int) -> None:
    rng = np.random.default_rng(1)
    trials, alarms, grades = 150, 0, []
    for _ in range(trials):
        found = compare(NAMES, table(n, rng), table(m, rng))
        alarms += any(f.rejected for f in found)
        grades.append(grade(found))
    assert alarms / trials <= 0.09  # 5 % stated, two standard errors of 150 trials
    assert sum(g in ("medium", "high") for g in grades) <= 1


def test_a_moved_column_is_named_first() -> None:
    rng = np.random.default_rng(2)
    first = 0
    for _ in range(50):
        recent = table(2000, rng)
        recent[:, 3] += 0.25
        found = compare(NAMES, table(2000, rng), recent)
        first += min(found, key=lambda f: f.p_value).feature == "f3" and found[3].rejected
    assert first >= 48


def test_severity_is_by_size_and_not_by_the_number_of_rows() -> None:
    rng = np.random.default_rng(3)
    recent = table(200_000, rng, 1)
    recent += 0.02
    (tiny,) = compare(("x",), table(200_000, rng, 1), recent)
    assert tiny.rejected
    assert tiny.p_value < 1e-4
    assert tiny.effect < 0.01
    assert grade([tiny]) == "low"
    (large,) = compare(("x",), table(2000, rng, 1), table(300, rng, 1) + 1)
    assert grade([large]) == "high"


def test_the_index_is_without_what_chance_alone_gives() -> None:
    rng = np.random.default_rng(4)
    same = [stability(table(200, rng, 1)[:, 0], table(100, rng, 1)[:, 0]) for _ in range(300)]
    assert np.mean(np.array(same) > 0) <= 0.01
    moved = [stability(table(20_000, rng, 1)[:, 0], table(20_000, rng, 1)[:, 0] + 0.5) for _ in range(5)]
    assert np.mean(moved) == pytest.approx(0.24, abs=0.03)  # about shift squared


def test_a_column_that_lost_its_values_is_drift_and_one_that_never_had_any_is_not() -> None:
    rng = np.random.default_rng(5)
    reference, recent = table(1000, rng, 3), table(300, rng, 3)
    reference[:, 1] = recent[:, 1] = np.nan
    reference[:500, 2] = np.nan
    recent[:, 2] = np.nan
    never_moved, never_there, lost = compare(("a", "b", "c"), reference, recent)
    assert not never_moved.rejected
    assert (never_there.rejected, never_there.effect, never_there.p_value) == (False, 0.0, 1.0)
    assert lost.rejected
    assert lost.missing_change == pytest.approx(0.5)
    assert lost.effect > 0.25


def test_constants_and_flags_are_compared_too() -> None:
    rng = np.random.default_rng(6)
    constant = np.full((800, 1), 2.0, dtype=np.float32)
    (same,) = compare(("c",), constant, constant[:200])
    assert (same.rejected, same.effect) == (False, 0.0)
    (moved,) = compare(("c",), constant, constant[:200] - 1)
    assert moved.rejected
    assert moved.effect > 1
    flags = (rng.random((2000, 1)) < 0.1).astype(np.float32)
    (more,) = compare(("flag",), flags, (rng.random((500, 1)) < 0.4).astype(np.float32))
    assert more.rejected
    assert grade([more]) in ("medium", "high")
    (equal,) = compare(("flag",), flags, (rng.random((500, 1)) < 0.1).astype(np.float32))
    assert not equal.rejected


def test_p_values_agree_with_scipy() -> None:
    rng = np.random.default_rng(7)
    reference, recent = table(900, rng, 4), table(400, rng, 4) + np.array([0, 0.1, 0.2, 0.3], dtype=np.float32)
    for i, found in enumerate(compare(("a", "b", "c", "d"), reference, recent)):
        expected = ks_2samp(reference[:, i], recent[:, i], method="asymp").pvalue
        assert found.p_value == pytest.approx(expected, rel=0.5, abs=1e-6)  # scipy corrects for small samples


def test_false_discoveries_are_held_as_scipy_holds_them() -> None:
    rng = np.random.default_rng(8)
    for _ in range(50):
        p = rng.random(12) ** 3
        np.testing.assert_array_equal(benjamini_hochberg(p, 0.05), false_discovery_control(p) <= 0.05)
    assert benjamini_hochberg(np.zeros(0), 0.05).shape == (0,)


def test_another_mix_of_ages_is_not_drift() -> None:
    rng = np.random.default_rng(9)

    def rows(n: int, share: float) -> np.ndarray:
        young = rng.random(n) < share
        early = np.where(young, np.nan, rng.normal(3, 1, n))
        return np.column_stack([young, ~young, early]).astype(np.float32)

    reference, recent = rows(2000, 0.25), rows(400, 0.9)
    assert compare(("age_0", "age_1", "early"), reference, recent)[2].rejected
    matched = same_mix(reference, recent, (0, 1))
    assert len(matched) > 400
    assert not any(f.rejected for f in compare(("age_0", "age_1", "early"), matched, recent))
    assert same_mix(reference, recent, ()) is reference
    unknown = np.zeros((50, 3), dtype=np.float32)
    assert same_mix(reference, unknown, (0, 1)) is reference


def test_only_named_columns_are_graded() -> None:
    assert grade([FeatureDrift("a", 0.9, 0.4, False, 0.0)]) == "none"
    assert grade([FeatureDrift("a", 0.12, 0.001, True, 0.0), FeatureDrift("b", 0.9, 0.4, False, 0.0)]) == "medium"
