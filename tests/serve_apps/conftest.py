from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.artifacts import ArtifactStore
from core.clock import ManualClock
from tests.databases import empty_sqlite
from tests.serve_apps.world import GAP, POSTS, START, Bench, World, fill, register, tiny_model


@pytest.fixture(scope="session")
def artifact_files() -> dict[int, dict[str, bytes]]:
    """Version 1 says the usual, version 2 says 20 % more."""
    return {1: tiny_model(0.0), 2: tiny_model(float(np.log(1.2)))}


@pytest.fixture
def world(tmp_path: Path, artifact_files: dict[int, dict[str, bytes]]) -> Iterator[World]:
    database = empty_sqlite(tmp_path / "world.db")
    channel = fill(database, "@town", 3)
    fill(database, "@village", 4, level=80.0, final_only=True)
    clock = ManualClock(time=START + POSTS * GAP)
    made = World(database, clock, ArtifactStore(str(tmp_path / "artifacts")), channel)
    for version, files in artifact_files.items():
        assert register(made, files, f"v{version}") == version
    yield made
    database.dispose()


@pytest.fixture
def bench(world: World) -> Iterator[Bench]:
    made = Bench(world)
    yield made
    made.recorder.close()
