"""Where the level of a stored series changed: segments of constant mean, found offline.

Least squares with a penalty for each change, solved exactly (PELT: Killick, Fearnhead and Eckley, JASA 107, 2012). The
penalty is 3 log n long-run variances, as in the modified information criterion of Zhang and Siegmund (Biometrics 63,
2007): noise alone, also of correlated neighbours, is one segment.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter
from scipy.special import ndtri

from actors.adaptive_learning.drift.cusum import CLIP
from core.errors import InsufficientData, InvalidInput
from core.history import Floats

#: Fewest values of a series, and fewest blocks that its noise is measured on.
LEAST, _BLOCKS = 60, 6
#: The noise is a median of few differences: its standard error is about 1.4 / sqrt(blocks).
_MEDIAN_ERROR = 1.4


def segments(values: Floats) -> tuple[int, ...]:
    """Indices at which a new level begins, ascending; none: one level. Values in order of time (n), one series.

    Changes closer together than twice the cube root of n are one. Raises InsufficientData below LEAST values,
    InvalidInput when one is not finite.
    """
    n = len(values)
    if n < LEAST:
        raise InsufficientData("too few values to look for changes of level", needed=LEAST, have=n)
    if not np.isfinite(values).all():
        raise InvalidInput("a value is not finite", field="values")
    block = int(np.ceil(2 * n ** (1 / 3)))
    values = _without_outliers(values, block)
    noise = long_run_noise(values, block)
    if noise == 0.0:  # at least half of the differences are 0: next to any change counts
        noise = 1e-4 * float(np.std(values))
        if noise == 0.0:
            return ()
    return _partition((values - np.median(values)) / noise, 3.0 * float(np.log(n)), block)


def _without_outliers(values: Floats, block: int) -> Floats:
    """Values no further than CLIP robust deviations from the running median of two blocks."""
    level = median_filter(values, 2 * block + 1, mode="nearest")
    away = values - level
    limit = CLIP * 1.4826 * float(np.median(np.abs(away)))
    clipped: Floats = level + np.clip(away, -limit, limit) if limit > 0 else values
    return clipped


def long_run_noise(values: Floats, block: int) -> float:
    """Square root of the long-run variance, from the median difference of neighbouring blocks' means.

    A few changes of level do not move it (Wu and Zhao, JRSS B 69, 2007); enlarged by its own standard error.
    """
    found = []
    for start in range(0, block, max(block // 4, 1)):
        blocks = (len(values) - start) // block
        means = values[start : start + blocks * block].reshape(blocks, block).mean(axis=1)
        found.append(float(np.median(np.abs(np.diff(means)))))
    blocks = max(len(values) // block, _BLOCKS)
    typical = float(np.mean(found)) * float(np.sqrt(block)) / (float(np.sqrt(2.0)) * float(ndtri(0.75)))
    return typical * (1.0 + _MEDIAN_ERROR / (2 * float(np.sqrt(blocks))))


def _partition(z: Floats, penalty: float, shortest: int) -> tuple[int, ...]:
    """Changes of the least (sum of squares within segments + penalty a change), segments of at least `shortest`."""
    n = len(z)
    sums, squares = np.concatenate([[0.0], np.cumsum(z)]), np.concatenate([[0.0], np.cumsum(z * z)])
    best, last = np.full(n + 1, np.inf), np.zeros(n + 1, dtype=np.int64)
    best[0] = -penalty
    begins, beaten = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for end in range(shortest, n + 1):
        new = end - shortest
        if np.isfinite(best[new]):
            begins, beaten = np.append(begins, new), np.append(beaten, n)
        within = squares[end] - squares[begins] - (sums[end] - sums[begins]) ** 2 / (end - begins)
        costs = best[begins] + within
        chosen = int(np.argmin(costs))
        best[end], last[end] = costs[chosen] + penalty, begins[chosen]
        # A begin beaten by a change at `end` can be dropped once a segment from `end` on may end.
        beaten = np.where(costs > best[end], np.minimum(beaten, end), beaten)
        kept = beaten + shortest > end
        begins, beaten = begins[kept], beaten[kept]
    changes = []
    at = int(last[n])
    while at > 0:
        changes.append(at)
        at = int(last[at])
    return tuple(reversed(changes))
