"""Boosted trees as plain arrays: fitted by scikit-learn, evaluated, stored and explained without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import Broken
from core.history import Floats
from core.schemas.predictions import TARGETS
from training.dataset import Dataset

#: Every tree has this many levels of questions; a leaf that lies higher repeats itself below.
DEPTH = 4
_INNER, _LEAVES = 2**DEPTH - 1, 2**DEPTH
#: Trees of each target. Few and shallow: they are one opinion among several (training/calibration.py weighs them).
TREES, RATE = 60, 0.1
#: Share of the features, drawn anew for each question, that it may be about: neighbours that say much the same take
#: turns, which steadies trees on few rows.
ASKED = 0.5
#: Trees learn from at most this many of the newest rows; fewer than LEAST teach nothing.
ROWS, LEAST = 20_000, 40
#: Rows that are answered at once.
_CHUNK = 2_000
_EXACT = 1e-6

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Trees:
    """K trees, each with _INNER questions in the order of a heap (children of i: 2 i + 1 and 2 i + 2) and _LEAVES
    answers from left to right. A row goes left where x[feature] <= threshold, and where the value is not known if
    `left` says so. The step of a target is its start and the sum of the answers of its trees.
    """

    feature: NDArray[np.int16]  # K x _INNER
    threshold: Floats  # K x _INNER
    left: NDArray[np.bool_]  # K x _INNER
    answer: Floats  # K x _LEAVES
    target: NDArray[np.int16]  # K, place in TARGETS
    start: Floats  # T

    @classmethod
    def fit(cls, rows: Dataset, seed: int) -> Trees:
        """Gradient boosting with absolute loss (Friedman 2001; scikit-learn's histogram form) on the residuals.

        A target with fewer than LEAST rows has no trees and a step of zero.
        """
        parts, start = [], np.zeros(len(TARGETS))
        for t in range(len(TARGETS)):
            known = np.flatnonzero(np.isfinite(rows.residual[:, t]))[-ROWS:]
            columns = moving(rows.x[known])
            if len(known) < LEAST or not len(columns):
                continue
            x = rows.x[known][:, columns]
            y, weight = rows.residual[known, t], rows.weight[known]
            booster = boosted(x, y, weight, seed, TREES, rate=RATE, leaves=_LEAVES, depth=DEPTH, asked=ASKED)
            part = _exported(booster, columns, t)
            start[t] = float(np.ravel(booster._baseline_prediction)[0])
            parts.append(part)
            # scikit-learn's own trees are read from the inside, which it does not promise to leave as it is.
            mine = start[t] + part.steps(rows.x[known[-_CHUNK:]])[:, t]
            if not np.allclose(mine, booster.predict(x[-_CHUNK:]), rtol=0, atol=_EXACT):
                raise Broken("boosted trees cannot be read out: they answer otherwise than scikit-learn's own")
        joined = {name: np.concatenate([getattr(p, name) for p in (*parts, _EMPTY)]) for name in _ARRAYS}
        return cls(**joined, start=start)

    def steps(self, x: Rows | Floats) -> Floats:
        """Steps away from the starting point (n x T, natural log) of rows (n x F)."""
        out = np.empty((len(x), len(TARGETS)))
        of_target = (self.target[:, None] == np.arange(len(TARGETS))).astype(float)
        for begin in range(0, len(x), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            out[part] = self._answers(x[part].astype(float)) @ of_target + self.start
        return out

    def _answers(self, x: Floats) -> Floats:
        """Each tree's answer (n x K); flat positions, because one row is answered at a time when serving."""
        first = np.arange(len(self.target)) * _INNER
        begin = (np.arange(len(x)) * x.shape[1])[:, None]
        feature, threshold, left, values = (a.ravel() for a in (self.feature, self.threshold, self.left, x))
        node = np.zeros((len(x), len(first)), dtype=np.intp)
        for _ in range(DEPTH):
            at = first + node
            value = values.take(begin + feature.take(at))
            right = np.where(np.isnan(value), ~left.take(at), value > threshold.take(at))
            node = 2 * node + 1 + right
        answers: Floats = self.answer.ravel().take(np.arange(len(first)) * _LEAVES + node - _INNER)
        return answers

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it, to be stored."""
        return {name: np.ascontiguousarray(getattr(self, name)) for name in (*_ARRAYS, "start")}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], features: int) -> Trees:
        """What `arrays` gave; ValueError or KeyError where it does not fit together."""
        trees = cls(**{name: arrays[name] for name in (*_ARRAYS, "start")})
        count = len(trees.target)
        shapes = [(count, _INNER)] * 3 + [(count, _LEAVES), (count,), (len(TARGETS),)]
        if [getattr(trees, name).shape for name in (*_ARRAYS, "start")] != shapes:
            raise ValueError("trees of another shape")
        if count and not (trees.feature.min() >= 0 and trees.feature.max() < features):
            raise ValueError("trees ask for features that there are not")
        if not (np.isfinite(trees.answer).all() and np.isfinite(trees.start).all()):
            raise ValueError("the trees' answers are not all finite")
        return trees


_ARRAYS = ("feature", "threshold", "left", "answer", "target")


def moving(x: Rows) -> NDArray[np.intp]:
    """Columns with at least two different values: the trees' binning stumbles over the others."""
    return np.flatnonzero([len(np.unique(column[np.isfinite(column)])) > 1 for column in x.T])


def boosted(
    x: Rows,
    y: Floats,
    weight: Floats,
    seed: int,
    trees: int,
    *,
    rate: float,
    leaves: int,
    depth: int | None = None,
    asked: float = 1.0,
) -> Any:
    """scikit-learn's histogram gradient boosting with absolute loss; asked: share of the features for each question."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    booster = HistGradientBoostingRegressor(
        loss="absolute_error",
        learning_rate=rate,
        max_iter=trees,
        max_leaf_nodes=leaves,
        max_depth=depth,
        min_samples_leaf=20,
        max_features=asked,
        early_stopping=False,
        random_state=seed,
    )
    with threadpool_limits(1):  # threads that wait for a core cost these small fits ten times what they bring
        # Equal weights are none: with weights the binning costs several times the whole fit without them.
        return booster.fit(x, y, sample_weight=None if (weight == weight[0]).all() else weight)


def _exported(booster: Any, columns: NDArray[np.intp], target: int) -> Trees:
    every = [stage[0].nodes for stage in booster._predictors]
    found = _unasked(len(every), target)
    for k, nodes in enumerate(every):
        waiting = [(0, 0)]  # (place in the heap, node)
        while waiting:
            place, node = waiting.pop()
            here = nodes[node]
            if place >= _INNER:
                found.answer[k, place - _INNER] = here["value"]
            elif here["is_leaf"]:
                waiting += [(2 * place + 1, node), (2 * place + 2, node)]
            else:
                found.feature[k, place] = columns[here["feature_idx"]]
                found.threshold[k, place] = here["num_threshold"]
                found.left[k, place] = bool(here["missing_go_to_left"])
                waiting += [(2 * place + 1, int(here["left"])), (2 * place + 2, int(here["right"]))]
    return found


def _unasked(trees: int, target: int) -> Trees:
    """Trees that send every row to the left and answer zero."""
    return Trees(
        feature=np.zeros((trees, _INNER), dtype=np.int16),
        threshold=np.full((trees, _INNER), np.inf),
        left=np.ones((trees, _INNER), dtype=np.bool_),
        answer=np.zeros((trees, _LEAVES)),
        target=np.full(trees, target, dtype=np.int16),
        start=np.zeros(len(TARGETS)),
    )


_EMPTY = _unasked(0, 0)
