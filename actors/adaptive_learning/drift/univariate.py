"""Which inputs moved: recent requests against the rows that a version learned from, column by column.

Existence by a test (two-sample Kolmogorov-Smirnov; Fisher for the share of missing values), with the false discovery
rate over all columns held by Benjamini and Hochberg; size by the population stability index. With very many rows the
test finds everything, so it is the size that is graded. Counting and scores are those of any batch report (`batch/`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from actors.adaptive_learning.drift.batch.multiplicity import benjamini_hochberg
from actors.adaptive_learning.drift.batch.scores import GridReference, graded
from core.schemas.monitoring import FeatureDrift, Severity

#: Share of false discoveries among the columns named.
FDR = 0.05

Rows = NDArray[np.float32]


def compare(names: Sequence[str], reference: Rows, recent: Rows) -> tuple[FeatureDrift, ...]:
    """Every column of two tables (n x F and m x F, NaN: missing), in the order of `names`."""
    scores = GridReference.fit(reference).compare(recent)
    p_values = np.nan_to_num(scores.p_values, nan=1.0)
    named = benjamini_hochberg(p_values, FDR)
    return tuple(
        FeatureDrift(
            feature=name,
            effect=float(scores.effect[i]),
            p_value=float(p_values[i]),
            rejected=bool(named[i]),
            missing_change=float(scores.missing_change[i]),
            distance=None if np.isnan(scores.distance[i]) else float(scores.distance[i]),
            wasserstein=None if np.isnan(scores.wasserstein[i]) else float(scores.wasserstein[i]),
        )
        for i, name in enumerate(names)
    )


def stability(reference: Rows, recent: Rows) -> float:
    """Population stability index of a column, less what chance gives at these sizes; 0 where chance would do.

    Bins are the reference's deciles (each value, where there are few), and one for missing values.
    """
    return float(GridReference.fit(reference[:, None]).compare(recent[:, None]).effect[0])


def grade(features: Sequence[FeatureDrift]) -> Severity:
    """How far the inputs moved: the largest effect among the columns named."""
    effects = [f.effect for f in features if f.rejected and f.effect > 0]
    return graded(max(effects)) if effects else "none"


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
