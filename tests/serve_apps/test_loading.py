"""Warm versions: bounded, loaded once however many ask, freed when given up, errors kept apart."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from typing import Any

import pytest

from core.errors import ArtifactCorrupt, NotFound, Refused
from core.schemas.predictions import ENGAGEMENT
from core.settings import ServingSettings
from core.store import schema
from serve_apps.loading import ModelLoader, WarmModels
from tests.serve_apps.world import World


class Thing:
    """Stands for a model: it can be referred to weakly."""

    def __init__(self, version: int) -> None:
        self.version = version


class Shelf:
    """Loads things, and counts."""

    def __init__(self, size: int = 10) -> None:
        self.size, self.asked, self.gate = size, list[tuple[str, int]](), threading.Event()
        self.gate.set()

    def __call__(self, model: str, version: int) -> tuple[Any, int]:
        self.asked.append((model, version))
        assert self.gate.wait(10)
        if version == 0:
            raise ArtifactCorrupt("damaged")
        return Thing(version), self.size


def test_the_versions_asked_for_last_stay_warm() -> None:
    shelf = Shelf()
    warm = WarmModels(shelf, count=2, limit=1000)
    first = warm.get("m", 1)
    warm.get("m", 2)
    assert warm.get("m", 1) is first
    warm.get("m", 3)
    assert warm.versions == (("m", 1), ("m", 3))
    warm.get("m", 2)
    assert (warm.loads, warm.evictions, warm.bytes) == (4, 2, 20)
    assert shelf.asked == [("m", 1), ("m", 2), ("m", 3), ("m", 2)]


def test_bytes_are_bounded_too_but_the_one_asked_for_is_always_given() -> None:
    warm = WarmModels(Shelf(size=60), count=9, limit=100)
    warm.get("m", 1)
    warm.get("m", 2)
    assert warm.versions == (("m", 2),)
    huge = WarmModels(Shelf(size=200), count=9, limit=100)
    assert huge.get("m", 1).version == 1
    assert huge.versions == (("m", 1),)


def test_what_is_given_up_is_freed_unless_somebody_serves_it() -> None:
    warm = WarmModels(Shelf(), count=1, limit=1000)
    gone, served = weakref.ref(warm.get("m", 1)), warm.get("m", 2)
    held = weakref.ref(served)
    warm.get("m", 3)
    gc.collect()
    assert gone() is None
    assert held() is served


def test_models_are_kept_apart_by_name() -> None:
    warm = WarmModels(Shelf(), count=4, limit=1000)
    assert warm.get("a", 1) is not warm.get("b", 1)


def test_many_who_ask_at_once_wait_for_one_load() -> None:
    shelf = Shelf()
    shelf.gate.clear()
    warm = WarmModels(shelf, count=2, limit=1000)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(warm.get("m", 1))) for _ in range(8)]
    for thread in threads:
        thread.start()
    give_up = time.monotonic() + 10
    while not shelf.asked:
        assert time.monotonic() < give_up
    shelf.gate.set()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8
    assert len({id(thing) for thing in found}) == 1
    assert shelf.asked == [("m", 1)]


def test_a_failed_load_reaches_all_who_wait_and_is_tried_again() -> None:
    shelf = Shelf()
    shelf.gate.clear()
    warm = WarmModels(shelf, count=2, limit=1000)
    failed: list[str] = []

    def ask() -> None:
        try:
            warm.get("m", 0)
        except ArtifactCorrupt as error:
            failed.append(error.message)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    give_up = time.monotonic() + 10
    while not shelf.asked:
        assert time.monotonic() < give_up
    shelf.gate.set()
    for thread in threads:
        thread.join(10)
    assert failed == ["damaged"] * 3
    assert warm.versions == ()
    asked = len(shelf.asked)
    with pytest.raises(ArtifactCorrupt):
        warm.get("m", 0)
    assert len(shelf.asked) == asked + 1


def test_real_versions_are_verified_and_their_bytes_counted(world: World) -> None:
    warm = WarmModels.over(world.database, world.artifacts, "cpu", ServingSettings(warm_versions=1))
    model = warm.get(ENGAGEMENT, 1)
    assert warm.get(ENGAGEMENT, 1) is model
    stored = world.artifacts.size(ModelLoader(world.database, world.artifacts, ENGAGEMENT).sha256(1))
    assert warm.bytes == stored
    warm.get(ENGAGEMENT, 2)
    assert warm.versions == ((ENGAGEMENT, 2),)


def test_unknown_names_numbers_and_pruned_versions_are_told_apart(world: World) -> None:
    warm = WarmModels.over(world.database, world.artifacts, "cpu", ServingSettings())
    with pytest.raises(NotFound, match="no model 'growth': this code serves engagement, content"):
        warm.get("growth", 1)
    with pytest.raises(NotFound, match="no version 9"):
        warm.get(ENGAGEMENT, 9)
    with world.database.write() as connection:
        connection.execute(schema.model_version.update().values(pruned_at=5))
    with pytest.raises(Refused, match="was pruned"):
        warm.get(ENGAGEMENT, 1)
