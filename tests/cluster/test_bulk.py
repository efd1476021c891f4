"""Forecasts of every channel and predictions for a file of drafts, shard by shard."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.jobs import bulk
from cluster.jobs.parts import Parts, Shard, shards
from core.artifacts import ArtifactStore
from core.clock import DAY, ManualClock, SystemClock
from core.errors import InvalidInput
from core.ingest.importer import import_path
from core.ingest.simulator import SimulatorConfig, simulate
from core.schemas.channels import Channel
from core.schemas.predictions import ENGAGEMENT, TARGETS
from core.settings import Settings
from core.store import migrate
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.registry import Registry
from tests.serve_apps.world import World, register, tiny_model

CONFIG = SimulatorConfig(channels=2, days=30, posts_per_day=2.0)
COLUMNS = {"rows": {"channel": "string", "value": "float64"}}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two simulated channels and a version in charge."""
    home = tmp_path_factory.mktemp("bulk")
    simulate(CONFIG, home / "data")
    made = Settings(home=home)
    database = Database(made.database)
    migrate.upgrade(database)
    import_path(home / "data", database, clock=SystemClock())
    world = World(database, ManualClock(CONFIG.start), ArtifactStore(made.artifacts), 0)
    register(world, tiny_model(0.1), "first")
    Registry(database).set_alias(ENGAGEMENT, "champion", 1, expect=None, reason="test", actor="test", now=1)
    return made


def channel(number: int, version: int = 1) -> Channel:
    return Channel(number, "default", f"c{number}", "UTC", "simulator", version)


def drafts(folder: Path, rows: list[dict[str, object]]) -> Path:
    path = folder / "drafts.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_every_channel_is_in_one_shard_whatever_the_order() -> None:
    channels = [channel(i) for i in range(7)]
    cut = shards(channels, size=3)
    assert [len(s.channels) for s in cut] == [3, 3, 1]
    assert cut == shards(channels[::-1], size=3)
    assert shards([]) == ()


def test_a_fingerprint_changes_with_the_data_and_what_else_matters() -> None:
    shard = Shard(0, (channel(1), channel(2)))
    assert shard.fingerprint(DAY, 30) == Shard(0, (channel(1), channel(2))).fingerprint(DAY, 30)
    newer = Shard(0, (channel(1), channel(2, version=2)))
    prints = {shard.fingerprint(DAY, 30), newer.fingerprint(DAY, 30), shard.fingerprint(2 * DAY, 30)}
    assert len(prints | {shard.fingerprint(DAY, 7)}) == 4


def test_a_part_is_whole_current_and_replaced_when_the_data_changed(tmp_path: Path) -> None:
    parts = Parts(tmp_path, COLUMNS)
    assert parts.is_current(3, "a") is False
    parts.write(3, {"rows": [{"channel": "c1", "value": 2.0}]}, "a")
    assert parts.is_current(3, "a")
    assert parts.is_current(3, "b") is False
    assert pq.read_table(tmp_path / "rows-0003.parquet").to_pylist() == [{"channel": "c1", "value": 2.0}]
    (tmp_path / "rows-0003.parquet").write_bytes(b"cut off")
    assert parts.is_current(3, "a") is False


def test_parts_of_shards_that_are_gone_go(tmp_path: Path) -> None:
    parts = Parts(tmp_path, COLUMNS)
    for number in range(3):
        parts.write(number, {"rows": []}, "a")
    parts.finish(2, {"channels": 60})
    assert sorted(p.name for p in tmp_path.glob("*.parquet")) == ["rows-0000.parquet", "rows-0001.parquet"]
    assert json.loads((tmp_path / "done.json").read_text()) == {"channels": 60, "parts": 2}


def test_drafts_are_scored_beside_each_other_and_problems_keep_their_rows(settings: Settings, tmp_path: Path) -> None:
    soon = SystemClock().now() + DAY
    file = drafts(
        tmp_path,
        [
            {"channel": "sim01", "id": "a", "text": "News of the day", "published_at": soon},
            {"channel": "@nobody", "id": "b", "text": "?", "published_at": None},
            {"channel": "sim02", "id": "c", "text": "x" * 1_000_000, "published_at": None},
            {"channel": "sim02", "id": "d", "text": None, "published_at": 5},
        ],
    )
    wanted = bulk._read(file)
    (shard,) = shards(ChannelStore(Database(settings.database)).channels())
    (task,) = bulk._tasks(settings, (shard,), wanted, 1, "2026-01-01").values()
    tables = task.work()
    by_id = {row["id"]: row for row in tables["drafts"]}
    scored = [row for row in tables["drafts"] if row["id"] == "a"]
    assert {row["target"] for row in scored} <= set(TARGETS)
    assert all(0 < row["q10"] <= row["q50"] <= row["q90"] and row["version"] == 1 for row in scored)
    assert "no channel '@nobody'" in by_id["b"]["problem"]
    assert "longer than 64 KB" in by_id["c"]["problem"]
    assert "published between" in by_id["d"]["problem"]
    assert {row["row"] for row in tables["drafts"]} == {0, 1, 2, 3}
    points = [row for row in tables["forecasts"] if row["problem"] is None]
    assert {row["channel"] for row in points if row["metric"] == "subscribers"} == {"sim01", "sim02"}
    parts = Parts(tmp_path, {"drafts": bulk._DRAFTS, "forecasts": bulk._FORECASTS})
    parts.write(0, tables, task.fingerprint)
    assert parts.is_current(0, task.fingerprint)
    assert bulk._tasks(settings, (shard,), wanted, 2, "2026-01-01")[0].fingerprint != task.fingerprint


def test_without_a_version_in_charge_every_draft_says_so(settings: Settings, tmp_path: Path) -> None:
    wanted = bulk._read(drafts(tmp_path, [{"channel": "sim01", "text": "x"}]))
    (shard,) = shards(ChannelStore(Database(settings.database)).channels())
    (task,) = bulk._tasks(settings, (shard,), wanted, None, "2026-01-01").values()
    (row,) = task.work()["drafts"]
    assert "train one first" in row["problem"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [([{"text": "x"}], "no column channel"), ([{"channel": "a", "colour": 1}], "unknown columns colour")],
)
def test_a_file_that_holds_no_drafts_is_refused(tmp_path: Path, rows: list[dict[str, object]], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        bulk._read(drafts(tmp_path, rows))
    with pytest.raises(InvalidInput, match="no Parquet file"):
        bulk._read(tmp_path / "nowhere.parquet")
