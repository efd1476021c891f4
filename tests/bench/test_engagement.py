"""The engagement bench asks each post with what was known when its week began, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from bench._usual import usual
from bench.engagement import _lines, above, paired, walk
from core.clock import DAY
from core.history import Floats
from core.schemas.predictions import TARGETS
from tests.training.audience import make_history
from training.dataset import Dataset, build

BEGIN = 1_735_689_600 + 20 * DAY


def test_refits_see_only_what_was_known_when_their_week_began() -> None:
    rows = build([make_history(posts=120)], 2**40)
    test = rows.take(rows.published_at >= BEGIN)
    asked: list[tuple[int, int]] = []

    def fit(known: Dataset) -> object:
        latest = int(known.known_at[np.isfinite(known.residual)].max())

        def answer(part: Dataset) -> Floats:
            asked.append((latest, int(part.as_of.min())))
            return np.repeat(part.base[:, :, None], 3, axis=2)

        return answer

    answers = walk(rows, test, BEGIN, 7 * DAY, fit)  # type: ignore[arg-type]
    assert len(asked) >= 3
    assert all(latest < first for latest, first in asked)
    np.testing.assert_array_equal(answers[:, :, 1], test.base)


def test_what_is_usual_knows_no_more_than_the_row_s_moment() -> None:
    history = make_history(posts=80)
    rows = build([history], 2**40)
    found = usual([history], rows)
    t = TARGETS.index("views_72h")
    np.testing.assert_allclose(found["median_30"][:, t], rows.level[:, t])
    assert np.isnan(found["ratio"][rows.known_age == 0]).all()
    four = (rows.known_age == 4) & np.isfinite(found["ratio"][:, t])
    assert np.nanmean(np.abs(found["ratio"] - rows.actual)[four, t]) < np.nanmean(np.abs(rows.residual)[four, t]) * 2


def test_a_row_is_written_for_each_answer() -> None:
    rows = build([make_history(posts=80)], 2**40)
    quantiles = np.repeat(rows.base[:, :, None], 3, axis=2)
    lines = list(_lines({1: "c1"}, rows, np.exp(quantiles)))
    assert len(lines) == int(np.isfinite(rows.base).sum())
    assert {(line[2], line[3]) for line in lines} == {(a, t) for a in (0, 1, 4, 24) for t in (24, 72) if t > a}


def test_the_model_is_paired_with_the_best_of_the_others() -> None:
    rows = build([make_history(posts=80)], 2**40)
    near, far = (rows.actual + off for off in (0.1, 0.3))
    far[rows.known_age == 4] = np.nan  # what does not answer is not paired with
    found = paired(rows, {"median_30": rows.actual + 0.2, "boosting": far, "model": near}, 1)
    for place in (("views_72h", 0), ("views_72h", 4)):
        name, mean, low, high = found[place]
        assert name == "median_30"
        assert (mean, low, high) == pytest.approx((-0.1, -0.1, -0.1))


def test_a_fixed_label_is_the_same_for_all_channels() -> None:
    rows = build([make_history(posts=80)], 2**40)
    limit = float(np.exp(np.nanmedian(rows.actual[:, TARGETS.index("views_72h")])))
    shuffled = np.random.default_rng(1).permutation(rows.actual)
    found = above(rows, {"model": rows.actual, "boosting": shuffled}, limit)
    assert found["model"]["views_72h", 0] == 1.0
    assert found["boosting"]["views_72h", 0] == pytest.approx(0.5, abs=0.2)
    assert above(rows, {"model": rows.actual}, 1e12) == {"model": {}}  # one class ranks nothing
