"""Two members that cost next to nothing a row: the last label, and a linear model that follows every label at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.history import Floats

#: Fading of the transition counts a row, and of the linear model's sums (half after 1,000 rows).
TRANSITION_FADE, LINEAR_FADE = 0.999, 0.5 ** (1 / 1000)


class Transitions:
    """How classes follow the last known one: fading counts C x C, read as probabilities with one row's doubt each."""

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((classes, classes))

    def answer(self, last: int) -> Floats:
        """Probabilities (C) of the next label that is asked for."""
        row = self.counts[last] + 1 / len(self.counts)
        out: Floats = row / row.sum()
        return out

    def update(self, last: NDArray[np.int64], came: NDArray[np.int64]) -> None:
        """Count pairs (n): the last label known when a row was asked, and the label that came."""
        n = len(came)
        self.counts *= TRANSITION_FADE**n
        np.add.at(self.counts, (last, came), TRANSITION_FADE ** np.arange(n - 1, -1, -1))

    def widen(self, classes: int) -> None:
        """Make room for more classes."""
        more = classes - len(self.counts)
        self.counts = np.pad(self.counts, ((0, more), (0, more)))


class FadingRidge:
    """Ridge regression on fading sums: exact for every label so far, old ones counting less and less.

    Sums rather than gradient steps: nothing can diverge. The system is solved again when it is asked for and at least
    width / 16 rows came, so that wide rows do not pay a solution each.
    """

    def __init__(self, width: int, strength: float = 1.0) -> None:
        self.square = np.zeros((width, width))
        self.cross = np.zeros(width)
        self.weights: Floats = np.zeros(width)
        self._strength, self._new = strength, 0

    def answer(self, x: Floats) -> Floats:
        """Values (n) for rows (n x width)."""
        if self._new > len(self.cross) // 16:
            held = self.square + self._strength * np.eye(len(self.cross))
            self.weights = np.linalg.solve(held, self.cross).astype(np.float64)
            self._new = 0
        out: Floats = x @ self.weights
        return out

    def update(self, x: Floats, y: Floats) -> None:
        """Take in labelled rows (n x width, n), oldest first."""
        fade = LINEAR_FADE ** np.arange(len(y) - 1, -1, -1)
        old = LINEAR_FADE ** len(y)
        self.square = old * self.square + (x * fade[:, None]).T @ x
        self.cross = old * self.cross + x.T @ (fade * y)
        self._new += len(y)
