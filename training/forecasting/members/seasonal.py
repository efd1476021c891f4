"""Cycles taken out of a batch and put back into what is forecast without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from core.history import Floats
from training.forecasting.batch import Batch
from training.forecasting.members.simple import nanmedian

#: Cycles that go with a shortest one: a week beside the day, a year beside the week.
LONGER = {24: (168,), 7: (365,), 1: (52,)}
_LEAST_CYCLES = 2
#: One-sided confidence with which a cycle comes again, of which the lower limit is kept.
_SURE = 0.95
_MEMORY = 0.9  # weight of a cycle's values against those of the next one
_FURTHEST = 5.0  # natural log; no forecast on logarithms leaves what was seen by more


def deseasonalised(batch: Batch, horizon: int, periods: Sequence[int]) -> tuple[Batch, Floats]:
    """The batch without its cycles, and the cycles' part in the next `horizon` points (n x H).

    Cycles are taken out one after the other, the shortest first. Each is the weighted mean of what lies above the
    moving average, by phase, times how surely it comes again (see _agreement): a cycle that is not there leaves the
    series as it is.
    """
    values = batch.filled
    ahead = np.zeros((batch.n, horizon))
    for period in sorted(periods):
        if period < 2 or period * _LEAST_CYCLES > batch.length:
            continue
        profile = _profile(values, period)  # n x period, place p: phase of column -period + p
        columns = np.arange(values.shape[1]) - values.shape[1]
        values = values - profile[:, columns % period]
        ahead = ahead + profile[:, np.arange(horizon) % period]
    return batch.under(values), ahead


def _profile(values: Floats, period: int) -> Floats:
    n, length = values.shape
    cycles = length // period
    away = values - moving_average(values, period)
    blocks = away[:, length - cycles * period :].reshape(n, cycles, period)
    known = np.isfinite(blocks)
    weight = known * (_MEMORY ** np.arange(cycles - 1, -1, -1))[:, None]
    total = np.maximum(weight.sum(axis=1), 1e-12)
    mean = (weight * np.where(known, blocks, 0.0)).sum(axis=1) / total
    mean -= mean.mean(axis=1, keepdims=True)
    number = known.sum(axis=1)
    enough = number.min(axis=1) >= _LEAST_CYCLES
    kept = np.where(enough, _agreement(np.where(known, blocks, 0.0), weight, mean), 0.0)
    result: Floats = kept[:, None] * mean
    return result


def _agreement(blocks: Floats, weight: Floats, mean: Floats) -> Floats:
    """How much of a cycle comes again (n, 0..1): lower confidence limit of the median slope of one on the others' mean.

    Chance likenesses of a few cycles, or one wild one, keep nothing.
    """
    total = weight.sum(axis=1, keepdims=True)
    others = (total * mean[:, None] - weight * blocks) / np.maximum(total - weight, 1e-12)
    there = weight > 0
    others = np.where(there, others, 0.0)
    slopes = (blocks * others).sum(axis=2) / np.maximum((others**2).sum(axis=2), 1e-300)
    slopes = np.where(there.mean(axis=2) > 0.5, slopes, np.nan)
    middle = nanmedian(slopes)
    away = nanmedian(np.abs(slopes - middle[:, None]))
    cycles = np.maximum(np.isfinite(slopes).sum(axis=1), 1)
    lower = middle - student.ppf(_SURE, np.maximum(cycles - 1, 1)) * 1.2533 * 1.4826 * away / np.sqrt(cycles)
    result: Floats = np.clip(np.nan_to_num(lower), 0.0, 1.0)
    return result


def moving_average(values: Floats, period: int) -> Floats:
    """Centred mean over one period (both ends half for an even one), carried over the ends by the last cycles."""
    n, length = values.shape
    half = period // 2
    known = np.isfinite(values)
    start = np.where(known.any(axis=1), known.argmax(axis=1), length)
    filled = np.where(known, values, 0.0)
    rows = np.arange(n)[:, None]
    # Beyond the ends the series goes on with its outermost cycle, moved by how far that one is from the next.
    after = filled[:, length - period : length - period + half]
    if 2 * period <= length:
        rise = filled[:, -period:].mean(axis=1) - filled[:, -2 * period : -period].mean(axis=1)
        after = after + np.where(start <= length - 2 * period, rise, 0.0)[:, None]
    first = np.minimum(start, length - 1)[:, None]
    before = filled[rows, np.minimum(first + period - half + np.arange(half), length - 1)]
    wide = np.concatenate([np.zeros((n, half)), filled, after], axis=1)
    wide[rows, first + np.arange(half)] = before
    if period % 2:
        kernel = np.full(period, 1.0 / period)
    else:
        kernel = np.full(period + 1, 1.0 / period)
        kernel[[0, -1]] = 0.5 / period
    sums = np.cumsum(np.concatenate([np.zeros((n, 1)), wide], axis=1), axis=1)
    width = len(kernel)
    result = (sums[:, width:] - sums[:, :-width])[:, :length] / period
    if not period % 2:
        result = result - 0.5 / period * (wide[:, :length] + wide[:, period : period + length])
    return np.where(np.arange(length) >= start[:, None], result, np.nan)


def with_seasons(
    member: Callable[[Batch, int], Floats], periods: Sequence[int], logs: bool = False
) -> Callable[[Batch, int], Floats]:
    """The member on what is left without the cycles; logs: on the logarithms of series that are positive throughout.

    On logarithms nothing goes further from what was seen than what was seen is wide: an exponential has no other end.
    """

    def forecast(batch: Batch, horizon: int) -> Floats:
        parts = batch.once((tuple(periods), logs, horizon), lambda: without(batch, horizon))
        flat, ahead, logged, lowest, highest = parts
        points = member(flat, horizon) + ahead
        return np.where(logged, np.exp(np.clip(points, lowest, highest)), points) if logs else points

    def without(batch: Batch, horizon: int) -> tuple[Batch, Floats, NDArray[np.bool_], Floats, Floats]:
        values = batch.filled
        logged = np.full((batch.n, 1), logs) & (np.isnan(values) | (values > 0)).all(axis=1, keepdims=True)
        scaled = np.where(logged, np.log(np.where(logged, values, 1.0)), values)
        low = np.where(np.isnan(scaled), np.inf, scaled).min(axis=1, keepdims=True)
        high = np.where(np.isnan(scaled), -np.inf, scaled).max(axis=1, keepdims=True)
        wide = np.where(logged & (low <= high), np.minimum(high - low, _FURTHEST), 0.0)
        bounds = (np.where(logged, low - wide, -np.inf), np.where(logged, high + wide, 0.0))
        return *deseasonalised(batch.under(scaled), horizon, periods), logged, *bounds

    return forecast
