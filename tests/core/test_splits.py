"""The traffic split is fenced: only a higher epoch changes it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from core.clock import ManualClock
from core.errors import Conflict
from core.schemas.rollouts import TrafficSplit
from core.store.database import Database
from core.store.splits import SplitStore

SPLIT = TrafficSplit("engagement", 1, 1, None, 0.0, False, 30.0, 300.0, 0)


def test_there_is_no_split_before_a_version_is_put_into_service(database: Database) -> None:
    assert SplitStore(database).read("engagement") is None


def test_a_higher_epoch_replaces_and_a_repeated_write_changes_nothing(database: Database, clock: ManualClock) -> None:
    store = SplitStore(database)
    store.write(SPLIT, clock)
    risen = replace(SPLIT, epoch=2, canary=2, weight=0.1, shadow=True)
    store.write(risen, clock)
    store.renew("engagement", 2)
    assert store.write(risen, clock).renewals == 1
    assert store.read("engagement") == replace(risen, renewals=1)


@pytest.mark.parametrize("late", [replace(SPLIT, epoch=1), replace(SPLIT, epoch=2, weight=0.5)])
def test_a_lower_epoch_and_the_same_epoch_with_other_content_are_refused(
    database: Database, clock: ManualClock, late: TrafficSplit
) -> None:
    store = SplitStore(database)
    store.write(replace(SPLIT, epoch=2), clock)
    with pytest.raises(Conflict, match="comes too late"):
        store.write(late, clock)
    assert store.read("engagement") == replace(SPLIT, epoch=2)


def test_a_new_epoch_counts_its_renewals_from_zero(database: Database, clock: ManualClock) -> None:
    store = SplitStore(database)
    store.write(SPLIT, clock)
    store.renew("engagement", 1)
    assert store.write(replace(SPLIT, epoch=2, renewals=7), clock).renewals == 0


def test_only_the_epoch_in_force_can_be_renewed(database: Database, clock: ManualClock) -> None:
    store = SplitStore(database)
    store.write(replace(SPLIT, epoch=2), clock)
    for epoch in (1, 3):
        with pytest.raises(Conflict):
            store.renew("engagement", epoch)


def test_of_racing_writers_of_one_epoch_one_wins(database: Database, clock: ManualClock) -> None:
    store = SplitStore(database)

    def attempt(version: int) -> bool:
        try:
            store.write(replace(SPLIT, stable=version), clock)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        won = [version for version, ok in zip(range(8), pool.map(attempt, range(8)), strict=True) if ok]
    assert len(won) == 1
    stored = store.read("engagement")
    assert stored is not None
    assert stored.stable == won[0]
