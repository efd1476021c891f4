"""How sure a change is: 95 % intervals by circular block bootstrap (Politis & Romano 1992), seeded.

Neighbouring posts and days resemble each other, so blocks of about the cube root of n are drawn instead of single
values. Means use prefix sums of blocks: 10,000 values cost as much as 500.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.random import Generator

from core.history import Floats, Ints

Statistic = Literal["mean", "median"]

DRAWS = 1000
_MEDIAN_CELLS = 500_000  # drawn values at most: long series get fewer draws
_LEAST_DRAWS = 100


def change(current: float, previous: float) -> float | None:
    """(current - previous) / |previous|; None for a previous 0."""
    return (current - previous) / abs(previous) if previous else None


def change_interval(
    current: Floats, previous: Floats, statistic: Statistic, rng: Generator, draws: int = DRAWS
) -> tuple[float, float] | None:
    """95 % interval of the relative change of a statistic between two independent samples, in order of time.

    None where it has no bounds: the previous statistic cannot be told from 0.
    """
    if statistic == "median":
        draws = int(min(draws, max(_LEAST_DRAWS, _MEDIAN_CELLS // max(len(current), len(previous)))))
    now, before = (resampled(values, statistic, rng, draws) for values in (current, previous))
    low, high = np.quantile(before, [0.025, 0.975])
    if low <= 0 <= high:
        return None
    changes = (now - before) / np.abs(before)
    return float(np.quantile(changes, 0.025)), float(np.quantile(changes, 0.975))


def resampled(values: Floats, statistic: Statistic, rng: Generator, draws: int) -> Floats:
    """The statistic of `draws` block resamples of values (no NaN, at least one)."""
    n = len(values)
    length = max(1, round(n ** (1 / 3)))
    blocks = -(-n // length)
    starts: Ints = rng.integers(0, n, (draws, blocks))
    if statistic == "mean":
        around = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values[:length]]))])
        sums: Floats = (around[starts + length] - around[starts]).sum(axis=1)
        return np.asarray(sums / (blocks * length), dtype=float)
    index = ((starts[:, :, None] + np.arange(length)) % n).reshape(draws, -1)[:, :n]
    return np.asarray(np.median(values[index], axis=1), dtype=float)
