"""Which daily changes are steps, done once (a purge, an ad that worked), and which are growth.

A change is a step when it lies further than STEP spreads from the usual change of the WINDOW days before it was judged,
and no more than LONGEST such days follow each other: what goes on for longer is a new pace of growth.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from core.history import Floats

WINDOW = 28  # days
STEP = 8.0  # spreads; a Gaussian never gets there, an ordinary ad post of a channel seldom does
LONGEST = 3  # days


def usual(changes: Floats) -> tuple[Floats, Floats]:
    """Median and spread (a standard deviation, robustly estimated) of the WINDOW changes up to each one (both n).

    The spread is the greater of what the median and the 80 % quantile of the distances from the median say, so that
    neither a step nor days without any change make it too small; at least 1, since subscribers are counted whole.
    """
    padded = np.concatenate([np.full(WINDOW - 1, np.nan), changes])
    windows = sliding_window_view(padded, WINDOW)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a window of NaN only: its answer is NaN
        centre = np.nanmedian(windows, axis=1)
        away = np.abs(windows - centre[:, None])
        spread = np.maximum(1.4826 * np.nanmedian(away, axis=1), np.nanquantile(away, 0.8, axis=1) / 1.2816)
    return centre, np.maximum(spread, 1.0)


def steps(changes: Floats, centre: Floats, spread: Floats) -> NDArray[np.bool_]:
    """n x n: whether change j is a step to somebody who knows the changes up to i (False for j > i)."""
    n = len(changes)
    known = np.tri(n, dtype=bool)
    far = known & (np.abs(changes[None, :] - centre[:, None]) > STEP * spread[:, None])
    if n <= LONGEST:
        return far
    lasting = sliding_window_view(far, LONGEST + 1, axis=1).all(axis=2)
    pace = np.zeros_like(far)
    for i in range(LONGEST + 1):
        pace[:, i : i + lasting.shape[1]] |= lasting
    return far & ~pace
