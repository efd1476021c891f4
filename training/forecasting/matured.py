"""What forecasts that had come due by each day say about the next: weights of members, own width, quantiles of errors.

Everything is by day of the panel and uses, at day t and for a horizon of h days, only origins up to t - h.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.history import Floats, Ints
from training.forecasting.drift import Panel

MEMBERS = ("recent", "usual", "pool")
#: How much a member counts before anything came due; then times its mean error to the power of -SHARPNESS.
PRIOR = np.array([1.0, 1.0, 0.5])
SHARPNESS = 2.0
#: Forecasts that did not overlap (origins / horizon) which a channel's own ones are to outweigh: those of the others.
OWN_WEIGHTS, OWN_WIDTH = 10.0, 10.0
#: ... and a horizon's own quantiles: those of half the horizon.
OWN_QUANTILES = 15.0
#: Share of the pool's scale in each channel's (of logarithms).
POOL_SCALE = 0.3
LEAST_POOL = 4  # channels
FORGET = 14.0  # days in which an error comes to count half in the quantiles
LEVELS = (0.1, 0.9, 0.025, 0.975)
#: Quantiles of scores before anything came due: of a Gaussian random walk, whose standard deviation is 1.25 times its
#: mean absolute change; the outer ones are those of heavier tails (t with 5 degrees of freedom).
TYPICAL_LIFE = 14.0
THEORY = np.array([-1.6, 1.6, -3.2, 3.2])
_TYPICAL = 1.2  # mean absolute score before anything came due
_CAP = 5.0  # a score counts up to this in a channel's width


@dataclass(frozen=True, slots=True, eq=False)
class PoolHorizon:
    """Sums over the pool's channels by origin day (T), and quantiles by the day on which they were known.

    member_error: T x M, with `counted` (T) origins; score: T, sums of absolute scores. quantiles: T x len(LEVELS).
    """

    member_error: Floats
    counted: Floats
    score: Floats
    quantiles: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Forecasts of one horizon from each origin (C x T) in units of the level, and how they did.

    mean: expected count over the level. width: of a score of 1. scores: (actual - mean) / width, NaN where nothing came
    due or no forecast could be made. weights: C x T x M.
    """

    mean: Floats
    width: Floats
    scores: Floats
    change: Floats
    weights: Floats


def pool_rate(panel: Panel) -> Floats:
    """Median growth of the panel's channels by day (T), NaN with fewer than LEAST_POOL of them."""
    return _median(panel.rates.mean(axis=2))


def pool_scale(panel: Panel) -> Floats:
    """Median logarithm of the channels' scales by day (T), NaN with fewer than LEAST_POOL of them."""
    return _median(np.log(panel.scale))


def _median(values: Floats) -> Floats:
    enough = np.isfinite(values).sum(axis=0) >= LEAST_POOL
    result = np.full(values.shape[1], np.nan)
    if enough.any():
        result[enough] = np.nanmedian(values[:, enough], axis=0)
    return result


def member_rates(panel: Panel, pool: Floats) -> Floats:
    """C x T x M: rates of the members; without a pool its member says what the others say on average."""
    others = panel.rates.mean(axis=2)
    return np.concatenate([panel.rates, np.where(np.isfinite(pool), pool, others)[:, :, None]], axis=2)


def scales(panel: Panel, pool: Floats) -> Floats:
    """C x T: the channels' scales, drawn towards the pool's."""
    own = np.log(panel.scale)
    return np.exp(own + POOL_SCALE * np.where(np.isfinite(pool), pool - own, 0.0))


def member_errors(panel: Panel, rates: Floats, scale: Floats, days: int) -> tuple[Floats, Floats]:
    """Absolute errors of the members in units of theory (C x T x M), and the changes over the level (C x T)."""
    change = np.full(panel.level.shape, np.nan)
    ahead = panel.level.shape[1] - days
    if ahead > 0:
        read = panel.origin[:, :ahead] & panel.read[:, days:]
        base = np.maximum(panel.level[:, :ahead], 1.0)
        change[:, :ahead] = np.where(read, (panel.level[:, days:] - panel.level[:, :ahead]) / base, np.nan)
    unit = scale * theory(days, panel.days)
    return np.abs(change[:, :, None] - days * rates) / unit[:, :, None], change


def theory(days: int, known: Ints) -> Floats:
    """Standard deviation of the change over `days` days in units of a day's, where the rate was found from `known` days.

    Of a local linear trend (Harvey 1989) whose best filter is a mean with half-life TYPICAL_LIFE: a = 1 - 2^(-1/life)
    is the weight of the last change, so the rate found has variance max(a, 1 / known) and itself walks with a^2 / (1 -
    a) a day: h + h^2 max(a, 1/n) + h^3 a^2 / (3 (1 - a)), rooted.
    """
    a = 1.0 - 0.5 ** (1.0 / TYPICAL_LIFE)
    found = np.maximum(a, 1.0 / np.maximum(known, 1))
    return np.sqrt(days + days**2 * found + days**3 * a**2 / (3 * (1 - a)))


