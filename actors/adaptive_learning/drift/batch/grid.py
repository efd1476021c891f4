"""Counts the values of many columns on a grid that a reference fixes: no sort, no search, and counts add up.

Every column has cells of equal width between its reference's 0.1 % ends, one cell below and one above. Any distance of
two distribution functions can be read from such counts, and counts of shards, workers and days are merged by adding
them. A column whose reference crowds into few cells (heavy tails) is first bent by u / (1 + |u|) of its standardised
value, which is monotone, so that distances keep their meaning.

The cell of a value costs a subtraction, a multiplication, an addition and a clip: adding 2^23 to a float32 leaves its
rounded value in the low bits, and the bits of floats are in the order of their values, so that no cast is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput
from core.history import Floats, Ints

CELLS = 4096
#: Share of the reference outside the ends of the grid, each side.
TAIL = 0.001
#: Rows of a reference from which ends are taken.
FIT_ROWS = 50_000
_CROWDED = 8  # times its fair share of the reference that a cell may hold, beyond one repeated value, unless bent
_CHUNK = 1 << 16  # values that are worked on at a time: they fit the cache
_SMALL = 1 << 18  # values that are counted by one bincount over rows
_WIDE = 1024  # columns up to which their counts are made by one bincount
_NARROW = 64  # columns up to which the counts of all of them stay in the cache
_FOLDED = 2.0**18  # |low * scale| up to which multiply-and-add in float32 is as good as subtract-and-multiply
_MAGIC = np.float32(2**23)
_FIRST = np.int32(0x4B000000)  # the bits of 2^23

Numbers = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class GridCounts:
    """cells: F x (C + 2), values below, in each cell, and above; missing: F, values that are NaN or infinite."""

    cells: Ints
    missing: Ints

    @property
    def present(self) -> Ints:
        """Values that are there, F."""
        result: Ints = self.cells.sum(axis=1)
        return result

    def __add__(self, other: GridCounts) -> GridCounts:
        """Counts of both tables; they must be counts on the same grid."""
        return GridCounts(self.cells + other.cells, self.missing + other.missing)


@dataclass(frozen=True, slots=True)
class Grid:
    """Where each of F columns has its cells: cell = round((x - low) * scale), bent columns by a second such step."""

    cells: int
    low: Floats
    scale: Floats
    bent: NDArray[np.bool_]
    bent_low: Floats
    bent_scale: Floats
    spread: Floats  # standard deviation of the reference between the ends, 0: constant, NaN: no values
    plain: bool = field(init=False)  # cell = x * factor + shift is as good in float32, for all columns
    factor: NDArray[np.float32] = field(init=False, repr=False)
    shift: NDArray[np.float32] = field(init=False, repr=False)
    offsets: NDArray[np.int32] = field(init=False, repr=False)  # of each column's counts in those of a block of rows

    def __post_init__(self) -> None:
        """Works out what each block of values needs."""
        folded = self.low * self.scale
        object.__setattr__(self, "plain", not self.bent.any() and bool(np.all(np.abs(folded) < _FOLDED)))
        object.__setattr__(self, "factor", self.scale.astype(np.float32))
        object.__setattr__(self, "shift", (float(_MAGIC) - folded).astype(np.float32))
        offsets = np.arange(min(self.width, _WIDE), dtype=np.int32) * np.int32(self.cells + 2) - _FIRST
        object.__setattr__(self, "offsets", offsets)

    @classmethod
    def fit(cls, reference: Numbers, cells: int = CELLS) -> Grid:
        """The grid of a reference table (n x F numbers; evenly spaced rows of it where it is long)."""
        rows, width = matrix(reference).shape
        step = max(-(-rows // FIT_ROWS), 1)
        parts = [_fitted(reference[::step, i : i + 256], cells) for i in range(0, max(width, 1), 256)]
        low, scale, bent, bent_low, bent_scale, spread = (np.concatenate(p) for p in zip(*parts, strict=True))
        return cls(cells, low, scale, bent, bent_low, bent_scale, spread)

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.low)

    def empty(self) -> GridCounts:
        """Counts of no rows."""
        return GridCounts(np.zeros((self.width, self.cells + 2), np.int64), np.zeros(self.width, np.int64))

    def count(self, table: Numbers) -> GridCounts:
        """Counts of a table (n x F numbers, NaN: missing).

        A table whose columns are contiguous is counted column by column; a C-ordered one over its rows in blocks, or,
        where it is wide, in transposed blocks, since a strided column reads many times slower than a contiguous one.
        """
        table = matrix(table)
        if table.shape[1] != self.width:
            raise InvalidInput(f"the table has {table.shape[1]} columns, the grid {self.width}")
        if table.size <= _SMALL and 0 < self.width <= _WIDE:
            return self._count_rows(table)
        found = self.empty()
        if self.width == 0:
            return found
        by_column = self.width == 1 or table.strides[0] == table.itemsize
        if by_column or self.width > _NARROW:
            block = len(table) if by_column else (1 << 22) // min(self.width, 1 << 22)
            for start in range(0, len(table), block):
                columns = table[start : start + block].T
                self._count_columns(columns if by_column else np.ascontiguousarray(columns), found)
            return found
        for start in range(0, len(table), block := _SMALL // self.width):
            found = found + self._count_rows(table[start : start + block])
        return found

    def edges(self, column: int) -> Floats:
        """The C + 1 borders of a column's cells, in its own unit."""
        borders: NDArray[np.floating] = np.arange(self.cells + 1) + 0.5
        if self.bent[column]:
            u = borders / self.bent_scale[column] + self.bent_low[column]
            borders = u / (1 - np.abs(u))
        result: Floats = borders / self.scale[column] + self.low[column]
        return result

    def _count_columns(self, columns: Numbers, found: GridCounts) -> None:
        """Adds the counts of F x n values, one contiguous piece of a column at a time."""
        work = np.empty(min(columns.shape[1], _CHUNK), np.float32)
        index = np.empty(len(work), np.int64)
        for j, column in enumerate(columns):
            for start in range(0, len(column), _CHUNK):
                piece = column[start : start + _CHUNK]
                finite = _finite(piece)
                if len(finite) < len(piece):
                    found.missing[j] += len(piece) - len(finite)
                bits = self._bits(finite, work[: len(finite)], slice(j, j + 1))
                bits -= _FIRST
                into = index[: len(finite)]
                into[:] = bits
                found.cells[j] += np.bincount(into, minlength=self.cells + 2)

    def _count_rows(self, table: Numbers) -> GridCounts:
        """One bincount over the row-major values of a short table."""
        height = self.cells + 2
        bits = self._bits(table, np.empty(table.shape, np.float32), slice(0, self.width))
        index = np.add(bits, self.offsets)
        whole = table.ravel()
        if len(_finite(whole)) == len(whole):
            cells = np.bincount(index.ravel(), minlength=self.width * height)
            return GridCounts(cells.reshape(self.width, height), np.zeros(self.width, np.int64))
        present = np.isfinite(table)
        cells = np.bincount(index[present], minlength=self.width * height)
        return GridCounts(cells.reshape(self.width, height), len(table) - present.sum(axis=0))

    def _bits(self, values: Numbers, work: NDArray[np.float32], columns: slice) -> NDArray[np.int32]:
        """Cells (0 to C + 1) plus _FIRST of values by column (last axis) or of one column; overwrites work."""
        with np.errstate(over="ignore", invalid="ignore"):
            if self.plain and values.dtype == np.float32:
                np.multiply(values, self.factor[columns], out=work)
                np.add(work, self.shift[columns], out=work)
            else:
                low, bent = self.low[columns], self.bent[columns]
                # The ends of long float64 values need their digits.
                kind = np.float32 if values.dtype == np.float32 else np.float64
                np.subtract(values, low.astype(kind), out=work, casting="same_kind")
                np.multiply(work, self.factor[columns], out=work)
                if bent.any():
                    part = work[..., bent] if work.ndim > 1 else work
                    part = part / (1 + np.abs(part))
                    work[..., bent if work.ndim > 1 else slice(None)] = (
                        part - self.bent_low[columns][bent]
                    ) * self.bent_scale[columns][bent]
                np.add(work, _MAGIC, out=work)
        bits = work.view(np.int32)
        bits.clip(_FIRST, _FIRST + np.int32(self.cells + 1), out=bits)
        return bits


