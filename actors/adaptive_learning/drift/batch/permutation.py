"""Asks whether two samples of rows come from one distribution, by permuting which rows belong to which.

Every statistic is a function of sums of features over the rows of one side, so that all permutations are one matrix
product. Columns enter as normal scores of their joint ranks: no outlier and no unit matters, and the scores do not
know which side a row is from, which keeps the level exact.

    level    means of the columns, sum of |difference|^2.5: many columns that moved a little
    single   the column whose mean differs most
    spread   squares of the columns: their scale
    pairs    products of two columns, the largest difference: correlations
    kernel   maximum mean discrepancy with a Gaussian kernel of median width, exact for few rows, otherwise by random
             Fourier features: any other difference

One answer is made of them by the smallest p-value relative to its weight, which is compared with its own distribution
over the same permutations (Westfall and Young, 1993): they are strongly dependent, and nothing is paid for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from core.history import Floats

#: Weight of each statistic in the answer. Means move most often in service, and no other test is as good at them.
WEIGHTS = {"level": 0.74, "single": 0.08, "spread": 0.05, "pairs": 0.03, "kernel": 0.10}
PERMUTATIONS = 999
#: Random Fourier features of the kernel (Rahimi and Recht, 2007).
FOURIER = 256
#: Rows of both sides together up to which the kernel itself is computed.
EXACT_ROWS = 1_000
#: Columns up to which all pairs are looked at; of more, the first so many.
PAIR_COLUMNS = 40
_POWER = 2.5  # between a sum of squares (all columns) and the largest one
_BLOCK = 1024  # features that are summed at a time

Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PermutationAnswer:
    """p_value: of all statistics together; by_name: each one's own.

    pairs: places of the two columns, and adjusted p-value (largest difference over all pairs), of each pair looked at.
    """

    p_value: float
    by_name: Mapping[str, float]
    pairs: tuple[tuple[int, int, float], ...]


def normal_scores(reference: Floats, recent: Floats) -> Floats:
    """Both tables (n x F, m x F) below each other as standardised normal scores; missing values get 0, the middle."""
    both = np.concatenate([reference, recent])
    ranks = rankdata(both, axis=0, nan_policy="omit")
    present = ~np.isnan(both)
    scores = ndtri((ranks - 0.5) / np.maximum(present.sum(axis=0), 1))
    scores = np.where(present, scores, 0.0)
    return standardised(scores)


def standardised(features: Floats) -> Floats:
    """Mean 0 and variance 1 over the rows; constant columns are 0."""
    centred = features - features.mean(axis=0)
    deviation = np.sqrt(np.mean(centred * centred, axis=0))
    return np.where(deviation > 1e-9, centred / np.maximum(deviation, 1e-9), 0.0)


def permutation_test(
    scores: Floats, n: int, rng: np.random.Generator, permutations: int = PERMUTATIONS
) -> PermutationAnswer:
    """Rows (N x F, standardised), the first n of which are the reference, against the others."""
    total, width = scores.shape
    sides = np.zeros((permutations + 1, total), dtype=np.float32)
    sides[:, :n] = 1
    sides[1:] = rng.permuted(sides[1:], axis=1)  # the first row is what was observed
    unit = np.float32(np.sqrt((total - 1) / (n * (total - n))))  # sums of standardised features have variance 1
    level = _sums(sides, scores) * unit
    spread = _sums(sides, standardised(np.minimum(scores * scores, 9.0))) * unit
    first, second = np.triu_indices(min(width, PAIR_COLUMNS), 1)
    products, largest = _pairs(sides, scores, first, second)
    found = {
        "level": np.sum(np.abs(level) ** _POWER, axis=1),
        "single": np.max(np.abs(level), axis=1, initial=0.0),
        "spread": np.sum(spread * spread, axis=1),
        "pairs": largest * unit,
        "kernel": _kernel(sides, scores, rng),
    }
    statistics = np.stack(list(found.values()), axis=1)
    p_values = rankdata(-statistics, method="max", axis=0) / len(statistics)
    relative = np.min(p_values / np.array([WEIGHTS[name] for name in found]), axis=1)
    adjusted = [(largest >= each).mean() for each in products]
    return PermutationAnswer(
        p_value=float(np.mean(relative <= relative[0])),
        by_name=dict(zip(found, p_values[0].tolist(), strict=True)),
        pairs=tuple(zip(first.tolist(), second.tolist(), map(float, adjusted), strict=True)),
    )


def _sums(sides: Singles, features: Floats) -> Singles:
    """Sums of features (N x D) over the reference side of each permutation (P x N), in blocks: P x D."""
    parts = [
        sides @ features[:, i : i + _BLOCK].astype(np.float32) for i in range(0, max(features.shape[1], 1), _BLOCK)
    ]
    return np.concatenate(parts, axis=1)


def _pairs(sides: Singles, scores: Floats, first: NDArray[np.intp], second: NDArray[np.intp]) -> tuple[Floats, Singles]:
    """Of the observed sides, |sum| of the product of each pair of columns; of all permutations, the largest one."""
    largest = np.zeros(len(sides), dtype=np.float32)
    observed = []
    for i in range(0, len(first), _BLOCK):
        products = standardised(scores[:, first[i : i + _BLOCK]] * scores[:, second[i : i + _BLOCK]])
        sums = np.abs(sides @ products.astype(np.float32))
        np.maximum(largest, sums.max(axis=1), out=largest)
        observed.append(sums[0])
    return np.concatenate(observed) if observed else np.zeros(0), largest


def _kernel(sides: Singles, scores: Floats, rng: np.random.Generator) -> Singles:
    """Maximum mean discrepancy of each permutation, up to a factor and a constant that all of them share."""
    total = len(scores)
    few = scores[rng.choice(total, min(total, 500), replace=False)]
    width = float(np.median(_squared_distances(few)[np.triu_indices(len(few), 1)]))
    if width <= 0:
        return np.zeros(len(sides), dtype=np.float32)
    if total <= EXACT_ROWS:
        kernel = np.exp(-_squared_distances(scores) / width)
        kernel = kernel - kernel.mean(axis=0)
        centred = (kernel - kernel.mean(axis=1)[:, None]).astype(np.float32)
        exact: Singles = np.einsum("pn,pn->p", sides @ centred, sides)
        return exact
    directions = rng.normal(size=(scores.shape[1], FOURIER // 2)) * np.sqrt(2 / width)
    angles = (scores @ directions).astype(np.float32)
    waves = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    sums = sides @ (waves - waves.mean(axis=0))
    approximate: Singles = np.einsum("pd,pd->p", sums, sums)
    return approximate


def _squared_distances(rows: Floats) -> Floats:
    """Between all pairs of rows; rounding makes some of them negative, which no root or kernel may see."""
    squares = np.sum(rows * rows, axis=1)
    result: Floats = np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0.0)
    return result
