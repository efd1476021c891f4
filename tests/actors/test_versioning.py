"""Versions get numbers once, aliases move by compare-and-set, and every move stays on record."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from actors.adaptive_learning.versioning.actor import Versioning
from core.artifacts import ArtifactStore
from core.clock import ManualClock
from core.errors import ArtifactCorrupt, Conflict, NotConfigured, NotFound, Refused
from core.schemas.models import Evaluation, Lineage, NewVersion, PairedComparison, Score, Signature
from core.schemas.predictions import TARGETS
from core.schemas.rollouts import TrafficSplit
from core.store.database import Database
from core.store.splits import SplitStore
from tests.serve_apps.world import tiny_model
from training.features import FEATURES, SCHEMA

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


def test_a_version_gets_the_number_that_follows_from_its_parent(versioning: Versioning) -> None:
    first = versioning.register(NEW)
    warm = replace(NEW, key="warm", lineage=replace(NEW.lineage, parent=1, strategy="incremental"))
    other = replace(NEW, key="other", signature=Signature(("hour", "media"), ("views_24h",), "1"))
    assert [first.semantic, versioning.register(warm).semantic] == ["1.0.0", "1.0.1"]
    assert versioning.register(other).semantic == "2.0.0"
    assert versioning.register(warm).semantic == versioning.get("engagement", 2).semantic == "1.0.1"


def test_racing_registrations_get_different_numbers(versioning: Versioning) -> None:
    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(lambda i: versioning.register(replace(NEW, key=f"k{i}")).semantic, range(8)))
    assert sorted(numbers) == ["1.0.0", *(f"1.{minor}.0" for minor in range(1, 8))]


def test_deploying_a_version_that_does_not_exist_fails_and_changes_nothing(versioning: Versioning) -> None:
    registered(versioning, 1)
    versioning.set_alias("engagement", "champion", 1, expect=None, reason="first", actor="test")
    with pytest.raises(NotFound, match="no version 99"):
        versioning.set_alias("engagement", "champion", 99, expect=1, reason="typo", actor="test")
    champion = versioning.resolve("engagement", "champion")
    assert champion is not None
    assert (champion.version, len(versioning.history("engagement"))) == (1, 1)


class TestDeployment:
    """Which versions are in charge, since when, and whether routers are told the same."""

    @staticmethod
    def split(database: Database, clock: ManualClock, epoch: int, stable: int, canary: int | None = None) -> None:
        split = TrafficSplit("engagement", epoch, stable, canary, 0.1 if canary else 0.0, False, 30.0, 300.0, 0)
        SplitStore(database).write(split, clock)

    def test_after_a_rollback_from_v2_the_history_and_the_deployment_name_v1(
        self, versioning: Versioning, database: Database, clock: ManualClock
    ) -> None:
        registered(versioning, 2)
        moves = ((1, None, "first"), (2, 1, "promoted"), (1, 2, "rollback: errors"))
        for epoch, (version, expect, reason) in enumerate(moves, 1):
            clock.advance(60)
            versioning.set_alias("engagement", "champion", version, expect=expect, reason=reason, actor="rollout")
            self.split(database, clock, epoch, version)
        history = versioning.history("engagement")
        assert [(c.from_version, c.to_version, c.reason) for c in history] == [
            (2, 1, "rollback: errors"),
            (1, 2, "promoted"),
            (None, 1, "first"),
        ]
        found = versioning.deployment("engagement")
        (champion,) = found.aliases
        assert (champion.alias, champion.version, champion.semantic) == ("champion", 1, "1.0.0")
        assert (champion.since, champion.by, champion.reason) == (clock.now(), "rollout", "rollback: errors")
        assert champion.generation == 3
        assert found.split is not None
        assert (found.split.stable, found.differences) == (1, ())

    def test_what_routers_are_told_beside_the_aliases_is_said(
        self, versioning: Versioning, database: Database, clock: ManualClock
    ) -> None:
        registered(versioning, 2)
        versioning.set_alias("engagement", "champion", 2, expect=None, reason="by hand", actor="test")
        assert "routers were told of no version" in versioning.deployment("engagement").differences[0]
        self.split(database, clock, 1, 1, canary=2)
        differences = versioning.deployment("engagement").differences
        assert "v2 is champion of engagement, routers are told to serve v1" in differences[0]
        assert "routers are told of v2 beside it" in differences[1]

    def test_nothing_deployed_is_an_answer(self, versioning: Versioning) -> None:
        found = versioning.deployment("engagement")
        assert (found.aliases, found.split, found.open_rollouts, found.differences) == ((), None, (), ())


class TestVerify:
    """What may go into service: whole, the one registered, one that this code serves."""

    @pytest.fixture
    def artifacts(self, tmp_path: Path) -> ArtifactStore:
        return ArtifactStore(str(tmp_path / "artifacts"))

    @pytest.fixture
    def service(self, sqlite_database: Database, clock: ManualClock, artifacts: ArtifactStore) -> Versioning:
        return Versioning(sqlite_database, clock, artifacts)

    @staticmethod
    def made(artifacts: ArtifactStore, **changes: object) -> NewVersion:
        signature = Signature(FEATURES, TARGETS, SCHEMA)
        given = {"sha256": artifacts.put(tiny_model(0.1)), "signature": signature, "metrics": None} | changes
        return replace(NEW, **given)  # type: ignore[arg-type]

    @staticmethod
    def path(artifacts: ArtifactStore, new: NewVersion) -> Path:
        return next(Path(artifacts.url).rglob(new.sha256))

    def test_a_whole_artifact_is_checked_in_every_way(self, service: Versioning, artifacts: ArtifactStore) -> None:
        new = self.made(artifacts)
        service.register(new)
        found = service.verify("engagement", 1)
        assert found.checks == ("sha256", "signature", "features", "predictions")
        assert found.sha256 == new.sha256
        assert set(found.files) == {"weights.safetensors", "model.json", "golden.safetensors"}
        assert found.bytes == sum(len(data) for data in artifacts.get(new.sha256).values())

    def test_a_tampered_artifact_is_refused_wherever_the_change_is(
        self, service: Versioning, artifacts: ArtifactStore
    ) -> None:
        new = self.made(artifacts)
        service.register(new)
        path = self.path(artifacts, new)
        blob = path.read_bytes()
        for at in (0, 40, len(blob) // 2, len(blob) - 1):
            path.write_bytes(blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :])
            with pytest.raises(ArtifactCorrupt):
                service.verify("engagement", 1)
        path.write_bytes(blob)
        assert service.verify("engagement", 1).version == 1

    def test_weights_exchanged_under_a_hash_that_fits_do_not_give_the_stored_predictions(
        self, service: Versioning, artifacts: ArtifactStore
    ) -> None:
        files = tiny_model(0.1) | {"weights.safetensors": tiny_model(0.5)["weights.safetensors"]}
        service.register(self.made(artifacts, sha256=artifacts.put(files)))
        with pytest.raises(ArtifactCorrupt, match="stored predictions"):
            service.verify("engagement", 1)

    def test_an_artifact_that_is_gone_is_not_found(self, service: Versioning, artifacts: ArtifactStore) -> None:
        new = self.made(artifacts)
        service.register(new)
        self.path(artifacts, new).unlink()
        with pytest.raises(NotFound, match=new.sha256):
            service.verify("engagement", 1)

    def test_another_signature_than_the_registered_one_is_refused(
        self, service: Versioning, artifacts: ArtifactStore
    ) -> None:
        service.register(self.made(artifacts, signature=Signature(FEATURES, TARGETS[:1], SCHEMA)))
        with pytest.raises(Refused, match="another signature"):
            service.verify("engagement", 1)

    def test_what_cannot_be_verified_is_not_called_verified(
        self, service: Versioning, artifacts: ArtifactStore, sqlite_database: Database, clock: ManualClock
    ) -> None:
        service.register(self.made(artifacts, model="growth"))
        with pytest.raises(NotConfigured, match="no network"):
            service.verify("growth", 1)
        service.register(self.made(artifacts))
        with pytest.raises(NotConfigured, match="no artifact store"):
            Versioning(sqlite_database, clock).verify("engagement", 1)
        with pytest.raises(NotFound):
            service.verify("engagement", 9)

    def test_a_version_without_its_artifact_is_not_registered(self, service: Versioning) -> None:
        with pytest.raises(NotFound, match="store it again"):
            service.register(NEW)
        assert service.versions("engagement") == ()
