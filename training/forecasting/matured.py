"""What forecasts that had come due by each day say about the next: weights of members, own width, quantiles of errors.

Everything is by channel and day (C x T); at day t, for a horizon of h days, it uses only origins up to t - h.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as t_dist

from core.history import Floats, Ints
from training.forecasting.drift import Drifts
from training.forecasting.paying import Trial, tried

MEMBERS = ("recent", "usual", "pool", "network")
#: How much each rate counts before anything came due; afterwards times its mean error to the power of -SHARPNESS.
PRIOR = np.array([1.0, 1.0, 0.5])
SHARPNESS = 2.0
#: Share of the mixture that is its members' median; the rest is their mean.
MEDIAN = 0.5
#: Origins over horizon (forecasts that do not overlap) at which a channel's own errors outweigh those of the pool, in
#: the weights of members and in the width; and at which a horizon's quantiles outweigh those of half the horizon.
OWN_WEIGHTS, OWN_WIDTH, OWN_QUANTILES = 10.0, 10.0, 10.0
#: Share of the pool's scale in each channel's (of logarithms).
POOL_SCALE = 0.3
LEAST_POOL = 4  # channels
FORGET = 10.0  # days in which an error comes to count half in the quantiles
#: Half-life of the mean that would filter growth best: how fast growth itself is taken to change.
TYPICAL_LIFE = 14.0
LEVELS = np.array([0.1, 0.9, 0.025, 0.975])
#: Quantiles of scores before anything came due: Gaussian (the standard deviation is 1.25 mean absolute changes), the
#: outer ones those of heavier tails (t with 5 degrees of freedom).
THEORY = np.array([-1.6, 1.6, -3.2, 3.2])
#: Quantiles are never taken to rest on fewer scores than this (one has no variance).
LEAST_WORTH = 2.0
_TYPICAL = 1.2  # mean absolute score before anything came due
_CAP = 5.0  # a score counts up to this in a channel's width


@dataclass(frozen=True, slots=True, eq=False)
class PoolHorizon:
    """Sums over the pool's channels by origin day (T), and quantiles by the day on which they were known.

    member_error: T x M, of `counted` (T) origins; score: T, of absolute scores. quantiles: T x len(LEVELS). network:
    how it did beside the mixture of rates, None without one.
    """

    member_error: Floats
    counted: Floats
    score: Floats
    quantiles: Floats
    network: Trial | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Forecasts of one horizon from each origin (C x T), as changes over the level.

    mean: expected. unit: its standard deviation by theory, in mean absolute changes. weights: C x T x MEMBERS. scores:
    errors (actual - mean) / unit, NaN where nothing came due or no forecast could be made.
    """

    mean: Floats
    unit: Floats
    weights: Floats
    scores: Floats


def pooled(values: Floats) -> Floats:
    """Median over channels by day (T), NaN with fewer than LEAST_POOL of them."""
    enough = np.isfinite(values).sum(axis=0) >= LEAST_POOL
    result = np.full(values.shape[1], np.nan)
    if enough.any():
        result[enough] = np.nanmedian(values[:, enough], axis=0)
    return result


def member_rates(drifts: Drifts, pool: Floats) -> Floats:
    """C x T x M: rates of the members; without a pool (NaN) its member says what the others say on average."""
    others = drifts.rates.mean(axis=2)
    return np.concatenate([drifts.rates, np.where(np.isfinite(pool), pool, others)[:, :, None]], axis=2)


def scales(drifts: Drifts, pool: Floats) -> Floats:
    """C x T: the channels' scales, drawn towards the pool's (logarithms; NaN: none)."""
    own = np.log(drifts.scale)
    result: Floats = np.exp(own + POOL_SCALE * np.where(np.isfinite(pool), pool - own, 0.0))
    return result


def change(drifts: Drifts, days: int) -> Floats:
    """What came: change over the level within `days` days after each origin (C x T), NaN where it is not known."""
    result = np.full(drifts.level.shape, np.nan)
    ahead = drifts.level.shape[1] - days
    if ahead > 0:
        now, then = drifts.level[:, :ahead], drifts.level[:, days:]
        usable = drifts.origin[:, :ahead] & drifts.read[:, days:]
        result[:, :ahead] = np.where(usable, (then - now) / np.maximum(now, 1.0), np.nan)
    return result


