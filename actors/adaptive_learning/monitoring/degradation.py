"""Whether a figure got worse, and how badly: every metric has a direction, and a difference needs enough observations.

Welch's interval for a difference of means, on daily sums; a change counts when its whole interval lies beyond the
margin, so that with many observations a tiny change is still none. Severity is how far beyond: by the size of the
effect that is certain, never by a p-value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from core.schemas.monitoring import Degradation, Severity

Direction = Literal["higher", "lower"]

#: Which way is better.
BETTER: dict[str, Direction] = {
    "mae_log": "lower",
    "error_rate": "lower",
    "slow_rate": "lower",
    "missing_rate": "lower",
    "coverage": "higher",
}
#: Rise of a figure, as a share of itself, that does not matter.
MARGIN = 0.10
#: Rises of a share of requests that do not matter, however small it was.
FLOORS = {"error_rate": 0.005, "slow_rate": 0.01, "missing_rate": 0.02}
#: A loss is medium, or high, from this multiple of what is tolerated on.
MEDIUM, HIGH = 2.5, 5.0
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


def compare(metric: str, segment: str, before: Sample, now: Sample, margin: float, floor: float = 0.0) -> Degradation:
    """Verdict on one figure.

    margin: change that does not matter, as a share of the mean before; floor: nor does a smaller one than this, in the
    metric's unit. Raises KeyError for a metric whose direction nobody stated.
    """
    sign = 1.0 if BETTER[metric] == "lower" else -1.0
    if before.n < MINIMUM or now.n < MINIMUM:
        return Degradation(metric, segment, "insufficient", before.n, now.n, None, None, None)
    change = now.mean - before.mean
    half = _Z * math.sqrt(before.variance / before.n + now.variance / now.n)
    low, high = change - half, change + half
    tolerated = max(margin * abs(before.mean), floor)
    worst, best = (low, high) if sign > 0 else (-high, -low)  # of the loss, which is the change the wrong way
    verdict: Literal["worse", "better", "steady"]
    verdict = "worse" if worst > tolerated else "better" if best < -tolerated else "steady"
    severity = _severity(worst, tolerated) if verdict == "worse" else "none"
    return Degradation(metric, segment, verdict, before.n, now.n, change, low, high, severity)


def _severity(certain: float, tolerated: float) -> Severity:
    """certain: the least that the loss can be, at 99 %; it is above `tolerated`."""
    return "high" if certain > HIGH * tolerated else "medium" if certain > MEDIUM * tolerated else "low"
