"""Compares a categorical column of two tables: a two-sample test, a divergence, and what was never seen before.

Both sides are samples: a chi-square that takes the reference's shares as exact finds differences in identical data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from scipy.stats import chi2

from actors.adaptive_learning.drift.batch.scores import fisher, stability_excess
from core.history import Floats

#: Rows that a category must be expected to have on the smaller side; scarcer ones are tested as one.
LEAST_EXPECTED = 5.0
#: Categories that are kept apart, those with the most rows; the others are one.
MOST = 10_000
#: Unseen categories in an answer.
NAMED = 10

#: Rows by category, and under OTHER those beyond MOST.
CategoryCounts = Counter[str]
OTHER = "\0other"


def added(counts: CategoryCounts, more: Mapping[str, int]) -> CategoryCounts:
    """Both counts; what exceeds MOST categories is counted under OTHER, so that memory is bounded."""
    total = counts + Counter(more)
    if len(total) > MOST + 1:
        kept = Counter(dict(sorted(total.items(), key=lambda item: (item[0] != OTHER, -item[1], item[0]))[:MOST]))
        kept[OTHER] += total.total() - kept.total()
        return kept
    return total


def table(reference: Mapping[str, int], recent: Mapping[str, int]) -> tuple[Floats, Floats]:
    """Rows of each category on both sides; those expected less than LEAST_EXPECTED times are the last entry."""
    names = sorted(set(reference) | set(recent))
    a = np.array([reference.get(name, 0) for name in names], dtype=float)
    b = np.array([recent.get(name, 0) for name in names], dtype=float)
    share = min(a.sum(), b.sum()) / max(a.sum() + b.sum(), 1)
    scarce = (a + b) * share < LEAST_EXPECTED
    if not scarce.any():
        return a, b
    a, b = (np.append(side[~scarce], side[scarce].sum()) for side in (a, b))
    return a, b


def two_sample_p(reference: Floats, recent: Floats) -> float:
    """p-value of two rows of counts: Pearson's chi-square of the 2 x K table, Fisher's test for two categories."""
    if len(reference) == 2:
        return fisher((int(reference[0]), int(reference[1]), int(recent[0]), int(recent[1])))
    both = reference + recent
    n, m = reference.sum(), recent.sum()
    used = both > 0
    if used.sum() < 2 or min(n, m) == 0:
        return 1.0
    expected = both[used] * (n / (n + m))
    away = (reference[used] - expected) ** 2
    statistic = float(np.sum(away / expected) + np.sum(away / (both[used] - expected)))
    return float(chi2.sf(statistic, int(used.sum()) - 1))


def jensen_shannon(reference: Floats, recent: Floats) -> float:
    """Jensen-Shannon divergence of two rows of counts in bits, 0 (equal) to 1 (nothing in common)."""
    p, q = reference / reference.sum(), recent / recent.sum()
    middle = (p + q) / 2

    def against(one: Floats) -> float:
        held = one > 0
        return float(np.sum(one[held] * np.log2(one[held] / middle[held])))

    return min(max((against(p) + against(q)) / 2, 0.0), 1.0)


def excess(reference: Floats, recent: Floats, missing: tuple[int, int]) -> float:
    """Population stability index less chance, with the missing values as a category."""
    a, b = np.append(reference, missing[0]), np.append(recent, missing[1])
    return float(stability_excess(a[None], b[None])[0])


def unseen(reference: Mapping[str, int], recent: Mapping[str, int]) -> tuple[tuple[str, ...], float]:
    """Categories that the reference lacks, most frequent first, and their share of the recent values.

    A reference with more than MOST categories cannot say that it lacks one: then there are none.
    """
    if OTHER in reference:
        return (), 0.0
    new = {name: rows for name, rows in recent.items() if name not in reference}
    order = sorted(new, key=lambda name: (-new[name], name))
    named = tuple(name if name != OTHER else "(others)" for name in order[:NAMED])
    return named, sum(new.values()) / max(sum(recent.values()), 1)
