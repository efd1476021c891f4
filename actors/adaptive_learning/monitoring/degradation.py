"""Whether a figure got worse: every metric has a direction, and a difference needs enough observations.

Welch's interval for a difference of means, on daily sums; a change counts when its whole interval lies beyond the
margin, so that with many observations a tiny change is still none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from core.schemas.monitoring import Degradation

Direction = Literal["higher", "lower"]

#: Which way is better.
BETTER: dict[str, Direction] = {
    "mae_log": "lower",
    "error_rate": "lower",
    "latency_ms": "lower",
    "coverage": "higher",
}
#: Observations on each side below which nothing is said.
MINIMUM = 50
_Z = 2.576  # 99 %


@dataclass(frozen=True, slots=True)
class Sample:
    """Observations in brief; variance is that of one observation."""

    n: int
    mean: float
    variance: float

    @classmethod
    def of_sums(cls, n: int, total: float, squares: float) -> Sample:
        """From sums of values and of their squares; a variance is never below 0, whatever rounding says."""
        if n == 0:
            return cls(0, math.nan, math.nan)
        mean = total / n
        return cls(n, mean, max(squares / n - mean * mean, 0.0) * n / max(n - 1, 1))


def compare(metric: str, segment: str, before: Sample, now: Sample, margin: float) -> Degradation:
    """Verdict on one figure.

    margin: change that does not matter, as a share of the mean before. Raises KeyError for a metric whose direction
    nobody stated.
    """
    sign = 1.0 if BETTER[metric] == "lower" else -1.0
    if before.n < MINIMUM or now.n < MINIMUM:
        return Degradation(metric, segment, "insufficient", before.n, now.n, None, None, None)
    change = now.mean - before.mean
    half = _Z * math.sqrt(before.variance / before.n + now.variance / now.n)
    low, high = change - half, change + half
    tolerated = margin * abs(before.mean)
    worst, best = (low, high) if sign > 0 else (-high, -low)  # of the loss, which is the change the wrong way
    verdict: Literal["worse", "better", "steady"]
    verdict = "worse" if worst > tolerated else "better" if best < -tolerated else "steady"
    return Degradation(metric, segment, verdict, before.n, now.n, change, low, high)
