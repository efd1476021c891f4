"""Grid counts give exact distances, add up however rows are split or laid out, and no odd column breaks them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, ks_2samp, wasserstein_distance

from actors.adaptive_learning.drift.batch.categories import jensen_shannon, table, two_sample_p, unseen
from actors.adaptive_learning.drift.batch.grid import Grid
from actors.adaptive_learning.drift.batch.scores import GridReference, fisher, graded
from core.errors import InvalidInput

N = 20_000


def draws(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    return {
        "normal": lambda: rng.normal(size=n),
        "lognormal": lambda: rng.lognormal(0, 2, n),
        "cauchy": lambda: rng.standard_cauchy(n),
        "seconds": lambda: 1.7e9 + 1e6 * rng.random(n),
        "whole": lambda: rng.poisson(3, n).astype(float),
        "zeros": lambda: np.where(rng.random(n) < 0.6, 0.0, rng.exponential(size=n)),
    }[kind]()


@pytest.mark.parametrize("kind", ["normal", "lognormal", "cauchy", "seconds", "whole", "zeros"])
def test_distances_are_those_of_the_sorted_values(kind: str) -> None:
    rng = np.random.default_rng(1)
    a, b = draws(kind, N, rng), draws(kind, N, rng)
    if kind != "whole":
        b = b + 0.02 * np.subtract(*np.quantile(a, (0.75, 0.25)))
    found = GridReference.fit(a[:, None]).compare(b[:, None])
    exact = ks_2samp(a, b, method="asymp")
    assert found.distance[0] == pytest.approx(exact.statistic, abs=1e-3)
    assert found.distance_p[0] == pytest.approx(exact.pvalue, rel=0.2, abs=1e-6)


def test_wasserstein_is_in_deviations_of_the_reference() -> None:
    rng = np.random.default_rng(2)
    for kind in ("normal", "lognormal"):
        a = draws(kind, N, rng)
        low, high = np.quantile(a, (0.001, 0.999))
        b = a * 1.3
        found = GridReference.fit(a[:, None]).compare(b[:, None]).wasserstein[0]
        inner = a[(a >= low) & (a <= high)]
        expected = wasserstein_distance(np.clip(a, low, high), np.clip(b, low, high)) / np.std(inner)
        assert found == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int32])
def test_counts_do_not_depend_on_the_layout_and_add_up(order: str, kind: type) -> None:
    rng = np.random.default_rng(3)
    rows = np.asarray(rng.normal(0, 100, (30_000, 12)).astype(kind), order=order)
    grid = Grid.fit(rows)
    whole = grid.count(rows)
    np.testing.assert_array_equal(whole.present + whole.missing, 30_000)
    parts = [grid.count(rows[i : i + 7001]) for i in range(0, 30_000, 7001)]
    merged = sum(parts[1:], parts[0])
    np.testing.assert_array_equal(merged.cells, whole.cells)
    one = [Grid.fit(rows[:, [j]]).count(rows[:, [j]]).cells[0] for j in (0, 11)]
    np.testing.assert_array_equal(one, whole.cells[[0, 11]])


def test_a_wide_table_is_counted_as_its_columns_are() -> None:
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(5000, 70)).astype(np.float32)
    grid = Grid.fit(rows)
    np.testing.assert_array_equal(grid.count(rows).cells, grid.count(np.asfortranarray(rows)).cells)


def test_missing_infinite_constant_and_empty_columns_have_answers() -> None:
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(400, 5)).astype(np.float32)
    rows[::4, 0] = np.nan
    rows[::5, 1] = np.inf
    rows[:, 2] = 7.0
    rows[:, 3] = np.nan
    rows[0, 4] = 3e38
    kept = GridReference.fit(rows)
    same = kept.compare(rows)
    np.testing.assert_array_equal(same.reference_n, [300, 320, 400, 0, 400])
    np.testing.assert_array_equal(same.effect, np.zeros(5))
    assert same.p_values[3] == 1.0
    assert np.isnan(same.distance[3])
    assert np.isnan(same.wasserstein[2])
    moved = rows.copy()
    moved[:, 2] = np.float32(7.0001)
    assert kept.compare(moved).distance[2] == 1.0
    none = kept.compare(rows[:0])
    assert np.isnan(none.distance).all()
    assert (none.effect == 0).all()
    assert kept.compare(np.full_like(rows, np.nan)).missing_p[4] < 1e-100


def test_what_is_no_table_of_numbers_is_refused() -> None:
    with pytest.raises(InvalidInput, match="two axes"):
        Grid.fit(np.zeros(3))
    with pytest.raises(InvalidInput, match="3 columns, the grid 2"):
        Grid.fit(np.zeros((5, 2))).count(np.zeros((5, 3)))
    assert Grid.fit(np.zeros((5, 0))).count(np.zeros((5, 0))).cells.shape == (0, 4098)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=True), min_size=1, max_size=60), st.integers(0, 2**32 - 1))
def test_every_value_is_counted_once(values: list[float], seed: int) -> None:
    column = np.array(values, dtype=np.float32)[:, None]
    grid = Grid.fit(np.random.default_rng(seed).choice(column[:, 0], 20)[:, None])
    found = grid.count(column)
    assert int(found.present[0]) == int(np.isfinite(column).sum())
    assert int(found.missing[0]) == int((~np.isfinite(column)).sum())


def test_two_categories_and_many_are_tested_as_two_samples() -> None:
    rng = np.random.default_rng(6)
    shares = np.array([0.5, 0.2, 0.2, 0.1])
    rejected = []
    for _ in range(300):
        a, b = rng.multinomial(300, shares), rng.multinomial(300, shares)
        p = two_sample_p(a.astype(float), b.astype(float))
        assert p == pytest.approx(chi2_contingency([a, b], correction=False).pvalue)
        rejected.append(p < 0.05)
    assert np.mean(rejected) < 0.08
    assert fisher((0, 500, 20, 480)) < 1e-5
    assert fisher((3000, 7000, 3000, 7000)) == 1.0
    assert fisher((3000, 7000, 3300, 6700)) == pytest.approx(
        chi2_contingency([[3000, 7000], [3300, 6700]]).pvalue, rel=1e-6
    )


def test_scarce_categories_are_one_and_new_ones_are_named() -> None:
    old, new = {"a": 50, "b": 30, **{f"id{i}": 1 for i in range(40)}}, {"a": 40, "b": 30, "x": 20, "y": 3}
    a, b = table(old, new)
    assert (a.tolist(), b.tolist()) == ([50, 30, 0, 40], [40, 30, 20, 3])
    assert unseen(old, new) == (("x", "y"), pytest.approx(23 / 93))
    assert jensen_shannon(np.array([1.0, 0]), np.array([0, 5.0])) == pytest.approx(1.0)
    assert jensen_shannon(np.array([1.0, 3]), np.array([2.0, 6.0])) == pytest.approx(0.0, abs=1e-12)
    assert [graded(e) for e in (0.0, 0.09, 0.1, 0.25)] == ["low", "low", "medium", "high"]
