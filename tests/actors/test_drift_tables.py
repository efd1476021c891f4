"""One report of two tables: any kind of column, schema and label, from memory or files, in one piece or in shards."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.adaptive_learning.drift.batch.categories import MOST, added
from actors.adaptive_learning.drift.batch.counts import Profile
from actors.adaptive_learning.drift.batch.sources import WIDEST, ArraySource, ArrowSource, ParquetSource, source_of
from actors.adaptive_learning.drift.batch.table import compare_counts, compare_tables
from core.codec import from_json, to_json
from core.errors import InsufficientData, InvalidInput
from core.schemas.drift import BatchDriftReport
from core.schemas.monitoring import DriftReport


def mixed(n: int, rng: np.random.Generator, **changed: Any) -> pa.Table:
    columns: dict[str, Any] = {
        "level": rng.normal(size=n).astype(np.float32),
        "count": rng.poisson(3, n),
        "kind": pa.array(rng.choice(["text", "photo", "video"], n, p=[0.6, 0.3, 0.1])),
        "flag": rng.random(n) < 0.2,
        "at": pa.array(rng.integers(0, 10**6, n), pa.timestamp("s")),
        "gaps": pa.array(rng.normal(size=n), mask=rng.random(n) < 0.1),
        "target": rng.integers(0, 3, n),
    }
    return pa.table(columns | changed)


def by_name(report: BatchDriftReport) -> dict[str, Any]:
    return {column.column: column for column in report.columns}


def test_tables_that_do_not_differ_seldom_alarm_and_are_never_graded() -> None:
    rng = np.random.default_rng(1)
    reports = [compare_tables(mixed(300, rng), mixed(300, rng), rng=rng, label="target") for _ in range(12)]
    assert sum(report.drifted for report in reports) <= 2
    assert all(report.severity in ("none", "low") for report in reports)
    assert all(report.drifted or not any(c.named for c in report.columns) for report in reports)
    assert [c.column for c in reports[0].columns] == ["level", "count", "kind", "flag", "at", "gaps"]


def test_each_kind_of_change_is_named() -> None:
    rng = np.random.default_rng(2)
    n = 1500
    recent = mixed(
        n,
        rng,
        level=rng.normal(0.6, 1, n).astype(np.float32),
        kind=pa.array(rng.choice(["text", "photo", "poll"], n, p=[0.4, 0.3, 0.3])),
        gaps=pa.array(rng.normal(size=n), mask=rng.random(n) < 0.4),
        target=rng.choice(3, n, p=[0.6, 0.2, 0.2]),
    )
    report = compare_tables(mixed(n, rng), recent, rng=rng, label="target")
    columns = by_name(report)
    assert {name for name, column in columns.items() if column.named} >= {"level", "kind", "gaps"}
    assert not columns["count"].named
    assert columns["level"].severity == "high"
    assert columns["level"].wasserstein == pytest.approx(0.6, abs=0.1)
    assert columns["kind"].unseen == ("poll",)
    assert columns["kind"].unseen_share == pytest.approx(0.3, abs=0.05)
    assert columns["gaps"].missing_change == pytest.approx(0.3, abs=0.05)
    assert report.label is not None
    assert (report.label.kind, report.label.named) == ("categorical", True)
    assert report.severity == "high"
    assert set(report.top[:3]) == {"level", "kind", "gaps"}


def test_many_rows_make_a_difference_certain_but_not_grave() -> None:
    rng = np.random.default_rng(3)
    reference = rng.standard_normal((200_000, 3), dtype=np.float32)
    recent = rng.standard_normal((200_000, 3), dtype=np.float32)
    recent[:, 1] += 0.02
    report = compare_tables(reference, recent, rng=rng, most_rows=300)
    assert report.drifted
    assert report.top[0] == "f1"
    assert report.severity == "low"


def test_columns_that_vanish_appear_or_change_their_kind_are_told_apart() -> None:
    rng = np.random.default_rng(4)
    old = mixed(200, rng)
    new = mixed(200, rng, level=pa.array(["high"] * 200), nested=pa.array([[1]] * 200)).drop_columns(["count"])
    report = compare_tables(old, new, rng=rng)
    assert report.schema.missing == ("count",)
    assert report.schema.extra == ("nested",)
    assert report.schema.changed == ("level: numeric -> categorical",)
    assert report.severity == "high"
    gone = compare_tables(old, mixed(200, rng, level=pa.nulls(200)), rng=rng)
    assert gone.schema.changed == ()
    assert by_name(gone)["level"].missing_change == 1.0
    assert by_name(gone)["level"].named
    nothing = compare_tables(pa.table({"a": range(50)}), pa.table({"b": range(50)}), rng=rng)
    assert (nothing.columns, nothing.multivariate, nothing.severity) == ((), None, "high")


def test_a_numeric_label_is_tested_as_numbers() -> None:
    rng = np.random.default_rng(5)
    old, new = rng.normal(size=(400, 3)), rng.normal(size=(400, 3))
    new[:, 2] += 1
    report = compare_tables(old, new, rng=rng, names=("a", "b", "y"), label="y")
    assert report.label is not None
    assert (report.label.kind, report.label.named, report.label.severity) == ("numeric", True, "high")
    assert [column.column for column in report.columns] == ["a", "b"]
    assert not any(column.named for column in report.columns)
    with pytest.raises(InvalidInput, match="'z' is not"):
        compare_tables(old, new, rng=rng, label="z")


def test_the_same_generator_gives_the_same_report_and_it_can_be_stored() -> None:
    tables = mixed(200, np.random.default_rng(6)), mixed(200, np.random.default_rng(7))
    first, second = (compare_tables(*tables, rng=np.random.default_rng(8)) for _ in range(2))
    assert first == second
    assert from_json(BatchDriftReport, to_json(first)) == first


def test_reports_that_were_stored_before_are_still_read() -> None:
    old = '{"model":"m","version":1,"at":5,"reference_n":10,"recent_n":10,"severity":"low","features":[]}'
    assert from_json(DriftReport, old).multivariate is None


def test_empty_short_and_wrong_input_has_a_typed_answer() -> None:
    rng = np.random.default_rng(9)
    table = rng.normal(size=(100, 2))
    with pytest.raises(InsufficientData, match="recent table"):
        compare_tables(table, table[:0], rng=rng)
    with pytest.raises(InvalidInput, match="two axes"):
        compare_tables(table[:, 0], table[:, 0], rng=rng)
    with pytest.raises(InvalidInput, match="not a table"):
        compare_tables("text", table, rng=rng)
    with pytest.raises(InvalidInput, match="alpha"):
        compare_tables(table, table, rng=rng, alpha=1.5)
    with pytest.raises(InvalidInput, match="2 columns need"):
        compare_tables(table, table, rng=rng, names=("a", "a"))
    short = compare_tables(table[:30], table[:30], rng=rng)
    assert (short.drifted, short.multivariate) == (False, None)
    assert "single columns were compared alone" in short.notes[0]


def test_frames_mappings_and_objects_are_tables_too() -> None:
    rng = np.random.default_rng(10)
    frame = pd.DataFrame({"x": rng.normal(size=60), "k": rng.choice(["a", "b"], 60)})
    frame.loc[3, "k"] = None
    mapping = {"x": rng.normal(size=60), "k": np.array(["a", "b", 3] * 20, dtype=object)}
    report = compare_tables(frame, mapping, rng=rng)
    assert {column.column: column.kind for column in report.columns} == {"x": "numeric", "k": "categorical"}
    assert by_name(report)["k"].unseen == ("3",)
    objects = np.array([["a", 1.5], ["b", None]] * 20, dtype=object)
    assert dict(source_of(objects).kinds) == {"f0": "categorical", "f1": "numeric"}


def test_a_wide_table_is_compared_in_pieces() -> None:
    rng = np.random.default_rng(11)
    reference, recent = (rng.standard_normal((60, 1500), dtype=np.float32) for _ in range(2))
    recent[:, 1234] += 3
    report = compare_tables(reference, recent, rng=rng)
    assert len(report.columns) == 1500
    assert report.top[0] == "f1234"
    assert report.multivariate is not None
    assert report.multivariate.columns == 64
    assert "64 of 1500 columns" in report.notes[0]


WIDE = 10**6


def test_a_table_of_a_million_columns_is_refused_before_it_is_read() -> None:
    rng = np.random.default_rng(12)
    good = rng.normal(size=(40, 2))
    wide, flags = (np.broadcast_to(value, (40, WIDE)) for value in (np.float32(0), np.True_))
    tracemalloc.start()
    with pytest.raises(InvalidInput, match=r"1,000,000 columns: at most 16,384") as caught:
        compare_tables(wide, good, rng=rng)
    with pytest.raises(InvalidInput, match="columns"):
        compare_tables(good, flags, rng=rng)
    with pytest.raises(InvalidInput, match="columns"):
        ArraySource(wide)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
    assert (caught.value.details["field"], caught.value.details["most"]) == ("columns", WIDEST)


@pytest.mark.parametrize("kind", ["frame", "mapping", "objects"])
def test_wide_tables_of_other_kinds_are_refused_too(kind: str) -> None:
    column = np.zeros(2)
    tables: dict[str, Callable[[], Any]] = {
        "frame": lambda: pd.DataFrame(np.zeros((2, WIDE), np.float32)),
        "mapping": lambda: dict.fromkeys(range(WIDE), column),
        "objects": lambda: np.broadcast_to(np.array(None, dtype=object), (2, WIDE)),
    }
    with pytest.raises(InvalidInput, match="1,000,000 columns"):
        source_of(tables[kind]())


def test_a_wide_file_and_an_arrow_table_are_refused_and_the_widest_allowed_is_not(tmp_path: Path) -> None:
    names = [f"f{i}" for i in range(WIDEST + 1)]
    table = pa.table([pa.array([1.0])] * len(names), names=names)
    pq.write_table(table, tmp_path / "wide.parquet", write_statistics=False)
    for make in (lambda: ParquetSource(tmp_path / "wide.parquet"), lambda: ArrowSource(table)):
        with pytest.raises(InvalidInput, match="16,385 columns"):
            make()
    assert len(source_of(table.select(names[1:])).kinds) == WIDEST


def test_files_and_merged_shards_say_what_the_whole_table_says(tmp_path: Path) -> None:
    rng = np.random.default_rng(12)
    old, new = mixed(4000, rng), mixed(4000, rng, level=rng.normal(0.2, 1, 4000).astype(np.float32))
    paths = []
    for name, table in (("old", old), ("new", new)):
        for part in range(2):
            paths.append(tmp_path / f"{name}{part}.parquet")
            pq.write_table(table.slice(2000 * part, 2000), paths[-1], row_group_size=700)
    reference, recent = ParquetSource(*paths[:2]), ParquetSource(*paths[2:])
    memory = compare_tables(old, new, rng=rng)
    streamed = compare_tables(reference, recent, rng=rng)
    assert streamed.columns == memory.columns
    numeric = [name for name, kind in reference.kinds.items() if kind == "numeric"]
    profile = Profile.fit(reference, numeric, ("kind", "flag"))
    shards = [profile.count(ParquetSource(path), rng) for path in paths]
    assert len(shards[0].sample.keys) == 2000
    merged = compare_counts(profile, shards[0] + shards[1], shards[2] + shards[3], rng=rng)
    assert {c.column: c.p_value for c in merged.columns} == {c.column: c.p_value for c in memory.columns}
    assert merged.drifted
    assert merged.top[0] == "level"
    with pytest.raises(InvalidInput, match="not a readable Parquet file"):
        ParquetSource(tmp_path / "none.parquet")


def test_a_sample_of_merged_tables_is_drawn_from_all_of_them_alike() -> None:
    rng = np.random.default_rng(13)
    first, second = (np.full((n, 1), value) for n, value in ((3000, 0.0), (1000, 1.0)))
    profile = Profile.fit(source_of(np.concatenate([first, second])), ("f0",), most_rows=400)
    merged = profile.count(source_of(first), rng) + profile.count(source_of(second), rng)
    assert merged.rows == 4000
    assert merged.sample.rows.numeric.mean() == pytest.approx(0.25, abs=0.07)


def test_memory_for_categories_is_bounded() -> None:
    counts = added(added(Counter(), {f"id{i}": 1 for i in range(MOST)}), {f"new{i}": 2 for i in range(MOST)})
    assert len(counts) <= MOST + 1
    assert counts.total() == 3 * MOST
