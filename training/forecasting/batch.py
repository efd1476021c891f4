"""Many series side by side: the one input of every forecaster."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.errors import InvalidInput
from core.history import Floats

#: Fewer values than this are no series: there would be nothing to judge a forecast by.
LEAST = 8

T = TypeVar("T")

_FILL_CYCLES = 4  # a gap is filled from the same phase of at most this many cycles away


@dataclass(frozen=True, eq=False)
class Batch:
    """n series with their ends aligned: column -1 is the last value known of each.

    values: n x L; NaN before a series begins, and where it has a gap. season: points in its shortest cycle (7: daily
    values with a weekly pattern; 24: hourly ones; 1: none known). copies: the rows are so many blocks of the same
    series, each block cut at a moment of its own; what pools over series does so within a block. Nothing in here is
    ever written to.
    """

    values: Floats
    season: int = 1
    copies: int = 1
    _derived: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, series: Sequence[ArrayLike], season: int = 1) -> Batch:
        """From series of any length, oldest value first; NaN is a gap. InvalidInput: not a sequence of numbers."""
        if season < 1:
            raise InvalidInput(f"a season has at least one point, not {season}", field="season")
        try:
            rows = [np.asarray(one, dtype=np.float64) for one in series]
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"a series holds numbers: {error}", field="series") from error
        if any(row.ndim != 1 for row in rows) or any(np.isinf(row).any() for row in rows):
            raise InvalidInput("a series is a flat list of finite numbers or NaN", field="series")
        values = np.full((len(rows), max((len(row) for row in rows), default=0)), np.nan)
        for place, row in zip(values, rows, strict=True):
            if len(row):
                place[-len(row) :] = row
        return cls(values, season)

    @property
    def n(self) -> int:
        """Number of series."""
        return len(self.values)

    @property
    def length(self) -> int:
        """Columns: the length of the longest."""
        return int(self.values.shape[1])

    @cached_property
    def start(self) -> NDArray[np.intp]:
        """Column of each series' first value (n); `length` where it has none."""
        known = np.isfinite(self.values)
        return np.where(known.any(axis=1), known.argmax(axis=1) if self.length else 0, self.length)

    @cached_property
    def count(self) -> NDArray[np.intp]:
        """How many values each series has, gaps not counted (n)."""
        result: NDArray[np.intp] = np.isfinite(self.values).sum(axis=1)
        return result

    def before(self, steps: int) -> Batch:
        """What was known `steps` points ago: nothing later has a part in it."""
        return Batch(self.values[:, : max(self.length - steps, 0)], self.season)

    def last(self, points: int) -> Batch:
        """The last points only."""
        return self if points >= self.length else self.under(self.values[:, self.length - points :])

    def blocks(self, first: int, end: int) -> Batch:
        """The copies from `first` up to `end`."""
        n = self.n // self.copies
        return Batch(self.values[first * n : end * n], self.season, end - first)

    def under(self, values: Floats) -> Batch:
        """The same series in other values (n x any length): logarithms, without their season, fewer points."""
        return Batch(values, self.season, self.copies)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, kept under `key`: for what several members derive from a batch alike."""
        if key not in self._derived:
            self._derived[key] = make()
        result: T = self._derived[key]
        return result

    @cached_property
    def filled(self) -> Floats:
        """Values without gaps from each series' first value on (n x L; NaN before it).

        A gap takes the mean of the nearest values of its own phase on both sides, where a season is known; else it is
        bridged by a straight line, and by the last value at the end.
        """
        values = self.values.copy()
        gaps = np.isnan(values) & (np.arange(self.length) >= self.start[:, None])
        for i in np.flatnonzero(gaps.any(axis=1)):
            _fill(values[i], np.flatnonzero(gaps[i]), int(self.start[i]), self.season)
        return values

    @cached_property
    def scale(self) -> Floats:
        """Mean absolute change over one season in each series (n), the unit of MASE (Hyndman and Koehler, 2006).

        Positive always: a series that never changed has its mean size instead, and one of zeros has 1.
        """
        return scale_of(self.values, self.season)


def scale_of(values: Floats, season: int) -> Floats:
    """Mean absolute seasonal difference along the last axis, never zero."""
    changes = np.abs(values[:, season:] - values[:, :-season])
    known = np.isfinite(changes)
    total = np.where(known, changes, 0.0).sum(axis=1)
    mean = total / np.maximum(known.sum(axis=1), 1)
    if season > 1:
        mean = np.where(known.any(axis=1), mean, scale_of(values, 1))
    sizes = np.abs(values)
    here = np.isfinite(sizes)
    size = np.where(here, sizes, 0.0).sum(axis=1) / np.maximum(here.sum(axis=1), 1)
    result: Floats = np.where(mean > 1e-9 * size, mean, np.where(size > 0, size, 1.0))
    return result


def _fill(row: Floats, gaps: NDArray[np.intp], start: int, season: int) -> None:
    """Fill one series in place."""
    known = np.flatnonzero(np.isfinite(row))
    line = np.interp(gaps, known, row[known])
    if season > 1:
        sides = [_nearest(row, gaps, start, step) for step in (-season, season)]
        there = np.isfinite(sides)
        number = there.sum(axis=0)
        line = np.where(number > 0, np.where(there, sides, 0.0).sum(axis=0) / np.maximum(number, 1), line)
    row[gaps] = line


def _nearest(row: Floats, gaps: NDArray[np.intp], start: int, step: int) -> Floats:
    """The first value met from each gap in strides of `step`; NaN where none is near."""
    found = np.full(len(gaps), np.nan)
    for k in range(1, _FILL_CYCLES + 1):
        places = gaps + step * k
        inside = (places >= start) & (places < len(row)) & np.isnan(found)
        found[inside] = row[places[inside]]
    return found
