"""How sure a figure or change is: 95 % intervals by circular block bootstrap (Politis & Romano 1992), seeded.

Neighbouring posts and days resemble each other, so blocks of about the cube root of n are drawn instead of single
values. Means use prefix sums of blocks: 10,000 values cost as much as 500.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.random import Generator

from core.history import Floats, Ints
from core.schemas.channel_studies import Estimate

Statistic = Literal["mean", "median"]

DRAWS = 1000
_MEDIAN_CELLS = 500_000  # drawn values at most: long series get fewer draws
_LEAST_DRAWS = 100
_LIMITS = (0.025, 0.975)


def change(current: float, previous: float) -> float | None:
    """(current - previous) / |previous|; None for a previous 0."""
    return (current - previous) / abs(previous) if previous else None


def interval(drawn: Floats) -> tuple[float, float]:
    """The middle 95 % of resampled statistics."""
    low, high = np.quantile(drawn, _LIMITS)
    return float(low), float(high)


def change_interval(
    current: Floats, previous: Floats, statistic: Statistic, rng: Generator, draws: int = DRAWS
) -> tuple[float, float] | None:
    """95 % interval of the relative change of a statistic between two independent samples, in order of time.

    None where it has no bounds: the previous statistic cannot be told from 0.
    """
    now, before = drawn_pair(current, previous, statistic, rng, draws)
    return of_change(now, before)


def drawn_pair(
    current: Floats, previous: Floats, statistic: Statistic, rng: Generator, draws: int = DRAWS
) -> tuple[Floats, Floats]:
    """Resampled statistics of two samples, equally many of each."""
    draws = affordable(max(len(current), len(previous)), statistic, draws)
    return resampled(current, statistic, rng, draws), resampled(previous, statistic, rng, draws)


def of_change(now: Floats, before: Floats) -> tuple[float, float] | None:
    """The interval of the relative change in resampled statistics; None without bounds."""
    low, high = interval(before)
    if low <= 0 <= high:
        return None
    same = before * low > 0  # the few draws on the other side of 0 have no relative change
    return interval((now[same] - before[same]) / np.abs(before[same]))


def affordable(n: int, statistic: Statistic, draws: int = DRAWS) -> int:
    """How many resamples n values get."""
    if statistic == "mean":
        return draws
    return min(draws, max(_LEAST_DRAWS, _MEDIAN_CELLS // max(n, 1)))


def estimate(values: Floats, minimum: int, of: str, rng: Generator, statistic: Statistic = "mean") -> Estimate:
    """The mean or median of the known values (in order of time) with its interval.

    of: what the values are ("posts", "days"), for the reason where there are fewer than `minimum`.
    """
    known = values[~np.isnan(values)]
    if len(known) < minimum:
        return lacking(len(known), f"needs {minimum} {of}, has {len(known)}")
    low, high = interval(resampled(known, statistic, rng, affordable(len(known), statistic)))
    return Estimate(float(np.mean(known) if statistic == "mean" else np.median(known)), low, high, len(known))


def lacking(n: int, why: str) -> Estimate:
    """An estimate that cannot be given."""
    return Estimate(None, None, None, n, why)


def resampled(values: Floats, statistic: Statistic, rng: Generator, draws: int) -> Floats:
    """The statistic of `draws` block resamples of values (no NaN, at least one)."""
    n = len(values)
    length = block_length(n)
    blocks = -(-n // length)
    starts: Ints = rng.integers(0, n, (draws, blocks))
    if statistic == "mean":
        around = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values[:length]]))])
        sums: Floats = (around[starts + length] - around[starts]).sum(axis=1)
        return np.asarray(sums / (blocks * length), dtype=float)
    return np.asarray(np.median(values[_drawn(starts, length, n)], axis=1), dtype=float)


def block_length(n: int) -> int:
    """Neighbours drawn together."""
    return max(1, round(float(n ** (1 / 3))))


def block_rows(n: int, rng: Generator, draws: int) -> Ints:
    """Positions of `draws` block resamples of n rows, draws x n."""
    length = block_length(n)
    return _drawn(rng.integers(0, n, (draws, -(-n // length))), length, n)


def _drawn(starts: Ints, length: int, n: int) -> Ints:
    index = (starts[:, :, None] + np.arange(length)) % n
    return np.asarray(index.reshape(len(starts), -1)[:, :n], dtype=np.int64)
