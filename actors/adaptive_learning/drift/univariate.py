"""Which inputs moved: recent requests against the rows that a version learned from, column by column.

Existence by a test (two-sample Kolmogorov-Smirnov; Fisher for the share of missing values), with the false discovery
rate over all columns held by Benjamini and Hochberg; size by the population stability index. With very many rows the
test finds everything, so it is the size that is graded.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import kolmogorov
from scipy.stats import chi2, fisher_exact

from core.history import Floats
from core.schemas.monitoring import FeatureDrift, Severity

#: Share of false discoveries among the columns named.
FDR = 0.05
#: Values on either side below which a column's distribution is not compared.
LEAST_VALUES = 20
_PSEUDO = 0.5  # rows added to each bin: an empty bin has no finite index
_DISTINCT = 10  # up to as many different values, each is a bin of its own
_GRADES: tuple[tuple[float, Severity], ...] = ((0.25, "high"), (0.10, "medium"), (0.0, "low"))

Rows = NDArray[np.float32]


def compare(names: Sequence[str], reference: Rows, recent: Rows) -> tuple[FeatureDrift, ...]:
    """Every column of two tables (n x F and m x F, NaN: missing), in the order of `names`."""
    columns = range(len(names))
    p_values = np.array([_p_value(reference[:, i], recent[:, i]) for i in columns])
    named = benjamini_hochberg(p_values, FDR)
    return tuple(
        FeatureDrift(
            feature=names[i],
            effect=stability(reference[:, i], recent[:, i]),
            p_value=float(p_values[i]),
            rejected=bool(named[i]),
            missing_change=_missing(recent[:, i]) - _missing(reference[:, i]),
        )
        for i in columns
    )


def benjamini_hochberg(p_values: Floats, level: float) -> NDArray[np.bool_]:
    """Which hypotheses are rejected at a false discovery rate."""
    order = np.argsort(p_values)
    below = p_values[order] <= level * np.arange(1, len(p_values) + 1) / max(len(p_values), 1)
    last = int(np.flatnonzero(below)[-1]) + 1 if below.any() else 0
    rejected = np.zeros(len(p_values), dtype=bool)
    rejected[order[:last]] = True
    return rejected


def stability(reference: Rows, recent: Rows) -> float:
    """Population stability index of a column, less what chance gives at these sizes; 0 where chance would do.

    Bins are the reference's deciles (each value, where there are few), and one for missing values. By chance alone
    the index is about chi-square with bins - 1 degrees of freedom, times 1/n + 1/m: it is given as 0 within the
    99.9 % quantile of that, otherwise less the mean.
    """
    edges = _edges(reference[np.isfinite(reference)])
    if len(edges) == 0:
        edges = _edges(recent[np.isfinite(recent)])
    a, b = _counts(reference, edges), _counts(recent, edges)
    occupied = (a + b) > 0
    bins = int(occupied.sum())
    if bins < 2:
        return 0.0
    p = (a[occupied] + _PSEUDO) / (len(reference) + _PSEUDO * bins)
    q = (b[occupied] + _PSEUDO) / (len(recent) + _PSEUDO * bins)
    index = float(np.sum((p - q) * np.log(p / q)))
    by_chance = 1 / len(reference) + 1 / len(recent)
    if index <= chi2.ppf(0.999, bins - 1) * by_chance:
        return 0.0
    return index - (bins - 1) * by_chance


def grade(features: Sequence[FeatureDrift]) -> Severity:
    """How far the inputs moved: the largest effect among the columns named."""
    effects = [f.effect for f in features if f.rejected and f.effect > 0]
    return next((name for least, name in _GRADES if effects and max(effects) >= least), "none")


def same_mix(reference: Rows, recent: Rows, groups: Sequence[int]) -> Rows:
    """Reference rows in the mix of the recent ones, where `groups` are 0/1 columns that part them (known ages).

    What is asked for at another age is no drift. Takes as many rows as the scarcest group allows, evenly spread over
    the reference's order; groups that the reference lacks cannot be matched.
    """
    if not groups:
        return reference
    shares = (recent[:, groups] > 0.5).mean(axis=0)
    members = [np.flatnonzero(reference[:, g] > 0.5) for g in groups]
    usable = [(rows, share) for rows, share in zip(members, shares, strict=True) if share > 0 and len(rows)]
    if not usable:
        return reference
    total = min(len(rows) / share for rows, share in usable)
    chosen = [_spread(rows, max(int(total * share), 1)) for rows, share in usable]
    result: Rows = reference[np.sort(np.concatenate(chosen))]
    return result


def _spread(rows: NDArray[np.intp], n: int) -> NDArray[np.intp]:
    places = np.linspace(0, len(rows) - 1, min(n, len(rows))).astype(int)
    result: NDArray[np.intp] = rows[places]
    return result


def _p_value(reference: Rows, recent: Rows) -> float:
    a, b = np.sort(reference[np.isfinite(reference)]), np.sort(recent[np.isfinite(recent)])
    found = []
    if min(len(a), len(b)) >= LEAST_VALUES:
        found.append(_kolmogorov_smirnov(a, b))
    gone = [len(reference) - len(a), len(recent) - len(b)]
    if any(gone):
        table = [[gone[0], len(a)], [gone[1], len(b)]]
        found.append(float(fisher_exact(table).pvalue))
    # Two tests of one column: the smaller p-value is paid for twice (Bonferroni).
    return min(1.0, len(found) * min(found)) if found else 1.0


def _kolmogorov_smirnov(a: Rows, b: Rows) -> float:
    """Asymptotic two-sided p-value of two sorted samples; with ties it errs on the side of no difference."""
    both = np.concatenate([a, b])
    apart = np.searchsorted(a, both, side="right") / len(a) - np.searchsorted(b, both, side="right") / len(b)
    return float(kolmogorov(float(np.max(np.abs(apart))) * np.sqrt(len(a) * len(b) / (len(a) + len(b)))))


def _edges(values: Rows) -> Floats:
    distinct = np.unique(values).astype(float)
    if len(distinct) <= _DISTINCT:
        return np.sort(np.concatenate([np.nextafter(distinct, -np.inf), distinct]))
    return np.unique(np.quantile(values.astype(float), np.arange(0.1, 0.95, 0.1)))


def _counts(column: Rows, edges: Floats) -> Floats:
    """Values in each bin (edges belong to the bin on their left), then the missing ones."""
    present = column[np.isfinite(column)].astype(float)
    binned = np.bincount(np.searchsorted(edges, present, side="left"), minlength=len(edges) + 1)
    return np.append(binned, len(column) - len(present)).astype(float)


def _missing(column: Rows) -> float:
    return float(np.mean(~np.isfinite(column))) if len(column) else 0.0
