"""Autoregression of each series on its own past, all orders at once, the order by an information criterion."""

from __future__ import annotations

import numpy as np

from core.history import Floats
from training.forecasting.batch import Batch

_MEMORY = 1000
#: Standard errors that a mean change has to be away from none; what is beyond them counts (positive-part Stein).
_DOUBT = 2.0


def autoregression(batch: Batch, horizon: int, order: int = 12, differences: bool = True) -> Floats:
    """AR(p), p <= order by AIC, of the changes (differences) or of the values around their mean.

    Fitted by Levinson and Durbin's recursion on the sample autocovariances, which keeps it stationary (Brockwell and
    Davis, 1991, section 5.1), then carried on step by step. A mean change that may be chance is not: see _DOUBT.
    """
    recent = batch.last(_MEMORY)
    values = recent.filled
    series = np.diff(values, axis=1) if differences else values
    known = np.isfinite(series)
    number = np.maximum(known.sum(axis=1), 1)
    mean = np.where(known, series, 0.0).sum(axis=1) / number
    away = np.where(known, series - mean[:, None], 0.0)
    highest = max(min(order, series.shape[1] - 1), 0)
    weights, variance = _levinson(away, number, highest)
    state = away[:, ::-1][:, :highest]
    steps = np.empty((batch.n, horizon))
    for h in range(horizon):
        steps[:, h] = (weights * state).sum(axis=1)
        state = np.concatenate([steps[:, h : h + 1], state[:, : highest - 1]], axis=1) if highest else state
    if not differences:
        around: Floats = mean[:, None] + steps
        return around
    doubt = variance / np.maximum(1 - weights.sum(axis=1), 0.05) ** 2 / number
    mean = np.maximum(1 - _DOUBT**2 * doubt / np.maximum(mean**2, 1e-300), 0.0) * mean
    result: Floats = values[:, -1:] + np.cumsum(mean[:, None] + steps, axis=1)
    return result


def _levinson(away: Floats, number: np.ndarray, order: int) -> tuple[Floats, Floats]:
    """Coefficients of the order with the least AIC in each row (n x order, zero beyond it)."""
    n, length = away.shape
    covariance = np.stack([(away[:, lag:] * away[:, : length - lag]).sum(axis=1) for lag in range(order + 1)], axis=1)
    covariance /= number[:, None]
    variance = np.maximum(covariance[:, 0], 1e-300)
    fitted, best, left = np.zeros((n, order)), np.zeros((n, order)), variance
    least = number * np.log(variance)
    for p in range(1, order + 1):
        past = (fitted[:, : p - 1] * covariance[:, 1:p][:, ::-1]).sum(axis=1)
        partial = np.clip((covariance[:, p] - past) / variance, -0.999, 0.999)
        updated = fitted.copy()
        updated[:, : p - 1] -= partial[:, None] * fitted[:, : p - 1][:, ::-1]
        updated[:, p - 1] = partial
        fitted, variance = updated, variance * (1 - partial**2)
        criterion = number * np.log(np.maximum(variance, 1e-300)) + 2 * p * number / np.maximum(number - p - 1, 1)
        better = (criterion < least) & (number > 2 * p + 2)
        least = np.where(better, criterion, least)
        best[better] = fitted[better]
        left = np.where(better, variance, left)
    return best, left
