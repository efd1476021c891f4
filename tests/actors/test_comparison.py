"""Versions are compared only on one holdout, and only certain differences get a verdict."""

from __future__ import annotations

import pytest

from actors.adaptive_learning.versioning.comparison import compare
from core.errors import InsufficientData, Refused
from core.schemas.models import Evaluation, Score


def scored(mae: float, half: float = 0.01, *, until: int = 20, age: int = 4, auc: float | None = 0.7) -> Evaluation:
    score = Score("views_24h", age, 80, mae, mae - half, mae + half, auc, 0.8)
    return Evaluation(10, until, {"model": (score,), "rolling_median": ()})


@pytest.mark.parametrize(
    ("second", "verdict"), [(0.10, "better"), (0.30, "worse"), (0.205, "undecided"), (0.20, "undecided")]
)
def test_an_error_gets_a_verdict_only_where_the_intervals_part(second: float, verdict: str) -> None:
    row = compare(scored(0.20), scored(second))[0]
    assert (row.metric, row.verdict, row.n) == ("mae_log", verdict, 80)


def test_metrics_without_an_interval_are_shown_and_left_undecided() -> None:
    rows = compare(scored(0.2, auc=0.6), scored(0.2, auc=0.9))
    assert [(r.metric, r.verdict) for r in rows] == [
        ("mae_log", "undecided"),
        ("auc", "undecided"),
        ("coverage", "undecided"),
    ]
    assert [r.metric for r in compare(scored(0.2, auc=None), scored(0.2))] == ["mae_log", "coverage"]


def test_different_holdouts_and_no_common_slice_are_not_compared() -> None:
    with pytest.raises(Refused, match="different holdouts"):
        compare(scored(0.2), scored(0.2, until=30))
    with pytest.raises(InsufficientData):
        compare(scored(0.2), scored(0.2, age=1))
