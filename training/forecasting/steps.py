"""Which daily changes are steps, done once (a purge, an ad that worked), and which are growth.

A change is a step when it lies further than STEP spreads from the usual change of the last WINDOW days, and no more
than LONGEST such days follow each other: what goes on for longer is a new pace of growth.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from core.history import Floats

WINDOW = 28  # days
STEP = 8.0  # spreads; a Gaussian never gets there, an ordinary ad post of a channel seldom does
LONGEST = 3  # days


def usual(past: Floats) -> tuple[Floats, Floats]:
    """Median and spread (a standard deviation, robustly estimated) of the last WINDOW of each row (n x 1 each).

    past: n x L, the latest change last, NaN before the first. The spread is the greater of what the median and the
    80 % quantile of the distances from the median say, so that neither a step nor days without any change make it too
    small; at least 1, since subscribers are counted whole.
    """
    window = past[:, -WINDOW:]
    centre = _quantile(window, 0.5)
    away = np.abs(window - centre)
    spread = np.maximum(1.4826 * _quantile(away, 0.5), _quantile(away, 0.8) / 1.2816)
    return centre, np.maximum(spread, 1.0)


def steps(past: Floats, centre: Floats, spread: Floats) -> NDArray[np.bool_]:
    """n x L: which changes of each row are steps to somebody who knows that row."""
    far = np.abs(past - centre) > STEP * spread
    if past.shape[1] <= LONGEST:
        return far
    lasting = sliding_window_view(far, LONGEST + 1, axis=1).all(axis=2)
    pace = np.zeros_like(far)
    for i in range(LONGEST + 1):
        pace[:, i : i + lasting.shape[1]] |= lasting
    return far & ~pace


def _quantile(rows: Floats, q: float) -> Floats:
    """Quantile of the numbers in each row (n x 1), linear between them; each row has one (np.nanquantile loops)."""
    ordered = np.sort(rows, axis=1)  # NaN last
    place = q * (np.isfinite(rows).sum(axis=1, keepdims=True) - 1)
    low = np.floor(place).astype(np.intp)
    high = np.ceil(place).astype(np.intp)
    below, above = np.take_along_axis(ordered, low, axis=1), np.take_along_axis(ordered, high, axis=1)
    result: Floats = below + (place - low) * (above - below)
    return result
