"""The M4 competition's scores of point and interval forecasts, as its organisers define them, and its yardstick Naive2.

Makridakis, Spiliotis, Assimakopoulos: The M4 Competition (International Journal of Forecasting, 2020). NaN in what came
is a gap, and does not count.
"""

from __future__ import annotations

import numpy as np

from core.history import Floats

_Z90 = 1.645  # two-sided 90 %: Naive2's test for a season


def smape(points: Floats, truth: Floats) -> Floats:
    """Symmetric mean absolute percentage error of each series (n), in percent; 0 where both are 0."""
    size = np.abs(points) + np.abs(truth)
    off = np.where(
        np.isnan(truth), np.nan, np.where(size > 0, 200 * np.abs(points - truth) / np.where(size > 0, size, 1), 0.0)
    )
    return _mean(off)


def mase(points: Floats, truth: Floats, scale: Floats) -> Floats:
    """Mean absolute error of each series in units of its mean absolute change over a season (n)."""
    return _mean(np.abs(points - truth)) / scale


def msis(low: Floats, high: Floats, truth: Floats, scale: Floats, level: float) -> Floats:
    """Mean scaled interval score (Gneiting and Raftery, 2007) of each series (n)."""
    times = 2 / (1 - level)
    return _mean(high - low + times * np.maximum(low - truth, 0) + times * np.maximum(truth - high, 0)) / scale


def covered(low: Floats, high: Floats, truth: Floats) -> Floats:
    """1 where an outcome lies within its interval, 0 where not, NaN where nothing came (n x H)."""
    return np.where(np.isnan(truth), np.nan, (low <= truth) & (truth <= high))


def owa(scores: tuple[Floats, Floats], yardstick: tuple[Floats, Floats]) -> float:
    """Overall weighted average: mean of the sMAPE and MASE ratios of set means; both are (sMAPE, MASE) by series."""
    ratios = [float(np.nanmean(ours) / np.nanmean(theirs)) for ours, theirs in zip(scores, yardstick, strict=True)]
    return sum(ratios) / 2


def naive2(series: Floats, horizon: int, season: int) -> Floats:
    """The last value of one series, adjusted for its season where an autocorrelation test at 90 % finds one (H)."""
    ahead = len(series) + np.arange(horizon)
    if not _seasonal(series, season):
        return np.repeat(series[-1], horizon)
    index = _indices(series, season)
    result: Floats = series[-1] / index[(len(series) - 1) % season] * index[ahead % season]
    return result


def seasonal_naive(series: Floats, horizon: int, season: int) -> Floats:
    """The last cycle of one series as it is, gaps (as zeros) and all (H)."""
    result: Floats = series[-season:][np.arange(horizon) % season]
    return result


def _seasonal(series: Floats, season: int) -> bool:
    if season < 2 or len(series) < 3 * season:
        return False
    away = series - series.mean()
    total = float(away @ away)
    if total == 0:
        return False
    r = np.array([float(away[lag:] @ away[:-lag]) for lag in range(1, season + 1)]) / total
    limit = _Z90 * np.sqrt((1 + 2 * float(r[:-1] @ r[:-1])) / len(series))
    return bool(abs(r[-1]) > limit)


def _indices(series: Floats, season: int) -> Floats:
    """Classical multiplicative decomposition: mean ratio to the centred moving average by phase."""
    kernel = np.full(season, 1 / season) if season % 2 else np.r_[0.5, np.ones(season - 1), 0.5] / season
    ratio = series[len(kernel) // 2 :][: len(series) - len(kernel) + 1] / np.convolve(series, kernel, "valid")
    phase = (np.arange(len(ratio)) + len(kernel) // 2) % season
    index = np.array([ratio[phase == p].mean() for p in range(season)])
    result: Floats = index * season / index.sum()
    return result


def _mean(values: Floats) -> Floats:
    known = np.isfinite(values)
    number = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    result: Floats = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    return result