def matrix(table: Numbers) -> Numbers:
    """A table of numbers with two axes; InvalidInput otherwise."""
    if table.ndim != 2 or table.dtype.kind not in "fiub":
        raise InvalidInput(f"a table of numbers has two axes: this one has {table.ndim}, of {table.dtype}")
    return table.astype(np.float32) if table.dtype.kind == "b" or table.dtype == np.float16 else table


def _finite(values: Numbers) -> Numbers:
    """The values that are finite; the sum of squares tells whether one is not, at a fraction of the price."""
    if values.dtype.kind != "f":
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.dot(values, values)):
            return values
    return values[np.isfinite(values)]


def _fitted(sample: Numbers, cells: int) -> tuple[Floats, Floats, NDArray[np.bool_], Floats, Floats, Floats]:
    """low, scale, bent, bent_low, bent_scale, spread of the columns of a sample."""
    values = np.array(sample.T, dtype=np.float64)
    values[~np.isfinite(values)] = np.nan
    values = np.sort(values, axis=1)  # missing ones last
    present = np.sum(np.isfinite(values), axis=1)
    width, rows = values.shape
    bent, bent_low, bent_scale = np.zeros(width, bool), np.zeros(width), np.ones(width)
    if rows == 0:
        return np.zeros(width), np.ones(width), bent, bent_low, bent_scale, np.full(width, np.nan)
    tail = (TAIL * present).astype(np.int64)
    every = np.arange(width)
    last = np.maximum(present - 1 - tail, 0)
    first_value, last_value = (np.nan_to_num(values[every, at]) for at in (tail, last))
    low, scale = _affine(first_value, last_value, cells)
    spread = np.where(present > 0, 0.0, np.nan)
    with np.errstate(invalid="ignore"):
        places = np.nan_to_num(np.rint((values - low[:, None]) * scale[:, None]), nan=-1)
    together = (places[:, 1:] == places[:, :-1]) & (values[:, 1:] > values[:, :-1])
    crowded = together.any(axis=1)
    for j in np.flatnonzero(last_value > first_value):
        n = present[j]
        spread[j] = float(np.std(values[j, tail[j] : n - tail[j]]))
        if not crowded[j]:
            continue
        column = values[j, :n]
        crowd = _crowd(column, (column - low[j]) * scale[j], cells)
        centre, wide = np.median(column), np.subtract(*np.quantile(column, (0.75, 0.25)))
        if crowd <= _CROWDED / min(cells, n) or wide <= 0:
            continue
        u = (column - centre) / wide
        u /= 1 + np.abs(u)
        (start,), (step,) = _affine(u[tail[j]][None], u[n - 1 - tail[j]][None], cells)
        if _crowd(column, (u - start) * step, cells) < crowd:
            low[j], scale[j], bent[j], bent_low[j], bent_scale[j] = centre, 1 / wide, True, start, step
    return low, scale, bent, bent_low, bent_scale, spread


def _affine(first: Floats, last: Floats, cells: int) -> tuple[Floats, Floats]:
    """low and scale that put the ends into the first and the last cell; a constant gets cells of float32's width."""
    span = last - first
    least = np.maximum(np.maximum(np.abs(first), np.abs(last)) * cells * 2.0**-24, 1e-30)
    first = np.where(span < least, first - (least - span) / 2, first)
    scale = (cells - 1) / np.maximum(span, least)
    # A whole number of cells from zero, so that low * scale has no fraction that float32 could lose.
    return np.floor(first * scale - 0.5) / scale, scale


def _crowd(column: Floats, places: Floats, cells: int) -> float:
    """Largest share of sorted values in one cell, apart from the most frequent value in it."""
    where = np.rint(np.clip(places, 0, cells + 1)).astype(np.int64)
    inside = (where > 0) & (where <= cells)
    if not inside.any():
        return 0.0
    total = np.bincount(where[inside])
    starts = np.flatnonzero(np.append(True, np.diff(column) > 0))
    runs = np.diff(np.append(starts, len(column)))
    largest = np.zeros(len(total) + cells + 2, np.int64)
    np.maximum.at(largest, where[starts], runs)
    return float(np.max(total - largest[: len(total)])) / len(column)
