"""Retention gives up what nobody uses, and nothing else, whenever it is killed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from actors.adaptive_learning.versioning.actor import Versioning
from actors.adaptive_learning.versioning.management import reasons
from core.artifacts import ArtifactStore
from core.clock import ManualClock
from core.errors import Conflict, InvalidInput, NotConfigured, NotFound, Refused, StorageBroken
from core.schemas.models import Lineage, ModelVersion, NewVersion, Signature, TrainingRequest
from core.schemas.rollouts import Phase, TrafficSplit
from core.schemas.workflows import Step
from core.store import schema
from core.store.database import Database
from core.store.retention import Uses
from core.store.rollouts import RolloutStore, StoredRollout
from core.store.splits import SplitStore
from core.store.tasks import TaskStore
from core.store.workflows import WorkflowStore

MODEL = "engagement"


@dataclass
class Shop:
    """A registry with an artifact store."""

    database: Database
    clock: ManualClock
    artifacts: ArtifactStore
    service: Versioning = field(init=False)

    def __post_init__(self) -> None:
        self.service = Versioning(self.database, self.clock, self.artifacts)

    def register(self, *contents: bytes, model: str = MODEL, parents: dict[int, int] | None = None) -> None:
        """One version for each content; equal content is one artifact."""
        for content in contents:
            number = len(self.service.versions(model)) + 1
            lineage = Lineage((parents or {}).get(number), 0, 9, 100, "b" * 64, "0.1", 7, "batch")
            address = self.artifacts.put({"model.json": content})
            signature = Signature(("hour",), ("views_24h",), "1")
            self.service.register(NewVersion(model, address, signature, {}, None, lineage, f"{model}-{number}"))

    def name(self, alias: Any, version: int) -> None:
        self.service.set_alias(MODEL, alias, version, expect=None, reason="test", actor="test")

    def stored(self, version: int, model: str = MODEL) -> bool:
        return self.artifacts.exists(self.service.get(model, version).sha256)


@pytest.fixture
def shop(database: Database, clock: ManualClock, tmp_path: Path) -> Shop:
    return Shop(database, clock, ArtifactStore(str(tmp_path / "artifacts")))


def different(n: int) -> list[bytes]:
    return [f"content {i}".encode() for i in range(n)]


def test_retention_never_deletes_an_aliased_version_however_old_it_is(shop: Shop) -> None:
    shop.register(*different(6))
    for alias, version in (("champion", 1), ("challenger", 3), ("previous", 2)):
        shop.name(alias, version)
    report = shop.service.prune(MODEL, 1)
    assert {k.version: k.reasons for k in report.kept} == {
        6: ("among the newest 1",),
        3: ("challenger names it",),
        2: ("previous names it",),
        1: ("champion names it",),
    }
    assert [p.version for p in report.pruned] == [5, 4]
    assert [v for v in range(1, 7) if shop.stored(v)] == [1, 2, 3, 6]


def test_what_is_pruned_keeps_its_row_and_cannot_be_named_or_verified(shop: Shop) -> None:
    shop.register(*different(3))
    size = shop.artifacts.size(shop.service.get(MODEL, 1).sha256)
    report = shop.service.prune(MODEL, 2)
    assert (report.pruned[0].version, report.freed_bytes) == (1, size)
    version = shop.service.get(MODEL, 1)
    assert (version.pruned_at, version.semantic) == (shop.clock.now(), "1.0.0")
    with pytest.raises(Refused, match="v1 of engagement was pruned"):
        shop.service.set_alias(MODEL, "champion", 1, expect=None, reason="back", actor="test")
    with pytest.raises(Refused, match="no longer kept"):
        shop.service.verify(MODEL, 1)
    assert shop.service.resolve(MODEL, "champion") is None


def test_a_dry_run_says_the_same_and_changes_nothing(shop: Shop) -> None:
    shop.register(*different(4))
    planned = shop.service.prune(MODEL, 1, dry_run=True)
    assert all(shop.stored(v) for v in (1, 2, 3, 4))
    assert {v.pruned_at for v in shop.service.versions(MODEL)} == {None}
    assert replace(planned, dry_run=False) == shop.service.prune(MODEL, 1)


def test_keep_counts_versions_that_are_still_there(shop: Shop) -> None:
    shop.register(*different(4))
    shop.service.prune(MODEL, 3)
    assert [p.version for p in shop.service.prune(MODEL, 2).pruned] == [2]
    with pytest.raises(InvalidInput, match="at least 1"):
        shop.service.prune(MODEL, 0)


def open_rollout(shop: Shop, challenger: int, stable: int) -> str:
    now = shop.clock.now()
    new = StoredRollout("r1", MODEL, challenger, stable, Phase.TRIAL, "{}", now, now, seq=1)
    return RolloutStore(shop.database).create(new, "k", "{}").id


def test_what_an_open_rollout_uses_stays_until_it_has_ended(shop: Shop) -> None:
    shop.register(*different(5))
    rollout = open_rollout(shop, challenger=2, stable=1)
    kept = {k.version: k.reasons for k in shop.service.prune(MODEL, 1).kept}
    assert kept == {5: ("among the newest 1",), 2: ("roll-out r1 is open",), 1: ("roll-out r1 is open",)}
    with shop.database.write() as connection:
        ended = update(schema.rollout).where(schema.rollout.c.id == rollout)
        connection.execute(ended.values(phase=Phase.ROLLED_BACK.value))
    assert [p.version for p in shop.service.prune(MODEL, 1).pruned] == [2, 1]


def test_what_routers_serve_stays_though_no_alias_names_it(shop: Shop) -> None:
    shop.register(*different(4))
    SplitStore(shop.database).write(TrafficSplit(MODEL, 1, 1, 2, 0.1, True, 30.0, 300.0, 0), shop.clock)
    kept = {k.version: k.reasons for k in shop.service.prune(MODEL, 1).kept}
    assert kept[1] == ("routers serve it",)
    assert kept[2] == ("routers may send traffic to it",)
    assert not shop.stored(3)


def test_what_trainings_and_workflows_still_need_stays(shop: Shop) -> None:
    shop.register(*different(6))
    task = TaskStore(shop.database).submit(
        TrainingRequest("k", MODEL, strategy="incremental", until=1, warm_start=1, compare_with=2), 0
    )
    store = WorkflowStore(shop.database)
    begun = store.begin(MODEL, "manual", "w", Step.VALIDATE, "by hand", {"version": 3}, 0)
    kept = {k.version: k.reasons for k in shop.service.prune(MODEL, 1).kept}
    assert kept[1] == kept[2] == (f"training {task.id} needs it",)
    assert kept[3] == (f"workflow {begun.id} is at it",)
    assert set(kept) == {1, 2, 3, 6}


def test_the_parent_of_what_is_in_charge_stays_and_its_grandparent_goes(shop: Shop) -> None:
    shop.register(*different(5), parents={2: 1, 3: 2, 4: 3})
    shop.name("champion", 3)
    report = shop.service.prune(MODEL, 1)
    assert {k.version: k.reasons for k in report.kept} == {
        5: ("among the newest 1",),
        3: ("champion names it",),
        2: ("parent of v3",),
    }
    assert [p.version for p in report.pruned] == [4, 1]


def test_an_artifact_that_several_versions_share_goes_with_the_last_of_them(shop: Shop) -> None:
    shop.register(b"same", b"same", b"other")
    report = shop.service.prune(MODEL, 2)
    assert (report.pruned[0].shared_with, report.deleted, report.freed_bytes) == ("engagement v2", (), 0)
    assert shop.stored(1)
    address = shop.service.get(MODEL, 2).sha256
    assert shop.service.prune(MODEL, 1).deleted == (address,)
    assert not shop.stored(1)


def test_an_artifact_that_another_model_keeps_stays(shop: Shop) -> None:
    shop.register(b"same", b"new")
    shop.register(b"same", model="growth")
    assert shop.service.prune(MODEL, 1).pruned[0].shared_with == "growth v1"
    assert shop.stored(1, "growth")


def test_a_pruning_that_was_cut_short_is_finished_by_the_next_one(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.register(*different(4))
    deleted: list[str] = []
    real = ArtifactStore.delete

    def dies(self: ArtifactStore, address: str) -> int:
        if deleted:
            raise StorageBroken("the disk is gone")
        deleted.append(address)
        return real(self, address)

    monkeypatch.setattr(ArtifactStore, "delete", dies)
    with pytest.raises(StorageBroken):
        shop.service.prune(MODEL, 1)
    monkeypatch.undo()
    assert [v.pruned_at is not None for v in shop.service.versions(MODEL)] == [False, True, True, True]
    assert sum(shop.stored(v) for v in (1, 2, 3)) == 2
    report = shop.service.prune(MODEL, 1)
    assert (report.pruned, len(report.deleted)) == ((), 2)
    assert [v for v in (1, 2, 3, 4) if shop.stored(v)] == [4]
    assert shop.service.prune(MODEL, 1).deleted == ()


def test_content_registered_again_after_its_version_was_pruned_stays(shop: Shop) -> None:
    shop.register(b"one", b"two")
    shop.service.prune(MODEL, 1)
    shop.register(b"one")
    shop.service.prune(MODEL, 1)
    assert shop.stored(3)


def test_a_registration_whose_artifact_was_deleted_in_between_is_told_so(shop: Shop) -> None:
    shop.register(b"one", b"two")
    old = shop.service.get(MODEL, 1)
    assert shop.artifacts.put({"model.json": b"one"}) == old.sha256  # a training makes the same again ...
    shop.service.prune(MODEL, 1)  # ... and retention comes before its registration
    new = NewVersion(MODEL, old.sha256, old.signature, {}, None, old.lineage, "late")
    with pytest.raises(NotFound, match="store it again"):
        shop.service.register(new)
    shop.artifacts.put({"model.json": b"one"})
    assert shop.service.register(new).version == 3


def test_what_the_registry_does_not_know_is_left_alone(shop: Shop) -> None:
    shop.register(*different(2))
    probe = shop.artifacts.put({"probe": b"somebody else's"})
    shop.service.prune(MODEL, 1)
    assert shop.artifacts.exists(probe)


def test_without_a_store_nothing_is_pruned(database: Database, clock: ManualClock) -> None:
    with pytest.raises(NotConfigured):
        Versioning(database, clock).prune(MODEL, 1)


def test_every_version_has_a_reason_or_goes() -> None:
    def version(number: int, pruned: bool, *aliases: str) -> ModelVersion:
        lineage = Lineage(number - 1 or None, 0, 9, 1, "b", "x", 1, "batch")
        signature = Signature((), (), "1")
        pruned_at = 5 if pruned else None
        return ModelVersion(MODEL, number, "a", signature, {}, None, lineage, 0, aliases, f"1.{number}.0", pruned_at)

    versions = (version(4, False), version(3, False, "champion"), version(2, True), version(1, False))
    uses = Uses(versions, (("routers serve it", 3),), ())
    assert reasons(uses, 1) == {
        4: ("among the newest 1",),
        3: ("champion names it", "routers serve it"),
        1: (),
    }


def test_naming_and_pruning_at_once_never_leave_an_alias_without_its_artifact(shop: Shop) -> None:
    shop.register(*different(12))

    def deploy(version: int) -> bool:
        try:
            shop.service.set_alias(MODEL, "challenger", version, expect=None, reason="race", actor="test")
        except (Refused, Conflict):
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        named = [pool.submit(deploy, version) for version in range(1, 5)]
        pruned = [pool.submit(shop.service.prune, MODEL, keep) for keep in (9, 4, 1)]
        won = sum(future.result() for future in named)
        given_up = {p.version for future in pruned for p in future.result().pruned}
    challenger = shop.service.resolve(MODEL, "challenger")
    assert won == (challenger is not None)
    if challenger is not None:
        assert challenger.version not in given_up
        assert shop.stored(challenger.version)
    assert {v.version for v in shop.service.versions(MODEL) if v.pruned_at is not None} == given_up
    assert not any(shop.stored(version) for version in given_up)
