"""A network over all channels of a pool: what the mixture of rates misses, told from the days before.

One small network for all channels and horizons, learned again every REFIT days from windows whose outcomes had come due
by then; a day's forecast rests on the latest of them. In NumPy, since the process that forecasts has no torch in it
(190 MB) and a network of this size learns as fast without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from core.history import Floats
from training.forecasting.drift import Drifts

#: Days of changes that it looks back over, and between two times of learning.
WINDOW, REFIT = 21, 14
#: Below so many windows whose outcome at a horizon is known, and so many channels, the network has nothing to say.
LEAST_WINDOWS, LEAST_CHANNELS = 400, 4
_HIDDEN, _STEPS, _ROWS = 16, 150, 256
_RATE, _DECAY = 5e-3, 1.0  # of Adam and of the weights (AdamW)
_CLIP = 5.0  # inputs and outcomes, in the channel's scales


@dataclass(frozen=True, slots=True, eq=False)
class Net:
    """Inputs (n x F) to corrections (n x H): a linear map beside a layer of rectified units."""

    line: Floats
    inner: Floats
    bias: Floats
    outer: Floats
    start: Floats

    def __call__(self, x: Floats) -> Floats:
        """n x F to n x H."""
        result: Floats = x @ self.line + np.maximum(x @ self.inner + self.bias, 0.0) @ self.outer + self.start
        return result


@dataclass(frozen=True, slots=True, eq=False)
class GrowthNetwork:
    """The networks of a pool by the day from which each serves, in order; horizons: the columns of each."""

    days: tuple[int, ...]
    nets: tuple[Net, ...]
    horizons: tuple[tuple[int, ...], ...]

    def corrections(self, x: Floats, days: int, at: NDArray[np.intp]) -> Floats:
        """What to add to the mixture over `days` days, in units of theory (C x T), NaN where it says nothing.

        x: inputs, C x T x F. at: T, the pool's day for each of the days.
        """
        said = np.full(x.shape[:2], np.nan)
        latest = np.searchsorted(self.days, at, side="right") - 1
        for place, (net, horizons) in enumerate(zip(self.nets, self.horizons, strict=True)):
            if days in horizons:
                here = latest == place
                said[:, here] = net(x[:, here])[:, :, horizons.index(days)]
        return said


def inputs(drifts: Drifts, rates: Floats) -> Floats:
    """C x T x F: the last WINDOW daily changes from the usual rate, and the other members' rates from it, in scales.

    NaN where no forecast could be made or a day of the window lies before the first reading. rates: C x T x M.
    """
    c, t = drifts.level.shape
    if t < WINDOW + 1:
        return np.full((c, t, WINDOW + rates.shape[2] - 1), np.nan)
    base = np.maximum(drifts.level[:, 1:], 1.0)
    changes = np.concatenate([np.full((c, WINDOW), np.nan), np.diff(drifts.level, axis=1) / base], axis=1)
    usual, scale = rates[:, :, 1:2], drifts.scale[:, :, None]
    window = (sliding_window_view(changes, WINDOW, axis=1) - usual) / scale
    others = (np.delete(rates, 1, axis=2) - usual) / scale
    result: Floats = np.clip(np.concatenate([window, others], axis=2), -_CLIP, _CLIP)
    result[np.isnan(result).any(axis=2)] = np.nan
    return result


def learned(x: Floats, scores: Mapping[int, Floats], seed: int) -> GrowthNetwork | None:
    """From inputs (C x T x F) and the mixture's errors by horizon (C x T); None: too few channels or windows.

    The network of day r has seen errors of origins up to r less the horizon. Deterministic by seed.
    """
    usable = np.isfinite(x[:, :, 0])
    if usable.any(axis=1).sum() < LEAST_CHANNELS:
        return None
    days, nets, columns = [], [], []
    for r in range(REFIT, x.shape[1], REFIT):
        known = {h: usable & np.isfinite(s) & (np.arange(x.shape[1]) <= r - h) for h, s in scores.items()}
        horizons = tuple(h for h, rows in known.items() if rows.sum() >= LEAST_WINDOWS)
        if horizons:
            rows = np.any([known[h] for h in horizons], axis=0)
            y = np.stack([np.where(known[h], scores[h], np.nan)[rows] for h in horizons], axis=1)
            days.append(r)
            nets.append(fitted(x[rows], np.clip(y, -_CLIP, _CLIP), np.random.default_rng((seed, r))))
            columns.append(horizons)
    return GrowthNetwork(tuple(days), tuple(nets), tuple(columns)) if days else None


def fitted(x: Floats, y: Floats, rng: np.random.Generator) -> Net:
    """The network of least absolute error on x (n x F) and y (n x H; NaN: not known), which begins at 0.

    AdamW (Loshchilov and Hutter, 2019) on drawn rows, its rate falling to 0 along a cosine.
    """
    weights = [
        np.zeros((x.shape[1], y.shape[1])),
        rng.normal(size=(x.shape[1], _HIDDEN)) / np.sqrt(x.shape[1]),
        np.zeros(_HIDDEN),
        np.zeros((_HIDDEN, y.shape[1])),
        np.zeros(y.shape[1]),
    ]
    mean, square = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    for step in range(_STEPS):
        rate = _RATE * 0.5 * (1 + np.cos(np.pi * step / _STEPS))
        chosen = rng.integers(len(x), size=_ROWS)
        for place, gradient in enumerate(_gradients(weights, x[chosen], y[chosen])):
            mean[place] = 0.9 * mean[place] + 0.1 * gradient
            square[place] = 0.99 * square[place] + 0.01 * gradient**2
            size = np.sqrt(square[place] / (1 - 0.99 ** (step + 1))) + 1e-8
            weights[place] = weights[place] * (1 - rate * _DECAY) - rate * mean[place] / (1 - 0.9 ** (step + 1)) / size
    return Net(*weights)


def _gradients(weights: Sequence[Floats], x: Floats, y: Floats) -> tuple[Floats, ...]:
    line, inner, bias, outer, start = weights
    h = np.maximum(x @ inner + bias, 0.0)
    off = np.sign(np.nan_to_num(x @ line + h @ outer + start - y)) / len(x)
    back = (off @ outer.T) * (h > 0)
    return x.T @ off, x.T @ back, back.sum(axis=0), h.T @ off, off.sum(axis=0)
