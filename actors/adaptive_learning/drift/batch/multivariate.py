"""All columns of two tables together: several tests, one answer at one family-wise level, and the columns it is about.

The permutation test (means, scales, correlations, kernel), the domain classifier (interactions), the reconstruction by
the reference's components and the tests of the single columns share the level by Holm's weighted procedure. The shares
follow what moves in service: means most of all, and a correlation that changed is so plain to its own statistic that a
small share finds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.adaptive_learning.drift.batch.classifier import DomainAnswer, domain_test, reconstruction_p
from actors.adaptive_learning.drift.batch.multiplicity import holm, simes
from actors.adaptive_learning.drift.batch.permutation import (
    PermutationAnswer,
    normal_scores,
    permutation_test,
    standardised,
)
from core.errors import InsufficientData
from core.history import Floats
from core.schemas.drift import ColumnWeight, MemberTest, MultivariateDrift, PairDrift

#: Share of the family-wise level of each test.
SHARES = {"permutation": 0.92, "columns": 0.04, "classifier": 0.035, "reconstruction": 0.005}
#: Share of the label's test, taken from all others alike where a table has a label.
LABEL_SHARE = 0.05
#: Rows on either side from which all columns are looked at together, and the most that are.
LEAST_ROWS, MOST_ROWS = 40, 2_000
#: Columns looked at together; of more, so many are drawn.
MOST_COLUMNS = 64
#: Categories of a column that are told apart, the others are one.
LEVELS = 8
_NAMED = 10  # pairs and weights in an answer

Objects = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a table: numeric, n x F (NaN: missing), and categories, n x G (None: missing)."""

    numeric: Floats
    categories: Objects

    def __len__(self) -> int:
        return len(self.numeric)


def compare_rows(
    names: Sequence[str],
    reference: Rows,
    recent: Rows,
    column_p: Floats,
    alpha: float,
    rng: np.random.Generator,
    label_p: float | None = None,
) -> MultivariateDrift:
    """Two samples of rows whose columns are `names`, numeric ones first, in one answer at level alpha.

    column_p: p-values of the single columns, from as many rows as there are; label_p: of the label. InsufficientData
    with fewer than LEAST_ROWS on either side or without a column.
    """
    n, m = len(reference), len(recent)
    if min(n, m) < LEAST_ROWS:
        raise InsufficientData("too few rows to look at all columns together", needed=LEAST_ROWS, have=min(n, m))
    if not names:
        raise InsufficientData("the tables share no column", needed=1, have=0)
    codes = _codes(np.concatenate([reference.categories, recent.categories]))
    raw = np.concatenate([reference.numeric, recent.numeric])
    raw = np.where(np.isfinite(raw), raw, np.nan)
    scores, owners = _scores(raw, codes, n)
    test = permutation_test(scores, n, rng)
    categorical = np.arange(len(names)) >= raw.shape[1]
    domain = domain_test(np.concatenate([raw, codes], axis=1), n, categorical, rng, alpha)
    p_values = {
        "permutation": test.p_value,
        "columns": simes(column_p),
        "classifier": domain.p_value,
        "reconstruction": reconstruction_p(scores[:n], scores[n:], rng),
    }
    shares = dict(SHARES)
    if label_p is not None:
        shares = {name: share * (1 - LABEL_SHARE) for name, share in shares.items()} | {"label": LABEL_SHARE}
        p_values["label"] = label_p
    adjusted = float(np.min(holm(np.array([p_values[name] for name in shares]), np.array(list(shares.values())))))
    rejected = adjusted <= alpha
    parts = [MemberTest(f"permutation: {name}", p, 0.0) for name, p in test.by_name.items()]
    return MultivariateDrift(
        alpha=alpha,
        p_value=adjusted,
        rejected=rejected,
        members=(*(MemberTest(name, p_values[name], shares[name]) for name in shares), *parts),
        auc=domain.auc,
        effect=domain.effect if rejected else 0.0,
        pairs=_pairs(names, owners, scores, n, test, alpha) if rejected else (),
        weights=_weights(names, domain) if rejected else (),
        rows=(n, m),
        columns=len(names),
    )


def columns_alone(column_p: Floats, alpha: float, label_p: float | None) -> tuple[float, bool]:
    """Adjusted p-value and decision where the rows are too few, or too odd, to be looked at together."""
    found = np.array([simes(column_p)] + ([] if label_p is None else [label_p]))
    shares = np.array([1 - LABEL_SHARE, LABEL_SHARE][: len(found)])
    p_value = float(np.min(holm(found, shares)))
    return p_value, p_value <= alpha


def _codes(categories: Objects) -> Floats:
    """Numbers of the most frequent categories of both tables together, LEVELS for the others, NaN for missing."""
    codes = np.full(categories.shape, np.nan)
    for j in range(categories.shape[1]):
        column = categories[:, j]
        present = np.array([value is not None for value in column], dtype=bool)
        values, where, rows = np.unique(column[present].astype(str), return_inverse=True, return_counts=True)
        rank = np.empty(len(values), dtype=np.int64)
        rank[np.argsort(-rows, kind="stable")] = np.arange(len(values))
        codes[present, j] = np.minimum(rank, LEVELS)[where]
    return codes


def _scores(raw: Floats, codes: Floats, n: int) -> tuple[Floats, list[int]]:
    """Standardised features of the rows, and the column that each belongs to.

    Numeric columns as normal scores, then an indicator for each category and for what is missing in some rows.
    """
    width = raw.shape[1]
    parts, owners = [normal_scores(raw[:n], raw[n:])], list(range(width))
    for j, column in enumerate(np.concatenate([raw, codes], axis=1).T):
        gone = np.isnan(column)
        if 0 < gone.sum() < len(gone):
            parts.append(standardised(gone[:, None].astype(float)))
            owners.append(j)
        if j >= width:
            levels = np.unique(column[~gone])
            parts.append(standardised((column[:, None] == levels).astype(float)))
            owners += [j] * len(levels)
    return np.concatenate(parts, axis=1), owners


def _pairs(
    names: Sequence[str], owners: list[int], scores: Floats, n: int, test: PermutationAnswer, alpha: float
) -> tuple[PairDrift, ...]:
    """Pairs of different columns whose correlation changed, most evidence first."""
    moved = [(i, j, p) for i, j, p in test.pairs if p <= alpha and owners[i] != owners[j]]
    if not moved:
        return ()

    def correlation(rows: Floats, i: int, j: int) -> float:
        if min(np.std(rows[:, i]), np.std(rows[:, j])) <= 1e-9:
            return 0.0
        return float(np.corrcoef(rows[:, i], rows[:, j])[0, 1])

    found = [
        PairDrift(names[owners[i]], names[owners[j]], correlation(scores[:n], i, j), correlation(scores[n:], i, j), p)
        for i, j, p in moved
    ]
    found.sort(key=lambda pair: (pair.p_value, -abs(pair.recent_correlation - pair.reference_correlation)))
    return tuple(found[:_NAMED])


def _weights(names: Sequence[str], domain: DomainAnswer) -> tuple[ColumnWeight, ...]:
    order = np.argsort(-domain.losses, kind="stable")[:_NAMED]
    return tuple(ColumnWeight(names[j], float(domain.losses[j])) for j in order if domain.losses[j] > 0)
