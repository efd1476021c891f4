"""Judging on a holdout in order of time: errors with intervals, beside the baselines and the champion, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.history import Floats
from core.schemas.models import Evaluation, PairedComparison, Score
from core.schemas.predictions import KNOWN_AGES_H, TARGETS, VIEWS
from training.dataset import Dataset

MARGIN = 0.05
DRAWS = 1000
#: Fewer rows than this are not scored: an interval over them says nothing.
LEAST_ROWS = 8
#: Fewer posts than this decide no comparison.
LEAST_COMPARED = 20

Verdict = Literal["better", "not_worse", "worse", "undecided"]
Rows = NDArray[np.bool_]


def scores(rows: Dataset, predicted: Floats, seed: int) -> tuple[Score, ...]:
    """Scores of one forecaster by target and known age.

    predicted: n x T x 3 (quantiles) or n x T (a single value), natural log; NaN rows are left out.
    """
    middle = predicted[:, :, 1] if predicted.ndim == 3 else predicted
    found = []
    for t, target in enumerate(TARGETS):
        for age in KNOWN_AGES_H:
            here = (rows.known_age == age) & np.isfinite(rows.residual[:, t]) & np.isfinite(middle[:, t])
            n = int(here.sum())
            if n < LEAST_ROWS:
                continue
            actual, error = rows.actual[here, t], np.abs(rows.actual[here, t] - middle[here, t])
            low, high = bootstrap_mean(error, rows.posts[here], seed)
            above = actual > rows.level[here, t]
            covered = None
            if predicted.ndim == 3:
                inside = (actual >= predicted[here, t, 0]) & (actual <= predicted[here, t, 2])
                covered = float(inside.mean())
            auc = auc_of(above, middle[here, t] - rows.level[here, t])
            found.append(Score(target, age, n, float(error.mean()), low, high, auc, covered))
    return tuple(found)


def evaluate(
    rows: Dataset,
    forecasts: Mapping[str, Floats],
    *,
    compared: Rows | None = None,
    margin: float = MARGIN,
    seed: int = 0,
) -> Evaluation:
    """All forecasters on the same holdout; `versus_champion` where there is one.

    forecasts: "model" and others, natural log, n x T or n x T x 3. compared: rows on which model and champion may be
    compared fairly (n; default all): none whose outcome the champion may have learned from.
    """
    versus = None
    if "champion" in forecasts:
        chosen = np.ones(len(rows), dtype=bool) if compared is None else compared
        versus = compare(rows, forecasts["model"], forecasts["champion"], chosen, margin, seed)
    return Evaluation(
        holdout_from=int(rows.published_at.min()),
        holdout_until=int(rows.published_at.max()),
        scores={name: scores(rows, predicted, seed) for name, predicted in forecasts.items()},
        versus_champion=versus,
    )


def compare(
    rows: Dataset, challenger: Floats, champion: Floats, chosen: Rows, margin: float, seed: int
) -> PairedComparison | None:
    """Mean difference of |log error| of views over the same rows, each post counting once; interval by bootstrap over
    posts.

    None where there is nothing to compare.
    """
    a, b = (p[:, :, 1] if p.ndim == 3 else p for p in (challenger, champion))
    difference = np.abs(rows.actual - a) - np.abs(rows.actual - b)
    difference[~chosen] = np.nan
    difference[:, [target not in VIEWS for target in TARGETS]] = np.nan
    known = np.isfinite(difference)
    per_row = np.where(known, difference, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    here = known.any(axis=1)
    posts = rows.posts[here]
    _, number = np.unique(posts, return_inverse=True)
    n = int(number.max()) + 1 if len(number) else 0
    if n == 0:
        return None
    per_post = np.bincount(number, per_row[here]) / np.bincount(number)
    low, high = bootstrap_mean(per_post, np.arange(n), seed)
    mean = float(per_post.mean())
    return PairedComparison(n, mean, low, high, verdict(n, low, high, margin), margin)


def verdict(n: int, low: float, high: float, margin: float) -> Verdict:
    """From the interval of challenger - champion: better (all below 0), not worse (all below the margin), worse (all
    above 0 and not within the margin), else undecided; always undecided below LEAST_COMPARED posts.
    """
    if n < LEAST_COMPARED:
        return "undecided"
    if high < 0:
        return "better"
    if high < margin:
        return "not_worse"
    return "worse" if low > 0 else "undecided"


def bootstrap_mean(values: Floats, groups: NDArray[np.int64], seed: int) -> tuple[float, float]:
    """95 % percentile interval of a mean, by drawing whole groups with replacement."""
    _, number = np.unique(groups, return_inverse=True)
    count = np.bincount(number).astype(float)
    total = np.bincount(number, values)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(count), np.full(len(count), 1 / len(count)), size=DRAWS)
    means = (drawn @ total) / (drawn @ count)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def auc_of(positive: NDArray[np.bool_], score: Floats) -> float | None:
    """Chance that a positive scores above a negative (ties count half); None when one class is missing."""
    from scipy.stats import rankdata

    n, hits = len(positive), int(positive.sum())
    if hits in (0, n):
        return None
    ranks = rankdata(score)
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * (n - hits)))
