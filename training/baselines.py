"""What a model has to beat: the channel's rolling median, and gradient boosting on the same rows."""

from __future__ import annotations

import numpy as np

from core.history import Floats
from core.schemas.predictions import TARGETS
from training.dataset import Dataset
from training.trees import LEAST, ROWS, boosted, moving


def rolling_median(rows: Dataset) -> Floats:
    """The level of each row's channel at its moment (n x T, natural log)."""
    return rows.level


def gradient_boosting(fit: Dataset, rows: Dataset, seed: int) -> Floats:
    """Boosted trees with absolute loss on what is left over the same starting point (n x T, natural log; NaN where a
    target has too few rows to fit).
    """
    out = np.full((len(rows), len(TARGETS)), np.nan)
    for t in range(len(TARGETS)):
        known = np.flatnonzero(np.isfinite(fit.residual[:, t]))[-ROWS:]
        if len(known) < LEAST:
            continue
        columns = moving(fit.x[known])
        x, y, weight = fit.x[known][:, columns], fit.residual[known, t], fit.weight[known]
        trees = boosted(x, y, weight, seed, 120, rate=0.05, leaves=15)
        out[:, t] = rows.base[:, t] + trees.predict(rows.x[:, columns])
    return out
