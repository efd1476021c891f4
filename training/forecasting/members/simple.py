"""Forecasts that need no fit: last values, last cycles, averages of cycles."""

from __future__ import annotations

import numpy as np

from core.history import Floats
from training.forecasting.batch import Batch


def naive(batch: Batch, horizon: int) -> Floats:
    """The last value."""
    return np.repeat(batch.filled[:, -1:], horizon, axis=1)


def seasonal_naive(batch: Batch, horizon: int) -> Floats:
    """The last cycle, repeated; the last value where there is no whole cycle."""
    return cycle_average(batch, horizon, 1)


def cycle_average(batch: Batch, horizon: int, cycles: int) -> Floats:
    """Mean of the same phase over the last cycles (season 1: of the last points), repeated."""
    m = min(batch.season, batch.length)
    k = max(min(cycles, batch.length // m), 1)
    recent = batch.filled[:, -k * m :].reshape(batch.n, k, m)
    known = np.isfinite(recent)
    total, number = np.where(known, recent, 0.0).sum(axis=1), known.sum(axis=1)
    profile = np.where(number > 0, total / np.maximum(number, 1), batch.filled[:, -1:])
    return profile[:, np.arange(horizon) % m]


def nanmedian(values: Floats) -> Floats:
    """Median of each row's numbers (n); NaN where there is none, without a warning."""
    known = np.isfinite(values)
    ordered = np.sort(np.where(known, values, np.inf), axis=1)
    number = known.sum(axis=1)
    rows = np.arange(len(values))
    if not values.shape[1]:
        return np.full(len(values), np.nan)
    low, high = (
        ordered[rows, np.maximum(number - 1, 0) // 2],
        ordered[rows, number // 2 * (number > 0) % values.shape[1]],
    )
    high = np.where(number % 2 == 1, low, high)
    result: Floats = np.where(number > 0, 0.5 * (low + np.where(np.isfinite(high), high, low)), np.nan)
    return result


def last_year(batch: Batch, horizon: int, cycles: int = 8, smooth: int = 7) -> Floats:
    """Daily values: the weekdays' average, moved as the series moved from its average then in the same weeks last year.

    The same weekdays, 364 days back, smoothed over a week; where a year is not known, the average alone.
    """
    base = cycle_average(batch, horizon, cycles)
    change = _since(batch, horizon, 364, cycles)
    if change is None:
        return base
    half = smooth // 2
    padded = np.pad(change, ((0, 0), (half, half)), mode="edge")
    smoothed = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=1).mean(axis=2)
    return np.where(np.isfinite(smoothed), base + smoothed, base)


def _since(batch: Batch, horizon: int, year: int, cycles: int) -> Floats | None:
    """How the series moved, from a year ago on, from the weekdays' average up to then; None: no row is that long."""
    known = batch.length - year
    if known < cycles * batch.season or horizon > year:
        return None
    then = batch.under(batch.filled[:, :known])
    return batch.filled[:, known : known + horizon] - cycle_average(then, horizon, cycles)