def theory(days: int, known: Ints) -> Floats:
    """Standard deviation of the change over h = `days` days in units of a day's, the rate found from `known` days.

    Of a local linear trend (Harvey, 1989) whose best filter is a mean of half-life TYPICAL_LIFE: with a = 1 - 2^(-1 /
    life), the weight of the last change, the rate found has variance max(a, 1 / known) and walks on with a^2 / (1 - a)
    a day. Together h + h^2 max(a, 1 / known) + h^3 a^2 / (3 (1 - a)), rooted.
    """
    a = 1.0 - 0.5 ** (1.0 / TYPICAL_LIFE)
    found = np.maximum(a, 1.0 / np.maximum(known, 1))
    result: Floats = np.sqrt(days + days**2 * found + days**3 * a**2 / (3 * (1 - a)))
    return result


def member_errors(drifts: Drifts, rates: Floats, scale: Floats, days: int) -> Floats:
    """Absolute errors of the members in units of theory (C x T x M), NaN where nothing came due."""
    unit = scale * theory(days, drifts.days)
    result: Floats = np.abs(change(drifts, days)[:, :, None] - days * rates) / unit[:, :, None]
    return result


def member_sums(drifts: Drifts, rates: Floats, scale: Floats, days: int) -> tuple[Floats, Floats]:
    """Sums of the members' errors over channels by origin day (T x M), and of how many (T)."""
    errors = member_errors(drifts, rates, scale, days)
    return np.nansum(errors, axis=0), np.isfinite(errors[:, :, 0]).sum(axis=0).astype(float)


def mix(drifts: Drifts, rates: Floats, scale: Floats, days: int, pool: PoolHorizon, at: NDArray[np.intp]) -> Mixture:
    """Weigh the rates by errors that came due, the network at 0. at: T, the pool's day for each of the days.

    MEDIAN of the weight goes to the member in the middle: one rate far from the others, of which long horizons suffer
    most, then moves the mixture less.
    """
    errors = member_errors(drifts, rates, scale, days)
    weights = _weights(PRIOR, errors, days, (pool.member_error, pool.counted), at)
    weights = (1.0 - MEDIAN) * weights + MEDIAN * _middle(rates, weights)
    mean = days * (weights * rates).sum(axis=2)
    unit = scale * theory(days, drifts.days)
    weights = np.concatenate([weights, np.zeros_like(weights[:, :, :1])], axis=2)
    return Mixture(mean, unit, weights, (change(drifts, days) - mean) / unit)


def trial(mixture: Mixture, said: Floats, days: int) -> Trial:
    """How a network's corrections (C x T, in units, NaN: none) did beside the mixture of a pool's channels."""
    return tried(_beside(mixture, said), days)


def joined(mixture: Mixture, said: Floats, days: int, network: Trial, at: NDArray[np.intp]) -> Mixture:
    """The mixture with a network in it: mixture and network are weighed as the rates are, the network's weight times
    what trust it had by then. What the mixture says elsewhere is left as it is.
    """
    both = _weights(np.ones(2), _beside(mixture, said), days, (network.error, network.counted), at)
    trust = np.where(at >= 0, network.trust[np.maximum(at, 0)], 0.0)
    weight = np.where(np.isfinite(said), trust * both[:, :, 1], 0.0)
    more = weight * np.nan_to_num(said)
    weights = mixture.weights * (1.0 - weight)[:, :, None]
    weights[:, :, -1] = weight
    return Mixture(mixture.mean + more * mixture.unit, mixture.unit, weights, mixture.scores - more)


def _beside(mixture: Mixture, said: Floats) -> Floats:
    """Absolute errors of the mixture and of the network, in units (C x T x 2), NaN where either has none."""
    both = np.stack([mixture.scores + 0.0 * said, mixture.scores - said], axis=2)
    result: Floats = np.abs(both)
    return result


def _weights(prior: Floats, errors: Floats, days: int, pool: tuple[Floats, Floats], at: NDArray[np.intp]) -> Floats:
    """C x T x M, summing to 1: by the mean errors that had come due, the channel's own drawn towards the pool's.

    errors: C x T x M by origin. pool: their sums over channels by origin (T x M), and of how many (T).
    """
    due, n = _due(errors, days)
    usual = (_up_to(pool[0], at - days) + _TYPICAL) / (_up_to(pool[1], at - days) + 1.0)[:, None]
    error = (OWN_WEIGHTS * usual + due / days) / (OWN_WEIGHTS + n / days)
    weights = prior * error**-SHARPNESS
    result: Floats = weights / weights.sum(axis=2, keepdims=True)
    return result


def score_sums(scores: Floats) -> Floats:
    """Sums of absolute scores over channels by origin day (T)."""
    result: Floats = np.nansum(np.minimum(np.abs(scores), _CAP), axis=0)
    return result


