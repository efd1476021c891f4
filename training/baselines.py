"""What a model has to beat: the channel's rolling median, and gradient boosting on the same rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.history import Floats
from core.schemas.predictions import TARGETS
from training.dataset import Dataset

#: Boosting learns from at most this many of the newest rows: a yardstick must not take longer than the model.
_ROWS = 20_000
_LEAST = 40


def rolling_median(rows: Dataset) -> Floats:
    """The level of each row's channel at its moment (n x T, natural log)."""
    return rows.level


def gradient_boosting(fit: Dataset, rows: Dataset, seed: int) -> Floats:
    """Boosted trees with absolute loss on what is left over the same starting point (n x T, natural log; NaN where a
    target has too few rows to fit).
    """
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    out = np.full((len(rows), len(TARGETS)), np.nan)
    moving = _moving(fit.x)
    for t in range(len(TARGETS)):
        known = np.flatnonzero(np.isfinite(fit.residual[:, t]))[-_ROWS:]
        if len(known) < _LEAST:
            continue
        trees = HistGradientBoostingRegressor(
            loss="absolute_error",
            learning_rate=0.05,
            max_iter=120,
            max_leaf_nodes=15,
            min_samples_leaf=20,
            early_stopping=False,
            random_state=seed,
        )
        with threadpool_limits(1):  # threads that wait for a core cost these small fits ten times what they bring
            # Equal weights are none: with weights the binning costs several times the whole fit without them.
            weight = fit.weight[known]
            weights = None if (weight == weight[0]).all() else weight
            trees.fit(fit.x[known][:, moving], fit.residual[known, t], sample_weight=weights)
            out[:, t] = rows.base[:, t] + trees.predict(rows.x[:, moving])
    return out


def _moving(x: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Columns with at least two different values: the trees' binning stumbles over the others."""
    return np.array([len(np.unique(column[np.isfinite(column)])) > 1 for column in x.T])
