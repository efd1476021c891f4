"""How well a learner did along a stream or over tasks in turn; undefined is NaN, never 0.

Over tasks everything comes from one matrix R (T x T): R[i, j] is the score on task j after learning tasks 0..i, higher
is better (take minus the error). (Lopez-Paz & Ranzato 2017 for ACC, BWT and FWT; Chaudhry et al. 2018 for forgetting.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput, NoData
from core.history import Floats


def accuracy(answers: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """Prequential accuracy: share of rows answered right before their label came; NoData without a row."""
    return _mean(np.asarray(answers) == np.asarray(labels))


def absolute_error(answers: Floats, values: Floats) -> float:
    """Prequential mean absolute error, in the unit of the target; NoData without a row."""
    return _mean(np.abs(np.asarray(answers) - np.asarray(values)))


@dataclass(frozen=True, slots=True)
class TaskScores:
    """Figures over tasks in turn, all in the unit of R.

    acc: mean of the last row. bwt: mean change of old tasks since each was learned. fwt: mean gain on a task before it
    is learned, over an untrained model. forgetting: mean of best past score minus last score of old tasks. now: mean of
    the diagonal, how well each task was known when it was new. NaN where undefined.
    """

    acc: float
    bwt: float
    fwt: float
    forgetting: float
    now: float
    newest: float


def task_scores(matrix: Floats, untrained: Floats | None = None) -> TaskScores:
    """All figures of one matrix (T x T); untrained: scores (T) of a model that learned nothing, for FWT."""
    r = np.asarray(matrix, dtype=float)
    if r.ndim != 2 or r.shape[0] != r.shape[1] or not len(r):
        raise InvalidInput(f"scores must be tasks x tasks, not {r.shape}", field="matrix")
    diagonal, last, old = np.diag(r), r[-1], np.arange(len(r) - 1)
    bwt = forgetting = fwt = float("nan")
    if len(old):
        bwt = float((last[old] - diagonal[old]).mean())
        # Best since the task was learned: a score by transfer beforehand was never this task's own.
        best = np.array([r[j:-1, j].max() for j in old])
        forgetting = float((best - last[old]).mean())
        if untrained is not None:
            fwt = float(np.mean([r[j - 1, j] - untrained[j] for j in range(1, len(r))]))
    return TaskScores(float(last.mean()), bwt, fwt, forgetting, float(diagonal.mean()), float(last[-1]))


def _mean(values: NDArray[Any]) -> float:
    if not len(values):
        raise NoData("a prequential score needs rows")
    return float(np.mean(values))