def own_width(scores: Floats, days: int, pool: PoolHorizon, at: NDArray[np.intp]) -> Floats:
    """C x T: how many times wider than usual the channel's errors were that came due, drawn towards 1."""
    due, n = _due(np.minimum(np.abs(scores), _CAP)[:, :, None], days)
    usual = (_up_to(pool.score, at - days) + _TYPICAL) / (_up_to(pool.counted, at - days) + 1.0)
    result: Floats = (OWN_WIDTH + due[:, :, 0] / days / usual) / (OWN_WIDTH + n[:, :, 0] / days)
    return result


def quantiles(scores: Floats, days: int, shorter: Floats) -> tuple[Floats, Floats]:
    """Quantiles at LEVELS of the scores that came due by each day (T x 4), held at those of a shorter horizon; and how
    many scores that do not overlap they are worth (T).

    Conformal prediction (Vovk et al., 2005) along time: the empirical quantile, older errors counting less, averaged
    with the symmetric one of absolute scores, since the skewness of a few errors is mostly chance. Channels that err
    alike on a day are not so many scores: their number is divided by the design effect (Kish, 1965), the mean square
    of the day's sum over that of independent scores.
    """
    row, origin = np.nonzero(np.isfinite(scores))
    value = scores[row, origin]
    found, worth = shorter.copy(), np.zeros(len(shorter))
    if len(value) == 0:
        return found, worth
    order, by_size = np.argsort(value), np.argsort(np.abs(value))
    bounded = np.clip(scores, -_CAP, _CAP)
    together, apart = np.nansum(bounded, axis=0) ** 2, np.nansum(bounded**2, axis=0)
    for t in range(int(origin.min()) + days, scores.shape[1]):
        age = t - days - origin
        weight = np.where(age >= 0, 0.5 ** (np.maximum(age, 0) / FORGET), 0.0)
        fresh = 0.5 ** (np.arange(t - days, -1, -1) / FORGET)  # by origin day, up to t - days
        alike = fresh @ together[: len(fresh)] / max(fresh @ apart[: len(fresh)], 1e-9)
        worth[t] = weight.sum() ** 2 / (weight**2).sum() / days / max(alike, 1.0)
        signed = _weighted(value[order], weight[order], LEVELS)
        size = _weighted(np.abs(value)[by_size], weight[by_size], np.array([0.8, 0.95]))
        even = np.array([-size[0], size[0], -size[1], size[1]])
        found[t] = (worth[t] * (signed + even) / 2 + OWN_QUANTILES * shorter[t]) / (worth[t] + OWN_QUANTILES)
    return found, worth


def few(worth: Floats) -> Floats:
    """What quantiles of so many scores (T) are multiplied by (T x 4): Student's t over the normal distribution."""
    upper = np.maximum(LEVELS, 1.0 - LEVELS)
    result: Floats = t_dist.ppf(upper, np.maximum(worth, LEAST_WORTH)[:, None]) / norm.ppf(upper)
    return result


def _weighted(ordered: Floats, weight: Floats, levels: Floats) -> Floats:
    used = weight > 0
    w = weight[used]
    result: Floats = np.interp(levels, (np.cumsum(w) - w / 2) / w.sum(), ordered[used])
    return result


def _middle(rates: Floats, weights: Floats) -> Floats:
    """C x T x M: 1 at the weighted median of each row's rates, 0 elsewhere."""
    order = np.argsort(rates, axis=2)
    passed = np.cumsum(np.take_along_axis(weights, order, axis=2), axis=2) >= 0.5 - 1e-9
    result = np.zeros_like(weights)
    np.put_along_axis(result, np.take_along_axis(order, passed.argmax(axis=2)[:, :, None], axis=2), 1.0, axis=2)
    return result


def _due(values: Floats, days: int) -> tuple[Floats, Floats]:
    """Sums of the known values over origins up to t - days, and how many (C x T x M, C x T x 1)."""
    counted = np.isfinite(values[:, :, :1])
    sums, n = np.cumsum(np.nan_to_num(values), axis=1), np.cumsum(counted.astype(float), axis=1)
    later, later_n = np.zeros_like(sums), np.zeros_like(n)
    later[:, days:], later_n[:, days:] = sums[:, : max(sums.shape[1] - days, 0)], n[:, : max(n.shape[1] - days, 0)]
    return later, later_n


def _up_to(values: Floats, last: NDArray[np.intp]) -> Floats:
    """Sums of the rows of `values` up to each of `last`, which may lie before the first row or after the end."""
    sums = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])
    result: Floats = sums[np.clip(last + 1, 0, len(values))]
    return result
