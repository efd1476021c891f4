"""A linear map from each series' recent past to its next points, learned from all series together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.history import Floats
from training.forecasting.batch import Batch
from training.forecasting.members.windows import latest, windows

_WINDOWS = 40_000


@dataclass(frozen=True)
class Pooled:
    """Ridge regression of the next H points on the last W, in one closed step (a linear global model: Montero-Manso and
    Hyndman, 2021; with the last cycle's mean taken away first, as NLinear does: Zeng et al., 2023).

    window: W. penalty: in thousandths of the inputs' mean square.
    """

    window: int
    penalty: float = 10.0

    def fit(self, batch: Batch, horizon: int) -> Linear:
        """Over windows of all series; where none is long enough, the map to the last level."""
        width = min(self.window, max(batch.length - horizon, 1))
        gram, cross = np.zeros((width + 1, width + 1)), np.zeros((width + 1, horizon))
        for past, y in windows(batch, width, horizon, _WINDOWS):
            x = _with_one(past)
            gram += x.T @ x
            cross += x.T @ y
        held = self.penalty * 1e-3 * np.trace(gram) / len(gram) + 1e-9
        return Linear(np.linalg.solve(gram + held * np.eye(width + 1), cross))


@dataclass(frozen=True, eq=False)
class Linear:
    """The fitted map: (W + 1) x H."""

    weights: Floats

    def __call__(self, batch: Batch, horizon: int) -> Floats:
        """Points n x H; the horizon is the one that it was fitted to."""
        past, level, unit = latest(batch, len(self.weights) - 1)
        result: Floats = level + unit * (_with_one(past) @ self.weights)
        return result


def _with_one(past: Floats) -> Floats:
    return np.concatenate([past, np.ones((len(past), 1))], axis=1)
