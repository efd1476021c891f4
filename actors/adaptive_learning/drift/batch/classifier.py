"""Asks whether rows tell which table they are from: a boosted domain classifier, and a reconstruction by components.

Both are fitted to one part of the rows and tested on another, which they have not seen: a test of the fitted rows, or
of cross-validated ones as if they were independent, does not have the level that it says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, norm, rankdata

from actors.adaptive_learning.drift.batch.permutation import standardised
from core.history import Floats

#: Shuffles of a column on the held-out half, over which its weight is averaged.
SHUFFLES = 5
#: Share of the reference's variance that the components keep.
KEPT = 0.8
_BEYOND = float(norm.isf(0.001))  # chance gives an AUC this many standard errors above 1/2 in one of 1,000


@dataclass(frozen=True, slots=True)
class DomainAnswer:
    """p_value: one-sided Mann-Whitney of the held-out scores. effect: see `effect_of`. losses: F, of AUC by column."""

    p_value: float
    auc: float
    effect: float
    losses: Floats


def domain_test(
    rows: Floats, n: int, categorical: NDArray[np.bool_], rng: np.random.Generator, weigh_below: float
) -> DomainAnswer:
    """Rows (N x F, NaN: missing; categories as numbers from 0), the first n of which are the reference.

    Half of either side is fitted, the other half tested. Shallow trees: interactions of two or three columns. Columns
    are weighed where the p-value is at most `weigh_below`; otherwise their losses are 0.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    side = np.arange(len(rows)) >= n
    fitted = np.zeros(len(rows), dtype=bool)
    for members in (np.flatnonzero(~side), np.flatnonzero(side)):
        fitted[rng.permutation(members)[: len(members) // 2]] = True
    never = np.isnan(rows[fitted]).all(axis=0)  # nothing can be learned of a column without values
    rows = np.where(never, 0.0, rows)
    model = HistGradientBoostingClassifier(
        max_iter=60,
        max_depth=3,
        max_bins=32,
        early_stopping=False,
        categorical_features=categorical if categorical.any() else None,
        random_state=int(rng.integers(2**31)),
    ).fit(rows[fitted], side[fitted])
    held, truth = rows[~fitted], side[~fitted]
    scores = model.decision_function(held)
    auc = auc_of(scores, truth)
    test = mannwhitneyu(scores[truth], scores[~truth], alternative="greater", method="asymptotic")
    p_value = float(test.pvalue) if np.ptp(scores) > 0 else 1.0
    losses = np.zeros(rows.shape[1])
    if p_value <= weigh_below:
        shuffled = held.copy()
        for j in range(rows.shape[1]):
            for _ in range(SHUFFLES):
                shuffled[:, j] = rng.permutation(held[:, j])
                losses[j] += (auc - auc_of(model.decision_function(shuffled), truth)) / SHUFFLES
            shuffled[:, j] = held[:, j]
    return DomainAnswer(p_value, auc, effect_of(auc, int((~truth).sum()), int(truth.sum())), losses)


def auc_of(scores: Floats, truth: NDArray[np.bool_]) -> float:
    """Probability that a recent row has the higher score, ties counted half."""
    m = int(truth.sum())
    above = rankdata(scores)[truth].sum() - m * (m + 1) / 2
    return float(above / (m * (len(truth) - m)))


def effect_of(auc: float, n: int, m: int) -> float:
    """Squared shift, in standard deviations, of a Gaussian score with this AUC; 0 where chance would do.

    This is about the population stability index of such a score, so that both are graded alike.
    """
    if auc - 0.5 <= _BEYOND * np.sqrt((n + m + 1) / (12 * n * m)):
        return 0.0
    return float(2 * norm.ppf(min(auc, 1 - 1e-6)) ** 2)


def reconstruction_p(reference: Floats, recent: Floats, rng: np.random.Generator) -> float:
    """p-value that recent rows (m x F, no NaN) lie as near to the reference's main components as its own rows do.

    Components are those of half of the reference, and both the other half and the recent rows are centred on its mean
    and scaled by its deviations: centred on its own mean, a table that moved as a whole would be reconstructed well.
    A column that was constant there is left in its own unit. With one column the error is the distance to the mean.
    """
    order = rng.permutation(len(reference))
    fitted, held = reference[order[: len(order) // 2]], reference[order[len(order) // 2 :]]
    mean, deviation = fitted.mean(axis=0), fitted.std(axis=0)
    deviation = np.where(deviation > 1e-9, deviation, 1.0)
    _, singular, components = np.linalg.svd(standardised(fitted), full_matrices=False)
    variance = np.cumsum(singular**2)
    kept = int(np.searchsorted(variance, KEPT * variance[-1])) + 1 if variance[-1] > 0 else 0
    kept = min(kept, reference.shape[1] - 1)

    def errors(rows: Floats) -> Floats:
        z = (rows - mean) / deviation
        inside = z @ components[:kept].T
        result: Floats = np.maximum(np.sum(z * z, axis=1) - np.sum(inside * inside, axis=1), 0.0)
        return result

    a, b = errors(held), errors(recent)
    if np.ptp(np.concatenate([a, b])) <= 1e-12:
        return 1.0
    return float(mannwhitneyu(a, b, alternative="two-sided", method="asymptotic").pvalue)
