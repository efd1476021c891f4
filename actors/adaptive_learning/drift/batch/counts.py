"""What is kept of a table to compare it: grid counts, category counts and a sample of rows; all of it adds up.

A profile fixes the columns and their grid from a reference. Shards, workers and days are counted by themselves and
merged with `+`; the result does not depend on how the rows were split, except for which of them are in the sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actors.adaptive_learning.drift.batch.categories import CategoryCounts, added
from actors.adaptive_learning.drift.batch.grid import FIT_ROWS, Grid, GridCounts, Numbers
from actors.adaptive_learning.drift.batch.multivariate import MOST_ROWS, Rows
from actors.adaptive_learning.drift.batch.sources import Block, Source
from core.errors import InvalidInput
from core.history import Floats

#: Columns whose counts are held at a time (33 kB each on either side).
MOST_COUNTED = 4096


@dataclass(frozen=True, slots=True)
class RowSample:
    """The rows with the smallest random keys: a sample without replacement, also of tables that were merged."""

    keys: Floats
    rows: Rows
    most: int

    @classmethod
    def none(cls, numeric: int, categorical: int, most: int = MOST_ROWS) -> RowSample:
        """Of an empty table."""
        return cls(np.zeros(0), Rows(np.zeros((0, numeric)), np.zeros((0, categorical), object)), most)

    def __add__(self, other: RowSample) -> RowSample:
        keys = np.concatenate([self.keys, other.keys])
        kept = np.argsort(keys, kind="stable")[: self.most]
        numeric = np.concatenate([self.rows.numeric, other.rows.numeric])[kept]
        categories = np.concatenate([self.rows.categories, other.rows.categories])[kept]
        return RowSample(keys[kept], Rows(numeric, categories), self.most)

    def with_block(self, block: Block, rng: np.random.Generator) -> RowSample:
        """The sample of this table and a block of further rows."""
        keys = rng.random(len(block))
        limit = self.keys[-1] if len(self.keys) == self.most else np.inf
        near = np.flatnonzero(keys < limit)
        if len(near) > self.most:
            near = near[np.argpartition(keys[near], self.most)[: self.most]]
        if len(near) == 0:
            return self
        categories = np.empty((len(near), len(block.categorical)), dtype=object)
        for j, column in enumerate(block.categorical):
            categories[:, j] = column.take(pa.array(near)).to_pylist()
        numeric = np.asarray(block.numeric[near], dtype=np.float64)
        return self + RowSample(keys[near], Rows(numeric, categories), self.most)


@dataclass(frozen=True, slots=True)
class TableCounts:
    """Counts of a table: rows, numeric columns on their grid, categories and missing values of the others, a sample."""

    rows: int
    numeric: GridCounts
    categories: tuple[CategoryCounts, ...]
    missing: tuple[int, ...]
    sample: RowSample

    def __add__(self, other: TableCounts) -> TableCounts:
        return TableCounts(
            self.rows + other.rows,
            self.numeric + other.numeric,
            tuple(added(a, b) for a, b in zip(self.categories, other.categories, strict=True)),
            tuple(a + b for a, b in zip(self.missing, other.missing, strict=True)),
            self.sample + other.sample,
        )


@dataclass(frozen=True, slots=True)
class Profile:
    """Columns that are compared, and the grid of the numeric ones."""

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    grid: Grid
    most_rows: int = field(default=MOST_ROWS)

    @classmethod
    def fit(
        cls, reference: Source, numeric: Sequence[str], categorical: Sequence[str] = (), most_rows: int = MOST_ROWS
    ) -> Profile:
        """The grid of these columns of a reference, from evenly spaced rows of it."""
        if len(numeric) > MOST_COUNTED:
            raise InvalidInput(f"at most {MOST_COUNTED} numeric columns are counted at a time, not {len(numeric)}")
        grid = Grid.fit(_spaced(reference, numeric)) if numeric else Grid.fit(np.zeros((0, 0)))
        return cls(tuple(numeric), tuple(categorical), grid, most_rows)

    def empty(self) -> TableCounts:
        """Counts of no rows."""
        kinds = len(self.categorical)
        sample = RowSample.none(len(self.numeric), kinds, self.most_rows)
        return TableCounts(0, self.grid.empty(), tuple(Counter() for _ in range(kinds)), (0,) * kinds, sample)

    def count(self, table: Source, rng: np.random.Generator | None = None) -> TableCounts:
        """Counts of a table or shard, with a sample of its rows where a generator is given."""
        found = self.empty()
        for block in table.blocks(self.numeric, self.categorical):
            numeric = self.grid.count(block.numeric) if self.numeric else self.grid.empty()
            sample = found.sample if rng is None else found.sample.with_block(block, rng)
            pairs = [_counted(column) for column in block.categorical]
            names, gone = tuple(counts for counts, _ in pairs), tuple(missing for _, missing in pairs)
            none = RowSample.none(len(self.numeric), len(self.categorical), self.most_rows)
            found = replace(found + TableCounts(len(block), numeric, names, gone, none), sample=sample)
        return found


def sampled(
    table: Source, numeric: Sequence[str], categorical: Sequence[str], most: int, rng: np.random.Generator
) -> Rows:
    """A sample of rows of these columns, without replacement."""
    found = RowSample.none(len(numeric), len(categorical), most)
    for block in table.blocks(numeric, categorical):
        found = found.with_block(block, rng)
    return found.rows


def _counted(column: pa.Array) -> tuple[CategoryCounts, int]:
    """Rows by category, and the missing ones."""
    found: CategoryCounts = Counter()
    for entry in pc.value_counts(column.drop_null()):
        found[entry["values"].as_py()] = entry["counts"].as_py()
    return added(Counter(), found), int(column.null_count)


def _spaced(table: Source, columns: Sequence[str]) -> Numbers:
    """About FIT_ROWS evenly spaced rows."""
    step = max(-(-table.rows // FIT_ROWS), 1)
    parts, before = [], 0
    for block in table.blocks(columns, ()):
        parts.append(block.numeric[(-before) % step :: step])
        before += len(block)
    return np.concatenate(parts) if len(parts) > 1 else parts[0] if parts else np.zeros((0, len(columns)))
