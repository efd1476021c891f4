"""Many tests, one statement: which columns are named, and whether anything moved at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.history import Floats


def benjamini_hochberg(p_values: Floats, level: float) -> NDArray[np.bool_]:
    """Which hypotheses are rejected at a false discovery rate (Benjamini and Hochberg, 1995)."""
    order = np.argsort(p_values)
    below = p_values[order] <= level * np.arange(1, len(p_values) + 1) / max(len(p_values), 1)
    last = int(np.flatnonzero(below)[-1]) + 1 if below.any() else 0
    rejected = np.zeros(len(p_values), dtype=bool)
    rejected[order[:last]] = True
    return rejected


def simes(p_values: Floats) -> float:
    """p-value that nothing moved in any column: at most a level exactly where Benjamini-Hochberg names one at it."""
    if len(p_values) == 0:
        return 1.0
    return min(float(np.min(np.sort(p_values) * len(p_values) / np.arange(1, len(p_values) + 1))), 1.0)


def holm(p_values: Floats, shares: Floats) -> Floats:
    """Adjusted p-values of tests that share a family-wise level unequally; shares are taken relative to their sum.

    From S. Holm, A simple sequentially rejective multiple test procedure (1979), section 4.
    """
    order = np.argsort(p_values / shares)
    left = np.cumsum(shares[order][::-1])[::-1]
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] / shares[order] * left), 1.0)
    return adjusted
