"""Exponential smoothing of a whole batch over a grid of settings, each series taking the setting that fits it best."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from core.history import Floats
from training.forecasting.batch import Batch

ALPHAS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 1.0)
#: (share of the level's correction that goes to the trend, damping a step): without trend, damped, nearly straight
TRENDS = ((0.0, 0.0), (0.03, 0.9), (0.1, 0.9), (0.3, 0.8), (0.03, 0.98), (0.1, 0.98), (0.02, 1.0))
_MEMORY = 400  # points that a fit looks back over


def damped_trend(batch: Batch, horizon: int, trends: Sequence[tuple[float, float]] = TRENDS) -> Floats:
    """Damped trend (Gardner and McKenzie, 1985) with additive errors; the setting of least squared one-step error.

    Settings are a grid, so that a batch is fitted by one pass over time: at each step all series and settings at once.
    """
    settings = np.array([(a, a * b, phi) for a, (b, phi) in product(ALPHAS, trends)])
    level, trend, phi = _smooth(batch.last(_MEMORY).filled, settings)
    steps = np.cumsum(phi[:, None] ** np.arange(1, horizon + 1), axis=1)
    result: Floats = level[:, None] + trend[:, None] * steps
    return result


def smoothed(batch: Batch, horizon: int) -> Floats:
    """Simple exponential smoothing: a level without trend."""
    return damped_trend(batch, horizon, trends=((0.0, 0.0),))


def theta(batch: Batch, horizon: int) -> Floats:
    """Theta method (Assimakopoulos and Nikolopoulos, 2000) as smoothing with half the line's slope as drift (Hyndman
    and Billah, 2003), the smoothing chosen per series (optimised theta: Fiorucci et al., 2016).
    """
    slope = slope_of(batch)
    values = batch.filled
    past = np.arange(values.shape[1]) - (values.shape[1] - 1)
    line = 0.5 * slope[:, None] * past
    flat = batch.under(values - line)
    settings = np.array([(a, 0.0, 0.0) for a in ALPHAS])
    level, _, _ = _smooth(flat.last(_MEMORY).filled, settings)
    result: Floats = level[:, None] + 0.5 * slope[:, None] * np.arange(1, horizon + 1)
    return result


def slope_of(batch: Batch) -> Floats:
    """Slope of the least-squares line through each series (n)."""
    values = batch.filled
    known = np.isfinite(values)
    number = np.maximum(known.sum(axis=1), 1)
    t = np.arange(values.shape[1], dtype=float)
    y = np.where(known, values, 0.0)
    centre = (known * t).sum(axis=1) / number
    away = (t - centre[:, None]) * known
    spread = (away**2).sum(axis=1)
    result: Floats = (away * y).sum(axis=1) / np.where(spread > 0, spread, 1.0)
    return result


def _smooth(values: Floats, settings: Floats) -> tuple[Floats, Floats, Floats]:
    """Level, trend and damping at the end, under each series' best setting (n each). settings: g x 3."""
    n, length = values.shape
    alpha, beta, phi = settings.T
    scale = np.nanmax(np.abs(values), axis=1, initial=0.0) if length else np.zeros(n)
    scale = np.where(scale > 0, scale, 1.0)
    scaled = values / scale[:, None]
    level = np.full((n, len(settings)), np.nan)
    trend = np.zeros((n, len(settings)))
    loss = np.zeros((n, len(settings)))
    for t in range(length):
        y = scaled[:, t : t + 1]
        step = phi * trend
        expected = level + step
        error = y - expected
        began = np.isnan(error)
        error[began] = 0.0
        loss += error * error
        level = np.where(began, y, expected + alpha * error)
        trend = step + beta * error
    best = np.argmin(loss, axis=1)
    rows = np.arange(n)
    return level[rows, best] * scale, trend[rows, best] * scale, phi[best]
