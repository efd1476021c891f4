"""One-sided cumulative sums, a value at a time or a block at once, with the same result to the last bit.

Steps are multiples of GRID, so that float sums are exact in any order up to 2^33: that is what lets a block be summed
by numpy and still leave the state that single steps leave.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.history import Floats, Ints

#: Unit in the last place of every step: 2^-20, about one millionth of a standard deviation.
GRID = 2.0**-20
_PER_UNIT = 2.0**20


def on_grid(value: float) -> float:
    """The multiple of GRID nearest to a value (halves to the even one, as numpy's rint)."""
    return round(value * _PER_UNIT) * GRID


def all_on_grid(values: Floats) -> Floats:
    """`on_grid` of every value."""
    rounded: Floats = np.rint(values * _PER_UNIT) * GRID
    return rounded


@dataclass(slots=True)
class Side:
    """One direction's sum, and when it last left zero."""

    value: float = 0.0
    rows: int = 0
    total: float = 0.0  # of the standardised values since then
    onset: int = 0

    def add(self, step: float, standardised: float, at: int) -> None:
        """Move by `step`; back at zero, everything before is forgotten."""
        if self.value == 0.0:
            self.rows, self.total, self.onset = 0, 0.0, at
        self.value = max(self.value + step, 0.0)
        self.rows += 1
        self.total += standardised

    def path(self, steps: Floats) -> Floats:
        """Values of the sum after each of the next steps (n); the state stays."""
        walk = np.cumsum(steps)
        walk += self.value
        floor = np.minimum.accumulate(walk)
        np.minimum(floor, 0.0, out=floor)
        walk -= floor
        return walk

    def take(self, path: Floats, standardised: Floats, ats: Ints) -> None:
        """Move along a path, to its end."""
        if not len(path):
            return
        left = np.flatnonzero(self._before(path) == 0.0)
        if len(left):
            first = int(left[-1])
            self.rows, self.total, self.onset = 0, 0.0, int(ats[first])
        else:
            first = 0
        self.rows += len(path) - first
        self.total += float(np.sum(standardised[first:]))
        self.value = float(path[-1])

    def _before(self, path: Floats) -> Floats:
        return np.concatenate([[self.value], path[:-1]])
