"""Versions get numbers once, aliases move by compare-and-set, and every move stays on record."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from actors.adaptive_learning.versioning.actor import Versioning
from core.clock import ManualClock
from core.errors import Conflict, NotFound
from core.schemas.models import Evaluation, Lineage, NewVersion, PairedComparison, Score, Signature
from core.store.database import Database

EVALUATION = Evaluation(
    holdout_from=10,
    holdout_until=20,
    scores={"model": (Score("views_24h", 4, 50, 0.1, 0.08, 0.12, None, 0.8),)},
    versus_champion=PairedComparison(50, -0.01, -0.02, 0.0, "better", 0.05),
)
NEW = NewVersion(
    model="engagement",
    sha256="a" * 64,
    signature=Signature(("hour",), ("views_24h",), "1"),
    params={"width": 64, "rate": 1e-3},
    metrics=EVALUATION,
    lineage=Lineage(None, 0, 9, 100, "b" * 64, "0.1", 7, "batch"),
    key="task-1",
)


@pytest.fixture
def versioning(database: Database, clock: ManualClock) -> Versioning:
    return Versioning(database, clock)


def registered(versioning: Versioning, n: int) -> None:
    for i in range(n):
        versioning.register(replace(NEW, key=f"task-{i}", metrics=None))


def test_a_version_comes_back_as_it_was_registered(versioning: Versioning, clock: ManualClock) -> None:
    stored = versioning.register(NEW)
    assert (stored.version, stored.created_at) == (1, clock.now())
    assert versioning.get("engagement", 1) == stored
    assert (stored.metrics, stored.params, stored.lineage) == (EVALUATION, NEW.params, NEW.lineage)


def test_the_same_key_gives_the_same_version_and_numbers_are_a_models_own(versioning: Versioning) -> None:
    assert versioning.register(NEW) == versioning.register(replace(NEW, sha256="c" * 64))
    assert versioning.register(replace(NEW, key="task-2")).version == 2
    assert versioning.register(replace(NEW, model="growth")).version == 1
    assert [v.version for v in versioning.versions("engagement")] == [2, 1]


def test_racing_registrations_leave_no_gap_and_no_double(versioning: Versioning) -> None:
    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(lambda i: versioning.register(replace(NEW, key=f"k{i % 6}")).version, range(12)))
    assert sorted(set(numbers)) == [1, 2, 3, 4, 5, 6]
    assert numbers[:6] == numbers[6:]


def test_an_alias_moves_only_from_where_it_is_expected(versioning: Versioning) -> None:
    registered(versioning, 3)
    versioning.set_alias("engagement", "champion", 1, expect=None, reason="first", actor="test")
    change = versioning.set_alias("engagement", "champion", 2, expect=1, reason="better", actor="test")
    assert (change.from_version, change.to_version, change.generation) == (1, 2, 2)
    with pytest.raises(Conflict, match="v2, not v1"):
        versioning.set_alias("engagement", "champion", 3, expect=1, reason="late", actor="test")
    champion = versioning.resolve("engagement", "champion")
    assert champion is not None
    assert (champion.version, champion.aliases) == (2, ("champion",))


def test_moving_an_alias_again_to_where_it_is_leaves_no_second_line(versioning: Versioning) -> None:
    registered(versioning, 1)
    first = versioning.set_alias("engagement", "champion", 1, expect=None, reason="first", actor="test")
    assert versioning.set_alias("engagement", "champion", 1, expect=None, reason="retry", actor="test") == first
    assert versioning.history("engagement") == (first,)


def test_an_emptied_alias_keeps_its_history_and_counts_on(versioning: Versioning) -> None:
    registered(versioning, 1)
    versioning.set_alias("engagement", "challenger", 1, expect=None, reason="on trial", actor="test")
    versioning.set_alias("engagement", "challenger", None, expect=1, reason="over", actor="test")
    assert versioning.resolve("engagement", "challenger") is None
    again = versioning.set_alias("engagement", "challenger", 1, expect=None, reason="again", actor="test")
    assert again.generation == 3
    assert [c.to_version for c in versioning.history("engagement")] == [1, None, 1]


def test_unknown_versions_are_not_found_and_cannot_be_named(versioning: Versioning) -> None:
    with pytest.raises(NotFound):
        versioning.get("engagement", 1)
    with pytest.raises(NotFound):
        versioning.set_alias("engagement", "champion", 1, expect=None, reason="", actor="test")
    assert versioning.resolve("engagement", "champion") is None


def test_health_looks_the_champion_up(versioning: Versioning) -> None:
    registered(versioning, 1)
    versioning.set_alias("engagement", "champion", 1, expect=None, reason="first", actor="test")
    health = versioning.health()
    assert (health.status, "v1" in health.did) == ("ok", True)
