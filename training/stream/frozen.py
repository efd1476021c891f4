"""The static members of the default predictor: fitted once on the first rows, never touched again."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from core.history import Floats
from training.stream.network import Task
from training.stream.scaling import RunningScale


def boosted(task: Task, seed: int) -> Any:
    """Gradient-boosted trees with scikit-learn's default size, without early stopping (it would split off rows)."""
    kind = HistGradientBoostingClassifier if task == "classification" else HistGradientBoostingRegressor
    return kind(early_stopping=False, random_state=seed)


class Frozen:
    """Boosted trees and a linear model of the first rows. Their answers depend on nothing but the row asked."""

    def __init__(self, task: Task, x: Floats, y: NDArray[Any], classes: int, seed: int) -> None:
        self.task, self.classes = task, classes
        self.scale = RunningScale(x.shape[1], float("inf"))
        self.scale.update(x)
        self._only = int(y[0]) if task == "classification" and len(np.unique(y)) == 1 else None
        self.models: list[Any] = [boosted(task, seed)]
        self.models.append(LogisticRegression(max_iter=200) if task == "classification" else Ridge())
        if self._only is not None:
            return
        self.models[0].fit(x, y)
        with warnings.catch_warnings():
            # Near enough after 200 steps; it is one member of several.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.models[1].fit(self.scale(x), y)

    def answers(self, x: Floats) -> Floats:
        """Boosted trees and linear model for rows (n x F): 2 x n x classes probabilities, or 2 x n x 1 values."""
        if self.task == "regression":
            return np.stack([self.models[0].predict(x), self.models[1].predict(self.scale(x))])[:, :, None]
        out = np.zeros((2, len(x), self.classes))
        if self._only is not None:
            out[:, :, self._only] = 1.0
            return out
        for member, rows in enumerate((x, self.scale(x))):
            model = self.models[member]
            out[member][:, model.classes_.astype(int)] = model.predict_proba(rows)
        return out
