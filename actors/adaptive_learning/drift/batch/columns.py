"""Compares each column by itself from counts of both tables: the p-value, the effect, and what is new or missing."""

from __future__ import annotations

import numpy as np

from actors.adaptive_learning.drift.batch.categories import (
    CategoryCounts,
    excess,
    jensen_shannon,
    table,
    two_sample_p,
    unseen,
)
from actors.adaptive_learning.drift.batch.counts import Profile, TableCounts
from actors.adaptive_learning.drift.batch.scores import LEAST_VALUES, GridReference, fisher
from core.schemas.drift import ColumnDrift


def columns_of(profile: Profile, reference: TableCounts, recent: TableCounts) -> list[ColumnDrift]:
    """Every column by itself; which of them are named is decided over all of them."""
    found = []
    if profile.numeric:
        scores = GridReference.of(profile.grid, reference.numeric).scores(recent.numeric)
        p_values = scores.p_values
        for j, name in enumerate(profile.numeric):
            one = ColumnDrift(
                column=name,
                kind="numeric" if scores.reference_n[j] + scores.recent_n[j] else "empty",
                reference_n=int(scores.reference_n[j]),
                recent_n=int(scores.recent_n[j]),
                p_value=_number(p_values[j]),
                named=False,
                effect=float(scores.effect[j]),
                severity="none",
                distance=_number(scores.distance[j]),
                wasserstein=_number(scores.wasserstein[j]),
                missing_change=float(scores.missing_change[j]),
            )
            found.append(one)
    for name, *sides in zip(
        profile.categorical, reference.categories, recent.categories, reference.missing, recent.missing, strict=True
    ):
        found.append(categorical_drift(name, *sides))  # type: ignore[arg-type]
    return found


def categorical_drift(
    name: str, reference: CategoryCounts, recent: CategoryCounts, gone: int, recent_gone: int
) -> ColumnDrift:
    """A categorical column from its category counts and missing values on both sides."""
    n, m = reference.total(), recent.total()
    a, b = table(reference, recent)
    tests = []
    if min(n, m) >= LEAST_VALUES:
        tests.append(two_sample_p(a, b))
    if gone or recent_gone:
        tests.append(fisher((gone, n, recent_gone, m)))
    names, share = unseen(reference, recent) if n else ((), 0.0)
    return ColumnDrift(
        column=name,
        kind="categorical" if n + m else "empty",
        reference_n=n,
        recent_n=m,
        p_value=min(1.0, len(tests) * min(tests)) if tests else None,
        named=False,
        effect=excess(a, b, (gone, recent_gone)),
        severity="none",
        distance=jensen_shannon(a, b) if min(n, m) else None,
        wasserstein=None,
        missing_change=recent_gone / max(m + recent_gone, 1) - gone / max(n + gone, 1),
        unseen=names,
        unseen_share=share,
    )


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
