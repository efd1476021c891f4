"""How often each input of a version was not known when it answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from core.clock import DAY
from core.schemas.monitoring import MissingFeature
from core.store.metrics_store import Attempt, Point, Sum

MISSING = "missing"

InputsOf = Callable[[str, int], tuple[str, ...]]


def sums_of(attempts: Iterable[Attempt], inputs_of: InputsOf) -> Iterator[tuple[Point, Sum]]:
    """What rows of the prediction log add: for each input, rows and how many lacked it, in daily buckets.

    Vectors whose length is not that of the version's signature (`inputs_of`) are of nobody's inputs and left out.
    """
    vectors: dict[tuple[str, int, int], list[bytes]] = {}
    for attempt in attempts:
        if attempt.features:
            day = attempt.at // DAY * DAY
            vectors.setdefault((attempt.model, attempt.version, day), []).append(attempt.features)
    for (model, version, day), rows in vectors.items():
        names = inputs_of(model, version)
        fitting = [row for row in rows if names and len(row) == 4 * len(names)]
        if not fitting:
            continue
        lacking = np.isnan(np.frombuffer(b"".join(fitting), dtype=np.float32).reshape(len(fitting), -1)).sum(axis=0)
        for name, n in zip(names, lacking.tolist(), strict=True):
            yield Point(model, version, name[:64], MISSING, day), Sum(len(fitting), float(n))


def missing_of(totals: Mapping[tuple[str, str], Sum]) -> tuple[MissingFeature, ...]:
    """Inputs that were ever missing, most often first."""
    found = [MissingFeature(s, t.n, t.mean) for (s, metric), t in totals.items() if metric == MISSING and t.total]
    return tuple(sorted(found, key=lambda f: (-f.rate, f.feature)))