def judge(panel: Panel, rates: Floats, scale: Floats, days: int, pool: PoolHorizon, at: NDArray[np.intp]) -> Judged:
    """Weigh the members and the widths of each channel. at: T, the pool's day for each day of the panel."""
    errors, change = member_errors(panel, rates, scale, days)
    due, n = matured(np.nan_to_num(errors), np.isfinite(errors).all(axis=2), days)
    pooled = _up_to(pool.member_error, at - days) + _TYPICAL
    pooled = pooled / (_up_to(pool.counted, at - days) + 1.0)[:, None]
    worth = n / days
    error = (OWN_WEIGHTS * pooled[None] + due / days) / (OWN_WEIGHTS + worth)[:, :, None]
    weights = PRIOR * error**-SHARPNESS
    weights = weights / weights.sum(axis=2, keepdims=True)
    mean = days * (weights * rates).sum(axis=2)

    unit = scale * theory(days, panel.days)
    scores = (change - mean) / unit
    own, n = matured(np.minimum(np.abs(np.nan_to_num(scores)), _CAP), np.isfinite(scores), days)
    typical = (_up_to(pool.score, at - days) + _TYPICAL) / (_up_to(pool.counted, at - days) + 1.0)
    wider = (OWN_WIDTH + own / days / typical) / (OWN_WIDTH + n / days)
    return Judged(1.0 + mean, unit * wider, scores / wider, change, weights)


def matured(values: Floats, known: NDArray[np.bool_], days: int) -> tuple[Floats, Floats]:
    """Sums of known values over origins up to t - days, and their number, by channel and day t (axis 1)."""
    masked = np.where(known[:, :, None] if values.ndim == 3 else known, values, 0.0)
    return _shift(np.cumsum(masked, axis=1), days), _shift(np.cumsum(known.astype(float), axis=1), days)


def _shift(sums: Floats, days: int) -> Floats:
    later = np.zeros_like(sums)
    if days < sums.shape[1]:
        later[:, days:] = sums[:, :-days]
    return later


def _up_to(values: Floats, last: NDArray[np.intp]) -> Floats:
    """Sums of the rows of `values` up to each of `last`, which may lie before the first or after the end."""
    sums = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])
    result: Floats = sums[np.clip(last + 1, 0, len(values))]
    return result


def sums(panel: Panel, rates: Floats, scale: Floats, days: int) -> PoolHorizon:
    """The pool's sums of member errors; scores and quantiles follow once the members are weighed."""
    errors, _ = member_errors(panel, rates, scale, days)
    known = np.isfinite(errors).all(axis=2)
    total = np.where(known[:, :, None], errors, 0.0).sum(axis=0)
    length = panel.level.shape[1]
    return PoolHorizon(total, known.sum(axis=0).astype(float), np.zeros(length), np.zeros((length, len(LEVELS))))


def quantiles(scores: Floats, days: int, shorter: Floats) -> Floats:
    """Quantiles of the scores that were due by each day (T x len(LEVELS)), held at those of a shorter horizon.

    Each is the mean of the empirical quantile and of the symmetric one of absolute scores (skewness of a few errors is
    mostly chance), older errors counting less; a quantile of n effective scores outweighs the shorter horizon's as n /
    days outweighs OWN_QUANTILES.
    """
    place = np.nonzero(np.isfinite(scores))
    value, origin = scores[place], place[1]
    found = shorter.copy()
    if len(value) == 0:
        return found
    order, order_abs = np.argsort(value), np.argsort(np.abs(value))
    for t in range(int(origin.min()) + days, scores.shape[1]):
        weight = np.where(origin <= t - days, 0.5 ** ((t - days - origin) / FORGET), 0.0)
        worth = weight.sum() ** 2 / (weight**2).sum() / days
        signed = _weighted(value[order], weight[order], np.array(LEVELS))
        size = _weighted(np.abs(value)[order_abs], weight[order_abs], np.array([0.8, 0.95]))
        even = np.array([-size[0], size[0], -size[1], size[1]])
        found[t] = (worth * (signed + even) / 2 + OWN_QUANTILES * shorter[t]) / (worth + OWN_QUANTILES)
    return found


def _weighted(ordered: Floats, weight: Floats, levels: Floats) -> Floats:
    used = weight > 0
    w = weight[used]
    result: Floats = np.interp(levels, (np.cumsum(w) - w / 2) / w.sum(), ordered[used])
    return result


def chain(days: int) -> Sequence[int]:
    """A horizon and its halves down to a day, shortest first: 1, 3, 7 for 7 days."""
    halves = [days]
    while halves[-1] > 1:
        halves.append(halves[-1] // 2)
    return halves[::-1]
