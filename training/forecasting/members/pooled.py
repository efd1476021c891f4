"""A linear map from each series' recent past to its next points, learned from all series together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.history import Floats
from training.forecasting.batch import Batch

_WINDOWS = 40_000  # at most so many windows are learned from
_CLIP = 6.0  # a window's targets count at most so many of its own units


@dataclass(frozen=True)
class Pooled:
    """Ridge regression of the next H points on the last W, in one closed step (a linear global model: Montero-Manso and
    Hyndman, 2021; with the last cycle's mean taken away first, as NLinear does: Zeng et al., 2023).

    window: W. logs: on logarithms, where every value is positive.
    """

    window: int
    penalty: float = 1.0
    memory: int = 10_000

    def fit(self, batch: Batch, horizon: int) -> Linear:
        """Windows over all series."""
        values = batch.last(self.memory).filled
        width = min(self.window, max(batch.length - horizon, 1))
        per = values.shape[1] - width - horizon + 1
        if per < 1:
            return Linear(np.zeros((width + 1, horizon)))
        every = max(per * len(values) // _WINDOWS, 1)
        if batch.season > 1 and every > 1:
            every += every % 2 == 0
        gram, cross = np.zeros((width + 1, width + 1)), np.zeros((width + 1, horizon))
        for begin in range(values.shape[1] - width - horizon, -1, -every):
            piece = values[:, begin : begin + width + horizon]
            piece = piece[np.isfinite(piece[:, 0])]
            if not len(piece):
                continue
            x, level, unit = _normalised(piece[:, :width], batch.season)
            y = np.clip((piece[:, width:] - level[:, None]) / unit[:, None], -_CLIP * 3, _CLIP * 3)
            gram += x.T @ x
            cross += x.T @ y
        ridge = self.penalty * np.trace(gram) / len(gram) * 1e-3
        held = np.full(width + 1, ridge)
        return Linear(np.linalg.solve(gram + np.diag(held) + 1e-9 * np.eye(width + 1), cross))


@dataclass(frozen=True, eq=False)
class Linear:
    """The fitted map: (W + 1) x H."""

    weights: Floats

    def __call__(self, batch: Batch, horizon: int) -> Floats:
        """Series shorter than the window are continued to the left by their first value."""
        width = len(self.weights) - 1
        values = batch.last(width).filled
        if values.shape[1] < width:
            values = np.concatenate([np.full((batch.n, width - values.shape[1]), np.nan), values], axis=1)
        known = np.isfinite(values)
        first = np.where(known.any(axis=1), known.argmax(axis=1), width - 1)
        values = np.where(known, values, values[np.arange(batch.n), first][:, None])
        x, level, unit = _normalised(values, batch.season)
        result: Floats = level[:, None] + unit[:, None] * (x @ self.weights)
        return result


def _normalised(past: Floats, season: int) -> tuple[Floats, Floats, Floats]:
    """The past from its last cycle's mean in units of its own seasonal changes; a column of ones; level; unit."""
    level = past[:, -season:].mean(axis=1)
    unit = np.abs(past[:, season:] - past[:, :-season]).mean(axis=1) if past.shape[1] > season else past.std(axis=1)
    unit = np.maximum(unit, 1e-2 * np.abs(past).mean(axis=1) + 1e-9)
    x = np.clip((past - level[:, None]) / unit[:, None], -3 * _CLIP, 3 * _CLIP)
    return np.concatenate([x, np.ones((len(x), 1))], axis=1), level, unit
