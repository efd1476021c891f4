"""What cannot work is refused with its reason before any traffic moves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.adaptive_learning.deployment.controller import Controller
from actors.adaptive_learning.versioning.actor import Versioning
from core.errors import AnalyticBotError, ArtifactCorrupt, InvalidInput, NotFound, Refused
from core.schemas.models import Lineage, NewVersion, Signature
from core.schemas.predictions import ENGAGEMENT, TARGETS
from core.schemas.rollouts import RolloutConfig, configured
from core.store import schema
from core.store.registry import Registry
from core.store.splits import SplitStore
from tests.actors.rollout_world import Routers
from tests.serve_apps.world import START, World, tiny_model
from training.features import FEATURES, SCHEMA

CONFIG = RolloutConfig(skip_validation=True)


@pytest.fixture
def controller(world: World) -> Controller:
    """Version 1 in service; its registry reads real artifacts."""
    versioning = Versioning(world.database, world.clock, world.artifacts)
    made = Controller(world.database, world.clock, versioning, Routers(world.database, world.clock))
    made.install(ENGAGEMENT, 1, "first")
    return made


def refused(world: World, controller: Controller, kind: type[AnalyticBotError], match: str, *args: Any) -> None:
    """A start that fails, and leaves split, aliases and roll-outs as they were."""
    before = SplitStore(world.database).read(ENGAGEMENT)
    with pytest.raises(kind, match=match):
        controller.start(ENGAGEMENT, *args, "k")
    assert SplitStore(world.database).read(ENGAGEMENT) == before
    assert controller.statuses(ENGAGEMENT) == ()
    champion = Registry(world.database).resolve(ENGAGEMENT, "champion")
    assert champion is not None
    assert champion.version == 1


def test_an_unknown_version(world: World, controller: Controller) -> None:
    refused(world, controller, NotFound, "no version 9", 9, CONFIG)


def test_a_tampered_artifact(world: World, controller: Controller) -> None:
    sha256 = Registry(world.database).get(ENGAGEMENT, 2).sha256
    path = Path(world.artifacts.url) / sha256[:2] / sha256
    blob = bytearray(path.read_bytes())
    blob[-1] ^= 1
    path.write_bytes(blob)
    refused(world, controller, ArtifactCorrupt, "does not match its hash", 2, CONFIG)
    path.unlink()
    refused(world, controller, NotFound, sha256, 2, CONFIG)


def registered(world: World, signature: Signature, key: str, files: dict[str, bytes] | None = None) -> int:
    """A version whose row says a signature."""
    lineage = Lineage(None, START, START, 60, "0" * 64, "test", 0, "batch")
    sha256 = world.artifacts.put(files or tiny_model(0.3))
    return (
        Registry(world.database)
        .register(NewVersion(ENGAGEMENT, sha256, signature, {}, None, lineage, key), START)
        .version
    )


def test_a_signature_that_is_not_the_artifacts_or_not_the_served_one(world: World, controller: Controller) -> None:
    other = registered(world, Signature(FEATURES[:-1], TARGETS, SCHEMA), "other")
    refused(world, controller, Refused, "another signature", other, CONFIG)
    files = tiny_model(0.4)
    files["model.json"] = files["model.json"].replace(f'"schema": "{SCHEMA}"'.encode(), b'"schema": "0"')
    old = registered(world, Signature(FEATURES, TARGETS, "0"), "old", files)
    refused(world, controller, Refused, "feature schema 0", old, CONFIG)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"steps": (0.5, 0.1, 1.0)}, "steps"),
        ({"steps": (0.1, 0.5, 0.9)}, "steps"),
        ({"steps": (0.1, 0.5, 1.2)}, "steps"),
        ({"hold_s": (-1.0, 1.0, 1.0)}, "hold_s"),
        ({"hold_s": (float("nan"), 1.0, 1.0)}, "hold_s"),
        ({"gates": (("errors",), ("happiness",), ("quality",))}, "gates"),
        ({"guards": ("errors", "mood")}, "guards"),
        ({"freeze": ("every Friday",)}, "freeze"),
    ],
)
def test_settings_that_cannot_work(world: World, controller: Controller, changes: dict[str, Any], field: str) -> None:
    refused(world, controller, InvalidInput, field, 2, replace(CONFIG, **changes))


def test_shares_that_do_not_fill_the_whole() -> None:
    with pytest.raises(InvalidInput, match=r"sum to 1\.1, not to 1"):
        configured({}, {"steps": [{"stable": 0.9, "canary": 0.2}, 1.0]})
    with pytest.raises(InvalidInput, match="stable and canary"):
        configured({}, {"steps": [{"stable": 0.9}, 1.0]})
    assert configured({}, {"steps": [{"stable": 0.9, "canary": 0.1}, 1.0]}).steps == (0.1, 1.0)


def test_what_is_whole_may_start(world: World, controller: Controller) -> None:
    started = controller.start(ENGAGEMENT, 2, CONFIG, "k")
    with world.database.read() as connection:
        assert connection.execute(schema.rollout.select()).one().id == started.id
