"""The windowed Gaussian detector that NAB publishes figures of: how far in the tail of the last values is a value?

Numenta's baseline, to check the scoring against its published figures and to compare with. One deviation from its
code: the moments are summed, not computed anew, which changes the last digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from core.history import Floats

WINDOW, SLIDE = 6400, 100


def scores(values: Sequence[float]) -> Floats:
    """A score in [0, 1] for each value, from the values before it."""
    window: list[float] = []
    pending: list[float] = []
    found = np.zeros(len(values))
    mean, deviation, total, squares = 0.0, 1.0, 0.0, 0.0
    for i, value in enumerate(values):
        if window:
            found[i] = 1 - 0.5 * math.erfc(abs(value - mean) / deviation / 1.4142)
        if len(window) < WINDOW:
            window.append(value)
            total, squares = total + value, squares + value * value
        else:
            pending.append(value)
            if len(pending) < SLIDE:
                continue
            window, pending = window[SLIDE:] + pending, []
            total, squares = sum(window), sum(v * v for v in window)
        mean = total / len(window)
        deviation = math.sqrt(max(squares / len(window) - mean * mean, 0.0)) or 1e-6
    return found
