"""Where the level of a stored series changed: figures of a version bucket by bucket, cut into stretches of one mean.

`degradation` asks whether a week is worse than what was before; this says when something changed, and from what to
what, however long ago, and in either direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from actors.adaptive_learning.drift.onset import LEAST, segments
from core.schemas.monitoring import SeriesLevel, SeriesLevels
from core.store.metrics_store import Sum

#: Buckets of one series that are looked at, the newest: two years of days. The search grows with their square.
MOST = 730


def levels_of(metric: str, segment: str, buckets: Mapping[int, Sum], bucket_s: int) -> SeriesLevels:
    """The levels of a series. buckets: sums by start, of any width; those of one `bucket_s` are put together.

    Buckets without observations are left out; the one at the end may still be filling. Fewer than LEAST: no levels.
    """
    sums: dict[int, Sum] = {}
    for at, part in buckets.items():
        start = at // bucket_s * bucket_s
        before = sums.get(start, Sum(0, 0.0))
        sums[start] = Sum(before.n + part.n, before.total + part.total)
    starts = [start for start in sorted(sums) if sums[start].n][-MOST:]
    if len(starts) < LEAST:
        return SeriesLevels(metric, segment, bucket_s, len(starts), LEAST)
    values = np.array([sums[start].mean for start in starts])
    edges = (0, *segments(values), len(starts))
    levels = [
        SeriesLevel(starts[begin], end - begin, _mean([sums[start] for start in starts[begin:end]]))
        for begin, end in pairwise(edges)
    ]
    return SeriesLevels(metric, segment, bucket_s, len(starts), LEAST, tuple(levels))


def _mean(parts: list[Sum]) -> float:
    """Of all observations: a bucket weighs as much as it holds."""
    return sum(part.total for part in parts) / sum(part.n for part in parts)
