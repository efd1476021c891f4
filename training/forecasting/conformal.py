"""Intervals from errors that were made before: their size by series and horizon, their shape from the whole group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.stats import norm, t

from core.history import Floats
from training.forecasting.members.simple import nanmedian

#: Shares of outcomes that the intervals are to hold.
LEVELS = (0.8, 0.95)
#: Origins that a series' own size of errors counts against what its changes let expect.
_PRIOR = 2.0
#: An origin's weight against that of the one after it: what a series is like now counts more.
_MEMORY = 0.8
#: An origin's mean error counts at most so many times the series' median one: a single jump does not last for ever.
_WILD = 5.0
#: Below so many (series, origin) pairs the two tails are mostly taken together.
_TAILS = 30.0
#: The power of the level that errors grow with, before anything is seen, and what that is worth (in squared logs).
_POWER, _POWER_PRIOR = 0.5, 1.0


@dataclass(frozen=True, eq=False)
class Intervals:
    """Distances from the forecast, levels x n x H, in the order of LEVELS and the unit of the values.

    below is never above 0, above never below it; a higher level never lies within a lower one.
    """

    below: Floats
    above: Floats


def calibrate(residuals: Floats, unit: Floats, level: Floats | None = None) -> Intervals:
    """From residuals K x n x H (truth - forecast, latest origin first; NaN: not known) and n typical changes.

    Residuals should come from forecasts that did not know their truth, not in their weights either. level: (K + 1) x n,
    the height of each series now and at the origins (NaN: none, as for a series around zero); errors of old origins
    are carried to the present height by the power of it that they have grown with in the group.

    Split conformal prediction, scaled (Lei et al., 2018), with weights that forget (Barber et al., 2023), in three
    steps: a curve over the horizon that never falls; a size for each series, its own mean error held at what the
    group's errors are in units of `unit`; quantiles of all residuals in units of both. A residual is judged by a size
    without its own origin, so that the quantiles know how uncertain the sizes are. Few origins widen the interval as
    Student's t does. Without any residual everything is NaN.
    """
    k, n, h = residuals.shape
    known = np.isfinite(residuals)
    if not known.any():
        nothing = np.full((len(LEVELS), n, h), np.nan)
        return Intervals(nothing, nothing)
    curve = _curve(np.abs(residuals), known)
    number = known.sum(axis=2)  # K x n
    total = (np.where(known, np.abs(residuals), 0.0) / curve).sum(axis=2)
    mean = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    grown = np.ones((k, n)) if level is None else _growth(mean, level)
    sizes, without = _sizes(mean * grown, unit)
    safe = np.where(without > 0, without, np.inf)
    z = (residuals * (grown / safe)[:, :, None] / curve)[known]
    weight = np.broadcast_to((_MEMORY ** np.arange(k))[:, None, None], known.shape)[known]
    pairs = int((number > 0).sum())
    below, above = np.empty((len(LEVELS), n, h)), np.empty((len(LEVELS), n, h))
    for place, share in enumerate(LEVELS):
        low, high = _tails(z, weight, share, pairs)
        below[place], above[place] = low * sizes[:, None] * curve, high * sizes[:, None] * curve
    return Intervals(np.minimum.accumulate(below, axis=0), np.maximum.accumulate(above, axis=0))


def widened(spread: Intervals, doubt: Floats) -> Intervals:
    """Intervals that hold an independent normal error as well, of standard deviation `doubt` (n x H)."""
    more = np.array([float(norm.ppf((1 + share) / 2)) for share in LEVELS])[:, None, None] * doubt
    return Intervals(-np.hypot(spread.below, more), np.hypot(spread.above, more))


def _curve(size: Floats, known: NDArray[np.bool_]) -> Floats:
    """Mean error by horizon in units of each series' mean error, never falling (H).

    Beyond the last horizon with an error it grows as a random walk's would.
    """
    per_series = np.where(known, size, 0.0).sum(axis=(0, 2)) / np.maximum(known.sum(axis=(0, 2)), 1)
    counted = known & (per_series > 0)[None, :, None]
    relative = np.where(counted, size, 0.0) / np.where(per_series > 0, per_series, 1.0)[None, :, None]
    number = counted.sum(axis=(0, 1))
    if not number.any():
        return np.ones(size.shape[2])
    end = int(np.flatnonzero(number)[-1]) + 1
    mean = relative.sum(axis=(0, 1))[:end] / np.maximum(number[:end], 1)
    curve = np.ones(size.shape[2])
    curve[:end] = np.maximum(isotonic_regression(mean, weights=np.maximum(number[:end], 1e-3)).x, 1e-3)
    curve[end:] = curve[end - 1] * np.sqrt(np.arange(end + 1, len(curve) + 1) / end)
    return curve


def _growth(mean: Floats, level: Floats) -> Floats:
    """What an error at each origin would be now, as a factor (K x n).

    Power of the level by least squares on logarithms within each series, over the group, held at _POWER and in [0, 1].
    """
    now, then = level[:1], level[1:]
    positive = (now > 0) & (then > 0)
    ratio = np.where(positive, now / np.where(positive, then, 1.0), 1.0)
    used = positive & np.isfinite(mean) & (mean > 0)
    x, y = (np.where(used, np.log(np.where(used, v, 1.0)), 0.0) for v in (ratio, mean))
    number = np.maximum(used.sum(axis=0), 1)
    x, y = (np.where(used, v - v.sum(axis=0) / number, 0.0) for v in (x, y))
    # The ratio falls where the level then was higher, so errors that grow with the level fall with the ratio.
    power = (_POWER * _POWER_PRIOR - float((x * y).sum())) / (_POWER_PRIOR + float((x * x).sum()))
    result: Floats = ratio ** min(max(power, 0.0), 1.0)
    return result


def _sizes(mean: Floats, unit: Floats) -> tuple[Floats, Floats]:
    """Size of each series' errors (n), and at each origin the size without that origin (K x n)."""
    there = np.isfinite(mean)
    mean = np.minimum(mean, _WILD * nanmedian(mean.T))
    weight = there * (_MEMORY ** np.arange(len(mean)))[:, None]
    sums = weight * np.where(there, mean, 0.0)
    own = sums.sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-12)
    usable = there.any(axis=0) & (unit > 0) & (own > 0)
    ratio = float(np.median(own[usable] / unit[usable])) if usable.any() else 0.0
    prior = ratio * unit
    total, count = sums.sum(axis=0) + _PRIOR * prior, weight.sum(axis=0) + _PRIOR
    return total / count, (total - sums) / (count - weight)


def _tails(z: Floats, weight: Floats, share: float, pairs: int) -> tuple[float, float]:
    """Quantiles below and above that leave out (1 - share) / 2 each."""
    tail = (1 - share) / 2
    wider = float(t.ppf(1 - tail, max(pairs - 1, 1)) / norm.ppf(1 - tail))
    both = _quantile(np.abs(z), weight, share)
    low, high = _quantile(z, weight, tail), _quantile(z, weight, 1 - tail)
    apart = pairs / (pairs + _TAILS)
    return (
        wider * min(apart * low - (1 - apart) * both, 0.0),
        wider * max(apart * high + (1 - apart) * both, 0.0),
    )


def _quantile(values: Floats, weight: Floats, share: float) -> float:
    order = np.argsort(values)
    below = np.cumsum(weight[order]) - 0.5 * weight[order]
    return float(np.interp(share, below / weight.sum(), values[order]))
