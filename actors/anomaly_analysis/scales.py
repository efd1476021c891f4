"""On which scale each daily metric is watched: one on which everyday noise has about the same size at any level."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

#: metrics of `core.metrics` whose daily series are watched
VIEWS, GROWTH, POSTING, PACE = "views_gained", "net_growth", "posting_rate", "views_pace"


@dataclass(frozen=True, slots=True)
class Scale:
    """A monotone transform, its inverse, and the least noise that is believed (series can be constant for weeks)."""

    forward: Callable[[float], float]
    back: Callable[[float], float]
    floor: float


def _anscombe(count: float) -> float:
    return 2.0 * math.sqrt(max(count, 0.0) + 0.375)


def _from_anscombe(value: float) -> float:
    return max(0.0, (value / 2.0) ** 2 - 0.375)


def _identity(value: float) -> float:
    return value


SCALES: dict[str, Scale] = {
    # Views vary by a factor: a tenth up or down, at any size of channel.
    VIEWS: Scale(lambda views: math.log1p(max(views, 0.0)), lambda y: math.expm1(min(y, 60.0)), 0.02),
    # So does the pace, a ratio; over many posts it hardly varies.
    PACE: Scale(lambda pace: math.log(max(pace, 1e-7)), lambda y: math.exp(min(y, 60.0)), 0.03),
    # Growth has either sign and adds up.
    GROWTH: Scale(_identity, _identity, 1.0),
    # Counts: the square root makes Poisson noise 1 at any rate (Anscombe 1948). The floor: one post more or less than
    # nothing is nothing, three days without the daily post are something.
    POSTING: Scale(_anscombe, _from_anscombe, 0.55),
}
