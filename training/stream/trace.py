"""What the labels known so far say of the next row: the last one and two running means, fading with its distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.history import Floats
from training.stream.network import F32

#: Rows over which the last label loses its hold, and the rates of the running means.
FADE, FAST, SLOW = 8.0, 0.2, 0.02


class LabelTrace:
    """A vector label (a class as 0/1 columns, or one standardised value) followed over time.

    The inputs of a row at distance d from the last known label, fade = exp(-(d - 1) / FADE): fade, and for each
    component fade x (last - slow), fade x (fast - slow) and slow. With labels that come late the fading parts vanish.
    """

    def __init__(self, components: int) -> None:
        self.last = np.zeros(components)
        self.fast = np.zeros(components)
        self.slow = np.zeros(components)

    @property
    def width(self) -> int:
        """Inputs for a row."""
        return 1 + 3 * len(self.last)

    def inputs(self, distance: NDArray[np.int64]) -> F32:
        """Inputs (n x width) of rows at distances (n, 1: the row after the last known label)."""
        fade = np.exp(-(distance - 1) / FADE)
        c, n = len(self.last), len(distance)
        out = np.empty((n, 1 + 3 * c), dtype=np.float32)
        out[:, 0] = fade
        # Component by component, so that a new class adds columns at the end.
        out[:, 1::3] = fade[:, None] * (self.last - self.slow)
        out[:, 2::3] = fade[:, None] * (self.fast - self.slow)
        out[:, 3::3] = self.slow
        return out

    def update(self, labels: Floats) -> None:
        """Follow labels (n x components), oldest first."""
        for label in labels:
            self.fast += FAST * (label - self.fast)
            self.slow += SLOW * (label - self.slow)
        if len(labels):
            self.last = np.array(labels[-1], dtype=float)

    def widen(self, components: int) -> None:
        """Make room for more components, absent so far."""
        more = components - len(self.last)
        self.last, self.fast, self.slow = (np.pad(v, (0, more)) for v in (self.last, self.fast, self.slow))
