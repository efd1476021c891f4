"""Intervals from errors that were made before: their size by series and horizon, their shape from the whole group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t
from sklearn.isotonic import isotonic_regression

from core.history import Floats

#: Shares of outcomes that the intervals are to hold.
LEVELS = (0.8, 0.95)
#: Origins that a series' own size of errors counts against what its changes let expect.
_PRIOR = 2.0
#: An origin's weight against that of the one after it: what a series is like now counts more.
_MEMORY = 0.9
#: Below so many (series, origin) pairs the two tails are mostly taken together.
_TAILS = 30.0


@dataclass(frozen=True, eq=False)
class Intervals:
    """Distances from the forecast for each of LEVELS, in the unit of the values: below (<= 0) and above (>= 0), each
    levels x n x H."""

    below: Floats
    above: Floats


def calibrate(residuals: Floats, unit: Floats, horizon: int | None = None) -> Intervals:
    """From residuals K x n x H (truth - forecast, latest origin first; NaN: not known) and n typical changes.

    Residuals should come from forecasts that did not know their truth, in their weights neither. Split conformal
    prediction in its scaled form (Lei et al., 2018), in three steps: a curve over the horizon that never falls; a size
    for each series, its own mean error held at what the group's errors are in units of `unit`; quantiles of all
    residuals in units of both. A residual is judged by a size without its own origin, so that the quantiles know how
    uncertain the sizes are. Few origins widen the interval as Student's t does. Without any residual everything is NaN.
    """
    _, n, h = residuals.shape
    size = np.abs(residuals)
    known = np.isfinite(size)
    if not known.any():
        nothing = np.full((len(LEVELS), n, h), np.nan)
        return Intervals(nothing, nothing)
    curve = _curve(size, known)
    flat = np.where(known, size, 0.0) / curve
    number = known.sum(axis=2)  # K x n
    mean = np.where(number > 0, flat.sum(axis=2) / np.maximum(number, 1), np.nan)
    sizes, without = _sizes(mean, unit)
    safe = np.where(without > 0, without, np.inf)
    z = (residuals / safe[:, :, None] / curve)[known]
    pairs = int((number > 0).sum())
    below, above = np.empty((len(LEVELS), n, h)), np.empty((len(LEVELS), n, h))
    for place, level in enumerate(LEVELS):
        low, high = _tails(z, level, pairs)
        below[place], above[place] = low * sizes[:, None] * curve, high * sizes[:, None] * curve
    return Intervals(np.minimum.accumulate(below, axis=0), np.maximum.accumulate(above, axis=0))


def widened(spread: Intervals, doubt: Floats) -> Intervals:
    """Intervals that hold an independent normal error as well, of standard deviation `doubt` (n x H)."""
    more = np.array([float(norm.ppf((1 + level) / 2)) for level in LEVELS])[:, None, None] * doubt
    return Intervals(-np.hypot(spread.below, more), np.hypot(spread.above, more))


def _curve(size: Floats, known: np.ndarray) -> Floats:
    """Mean error by horizon in units of each series' mean error, never falling (H); beyond what is known as a random
    walk's would grow."""
    per_series = np.where(known, size, 0.0).sum(axis=(0, 2)) / np.maximum(known.sum(axis=(0, 2)), 1)
    counted = known & (per_series > 0)[None, :, None]
    relative = np.where(counted, size, 0.0) / np.where(per_series > 0, per_series, 1.0)[None, :, None]
    number = counted.sum(axis=(0, 1))
    if not number.any():
        return np.ones(size.shape[2])
    last = int(np.flatnonzero(number)[-1])
    mean = relative.sum(axis=(0, 1))[: last + 1] / np.maximum(number[: last + 1], 1)
    curve = np.ones(size.shape[2])
    curve[: last + 1] = np.maximum(isotonic_regression(mean, sample_weight=np.maximum(number[: last + 1], 1e-3)), 1e-3)
    curve[last + 1 :] = curve[last] * np.sqrt(np.arange(last + 2, len(curve) + 1) / (last + 1))
    return curve


def _sizes(mean: Floats, unit: Floats) -> tuple[Floats, Floats]:
    """Size of each series' errors (n), and at each origin the size without that origin (K x n)."""
    there = np.isfinite(mean)
    weight = there * (_MEMORY ** np.arange(len(mean)))[:, None]
    sums = weight * np.where(there, mean, 0.0)
    own = sums.sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-12)
    usable = there.any(axis=0) & (unit > 0) & (own > 0)
    ratio = float(np.median(own[usable] / unit[usable])) if usable.any() else 0.0
    prior = ratio * unit
    total, count = sums.sum(axis=0) + _PRIOR * prior, weight.sum(axis=0) + _PRIOR
    return total / count, (total - sums) / (count - weight)


def _tails(z: Floats, level: float, pairs: int) -> tuple[float, float]:
    """Quantiles below and above that leave out (1 - level) / 2 each."""
    tail = (1 - level) / 2
    wider = float(t.ppf(1 - tail, max(pairs - 1, 1)) / norm.ppf(1 - tail))
    both = float(np.quantile(np.abs(z), level))
    low, high = (float(q) for q in np.quantile(z, (tail, 1 - tail)))
    apart = pairs / (pairs + _TAILS)
    return (
        wider * min(apart * low - (1 - apart) * both, 0.0),
        wider * max(apart * high + (1 - apart) * both, 0.0),
    )
