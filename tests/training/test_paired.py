"""Two versions asked about the same newer posts: only fair rows, and verdicts that equal versions hardly ever get."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np
import pytest
from scipy.stats import rankdata

from core.errors import InsufficientData
from core.history import NEVER, Floats
from core.schemas.predictions import KNOWN_AGES_H, TARGETS
from tests.training.audience import START, make_history
from training import paired
from training.dataset import Dataset, build
from training.evaluate import auc_of
from training.paired import compared, fair_rows, weighted_auc

FAR = 2**40


@pytest.fixture(scope="module")
def data() -> Dataset:
    return build([make_history(number) for number in (1, 3)], FAR)


class Says:
    """A version that answers what was measured, off by some noise of its own (log quantiles, n x T x 3)."""

    def __init__(self, rows: Dataset, shift: float, noise: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        middle = rows.actual + shift + noise * rng.standard_normal(rows.actual.shape)
        self.logs: Floats = np.stack([middle - 0.13, middle, middle + 0.13], axis=2)


@pytest.fixture(autouse=True)
def answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "log_quantiles", lambda model, rows: model.logs)


def against(rows: Dataset, first: Says, second: Says, seed: int = 0) -> Any:
    return compared(rows, cast(Any, first), cast(Any, second), seed)


def test_no_row_has_an_outcome_that_was_known_before(data: Dataset) -> None:
    moment = int(np.median(data.published_at))
    rows = fair_rows([make_history(number) for number in (1, 3)], moment, FAR)
    known = np.where(np.isfinite(rows.residual), rows.known_at, NEVER)
    assert known.min() > moment
    expected = data.take(np.where(np.isfinite(data.residual), data.known_at, NEVER).min(axis=1) > moment)
    assert rows.sha256() == expected.sha256()


def test_too_few_newer_posts_are_said_with_their_number(data: Dataset) -> None:
    late = int(np.sort(np.unique(data.published_at))[-8])
    with pytest.raises(InsufficientData) as few:
        fair_rows([make_history(number) for number in (1, 3)], late, FAR)
    assert (few.value.needed, 0 < few.value.have < 20) == (20, True)
    with pytest.raises(InsufficientData) as none:
        fair_rows([make_history(1)], FAR // 2, FAR)
    assert none.value.have == 0


def test_every_metric_is_judged_in_its_own_direction(data: Dataset) -> None:
    good, bad = Says(data, 0.0, 0.1, 1), Says(data, 0.0, 0.6, 2)
    overall, slices = against(data, good, bad)
    assert overall is not None
    assert overall.verdict == "worse"
    assert {s.metric for s in slices} == {"mae_log", "auc", "coverage"}
    assert {s.verdict for s in slices} == {"worse"}
    for s in slices:
        better = {"mae_log": s.first < s.second, "auc": s.first > s.second}
        assert better.get(s.metric, abs(s.first - 0.8) < abs(s.second - 0.8))
        assert s.low is not None
        assert s.high is not None
        assert 0 < s.low < s.high
    assert {s.verdict for s in against(data, bad, good)[1]} == {"better"}


def test_too_wide_and_too_narrow_intervals_are_both_off(data: Dataset) -> None:
    right, wide = Says(data, 0.0, 0.1, 1), Says(data, 0.0, 0.1, 1)
    wide.logs = wide.logs + np.array([-5.0, 0.0, 5.0])
    coverage = [s for s in against(data, right, wide)[1] if s.metric == "coverage"]
    assert {(s.second, s.verdict) for s in coverage} == {(1.0, "worse")}


def test_pairs_find_what_separate_intervals_cannot(data: Dataset) -> None:
    first = Says(data, 0.0, 0.4, 1)
    second = Says(data, 0.0, 0.4, 1)
    second.logs = data.actual[:, :, None] + (first.logs - data.actual[:, :, None]) * 0.95
    overall, slices = against(data, first, second)
    assert overall is not None
    assert overall.verdict == "better"
    assert {s.verdict for s in slices if s.metric == "mae_log"} == {"better"}


def test_equal_versions_rarely_get_any_verdict(data: Dataset) -> None:
    families = 60
    blamed = 0
    for seed in range(families):
        rng = np.random.default_rng([9, seed])
        drawn = dataclasses.replace(
            data, actual=np.where(np.isfinite(data.actual), data.base + rng.normal(0, 0.3, data.base.shape), np.nan)
        )
        one, two = Says(drawn, 0.0, 0.1, 2 * seed), Says(drawn, 0.0, 0.1, 2 * seed + 1)
        blamed += any(s.verdict != "undecided" for s in against(drawn, one, two, seed)[1])
    assert blamed / families <= 0.05 + 2 * (0.05 * 0.95 / families) ** 0.5, blamed


def test_a_slice_of_few_posts_is_shown_and_left_undecided(data: Dataset) -> None:
    few = data.take(np.isin(data.posts, np.unique(data.posts)[:12]))
    slices = against(few, Says(few, 0.0, 0.01, 1), Says(few, 3.0, 0.01, 2))[1]
    assert slices
    assert {(s.n <= 12, s.verdict) for s in slices} == {(True, "undecided")}
    fewer = data.take(np.isin(data.posts, np.unique(data.posts)[:5]))
    assert against(fewer, Says(fewer, 0.0, 0.01, 1), Says(fewer, 3.0, 0.01, 2))[1] == ()


def test_the_same_seed_gives_the_same_comparison(data: Dataset) -> None:
    one, two = Says(data, 0.0, 0.1, 1), Says(data, 0.05, 0.1, 2)
    assert against(data, one, two, 3) == against(data, one, two, 3)


@pytest.mark.parametrize("ties", [False, True])
def test_a_weighted_auc_is_the_auc_of_the_repeated_rows(ties: bool) -> None:
    rng = np.random.default_rng(4)
    score = rng.integers(0, 6, 60).astype(float) if ties else rng.normal(size=60)
    positive = rng.random(60) < 0.4
    weight = rng.integers(0, 4, 60)
    rank = rankdata(score, method="dense").astype(np.int64) - 1
    repeated = np.repeat(np.arange(60), weight)
    found = weighted_auc(rank, positive, np.stack([weight, np.where(positive, 0, 1), np.ones(60)]))
    assert found[0] == pytest.approx(auc_of(positive[repeated], score[repeated]))
    assert np.isnan(found[1])
    assert found[2] == pytest.approx(auc_of(positive, score))


def test_slices_are_those_of_targets_and_known_ages(data: Dataset) -> None:
    slices = against(data, Says(data, 0.0, 0.1, 1), Says(data, 0.0, 0.1, 2))[1]
    assert {s.target for s in slices} <= set(TARGETS)
    assert {s.known_age_h for s in slices} <= set(KNOWN_AGES_H)
    assert data.published_at.min() >= START
