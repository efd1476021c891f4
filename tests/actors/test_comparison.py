"""Versions are compared only on one holdout, and only certain differences get a verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actors.adaptive_learning.versioning.actor import Versioning
from actors.adaptive_learning.versioning.comparison import compare, stored
from core.artifacts import ArtifactStore
from core.clock import ManualClock
from core.errors import ArtifactCorrupt, InsufficientData, InvalidInput, NotFound, Refused
from core.schemas.models import Evaluation, Lineage, ModelVersion, NewVersion, PairedComparison, Score, Signature
from core.schemas.predictions import ENGAGEMENT, TARGETS
from tests.databases import empty_sqlite
from tests.serve_apps.world import GAP, POSTS, START, fill, tiny_model
from training.features import FEATURES, SCHEMA


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


# ---------------------------------------------------------------- stored scores of two versions


def version(number: int, metrics: Evaluation | None) -> ModelVersion:
    lineage = Lineage(None, 0, 9, 1, "b", "x", 1, "batch")
    return ModelVersion("m", number, "a" * 64, Signature((), (), "1"), {}, metrics, lineage, 0)


def beside(own: float, champion: float, against: int, until: int = 30) -> Evaluation:
    """Judged beside the champion on a holdout of its own."""
    (mine,), (theirs,) = scored(own).scores["model"], scored(champion).scores["model"]
    versus = PairedComparison(80, own - champion, own - champion - 0.01, own - champion + 0.03, "better", 0.05, against)
    return Evaluation(10, until, {"model": (mine,), "champion": (theirs,)}, versus)


def test_a_version_judged_beside_the_other_is_compared_on_that_holdout() -> None:
    old, new = version(1, scored(0.3, until=20)), version(2, beside(0.1, 0.25, against=1))
    found = stored(old, new)
    assert found is not None
    assert (found.basis, found.posts_from, found.posts_until) == ("judged_beside", 10, 30)
    assert (found.slices[0].first, found.slices[0].second, found.slices[0].verdict) == (0.25, 0.1, "better")
    assert found.paired == new.metrics.versus_champion  # type: ignore[union-attr]
    assert "flatters" in found.notes[0]


def test_asked_the_other_way_round_everything_is_turned() -> None:
    old, new = version(1, scored(0.3, until=20)), version(2, beside(0.1, 0.25, against=1))
    found = stored(new, old)
    assert found is not None
    assert found.paired is not None
    assert (found.slices[0].first, found.slices[0].second, found.slices[0].verdict) == (0.1, 0.25, "worse")
    assert (found.paired.mean, found.paired.low, found.paired.high) == pytest.approx((0.15, 0.12, 0.16))
    assert (found.paired.verdict, found.paired.against) == ("worse", 2)


def test_a_comparison_with_a_third_version_says_nothing_of_these_two() -> None:
    assert stored(version(1, scored(0.3, until=20)), version(3, beside(0.1, 0.25, against=2))) is None
    same = stored(version(1, scored(0.3, until=30)), version(3, beside(0.1, 0.25, against=2)))
    assert same is not None
    assert (same.basis, same.paired, same.slices[0].verdict) == ("same_holdout", None, "better")


# ---------------------------------------------------------------- both asked again


class Shop:
    """Two channels of measured posts, and versions that say the usual times something."""

    def __init__(self, folder: Path) -> None:
        self.database = empty_sqlite(folder / "shop.db")
        for seed, name in ((3, "@town"), (5, "@lake")):
            fill(self.database, name, seed)
        self.artifacts = ArtifactStore(str(folder / "artifacts"))
        self.service = Versioning(self.database, ManualClock(time=START + POSTS * GAP), self.artifacts)

    def register(self, factor: float, *, posts_seen: int, metrics: Evaluation | None = None) -> int:
        until = START + posts_seen * GAP
        new = NewVersion(
            ENGAGEMENT,
            self.artifacts.put(tiny_model(float(np.log(factor)))),
            Signature(FEATURES, TARGETS, SCHEMA),
            {},
            metrics,
            Lineage(None, START, until, 60, "0" * 64, "test", 0, "batch"),
            key=f"{factor}-{posts_seen}",
        )
        return self.service.register(new).version


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.database.dispose()


def test_both_are_asked_again_about_posts_that_neither_learned_from(shop: Shop) -> None:
    usual, double = shop.register(1.0, posts_seen=20), shop.register(2.0, posts_seen=30)
    found = shop.service.compare(ENGAGEMENT, usual, double)
    assert (found.basis, found.notes) == ("newer_outcomes", ())
    # views_72h of the nine posts before the later training were still to come
    assert START + 21 * GAP < found.posts_from < START + 30 * GAP
    assert found.paired is not None
    assert (found.paired.verdict, found.paired.against) == ("worse", usual)
    assert found.paired.low > 0.1
    errors = [s for s in found.slices if s.metric == "mae_log"]
    assert {s.verdict for s in errors} == {"worse"}
    turned = shop.service.compare(ENGAGEMENT, double, usual)
    assert turned.paired is not None
    assert turned.paired.mean == pytest.approx(-found.paired.mean)
    assert {s.verdict for s in turned.slices if s.metric == "mae_log"} == {"better"}


def test_equal_versions_differ_nowhere(shop: Shop) -> None:
    one, two = shop.register(1.0, posts_seen=10), shop.register(1.0, posts_seen=20)
    found = shop.service.compare(ENGAGEMENT, one, two)
    assert found.paired is not None
    assert (found.paired.mean, found.paired.verdict) == (0.0, "not_worse")
    assert {(s.verdict, s.low, s.high) for s in found.slices} == {("undecided", 0.0, 0.0)}


def test_too_few_newer_posts_leave_the_stored_scores_and_say_so(shop: Shop) -> None:
    one = shop.register(1.0, posts_seen=59, metrics=scored(0.2))
    two = shop.register(2.0, posts_seen=59, metrics=scored(0.1))
    found = shop.service.compare(ENGAGEMENT, one, two)
    assert (found.basis, found.paired, found.slices[0].verdict) == ("same_holdout", None, "better")
    assert "needed 20" in found.notes[0]


def test_without_newer_posts_and_on_different_holdouts_the_answer_is_refused(shop: Shop) -> None:
    one = shop.register(1.0, posts_seen=59, metrics=scored(0.2))
    two = shop.register(2.0, posts_seen=59, metrics=scored(0.1, until=30))
    three = shop.register(3.0, posts_seen=59)
    with pytest.raises(Refused, match=r"different holdouts.*needed 20"):
        shop.service.compare(ENGAGEMENT, one, two)
    with pytest.raises(Refused, match="v3 of engagement was never evaluated"):
        shop.service.compare(ENGAGEMENT, one, three)


def test_a_pruned_version_is_compared_by_what_is_stored(shop: Shop) -> None:
    for factor in (1.0, 2.0):
        shop.register(factor, posts_seen=20, metrics=scored(0.2))
    shop.service.prune(ENGAGEMENT, 1)
    found = shop.service.compare(ENGAGEMENT, 1, 2)
    assert (found.basis, found.notes) == ("same_holdout", ("not asked again: the artifact of v1 is no longer kept",))


def test_a_damaged_artifact_and_wrong_numbers_are_errors(shop: Shop) -> None:
    shop.register(1.0, posts_seen=20, metrics=scored(0.2))
    shop.register(2.0, posts_seen=20, metrics=scored(0.2))
    with pytest.raises(InvalidInput, match="two versions"):
        shop.service.compare(ENGAGEMENT, 1, 1)
    with pytest.raises(NotFound):
        shop.service.compare(ENGAGEMENT, 1, 9)
    path = next(Path(shop.artifacts.url).rglob(shop.service.get(ENGAGEMENT, 2).sha256))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactCorrupt):
        shop.service.compare(ENGAGEMENT, 1, 2)


def test_only_what_was_judged_gets_a_note_of_against(shop: Shop) -> None:
    old = replace(beside(0.1, 0.25, against=1).versus_champion, against=None)  # type: ignore[type-var]
    new = version(2, replace(beside(0.1, 0.25, against=1), versus_champion=old))
    assert stored(version(1, scored(0.3, until=20)), new) is None
