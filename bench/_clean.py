"""Series in which nothing happens, for the false alarms of a detector: noise of several laws, and daily and weekly
seasons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from core.clock import DAY, HOUR
from core.history import Floats, Ints

LENGTH, WARM_UP, REPEATS = 20_000, 750, 8  # points, points that are not counted, series a kind
EARLY = 6000  # points whose rate is told besides: a season takes some weeks to learn
STEPS = {"5 min": 300, "1 h": HOUR}
Maker = Callable[[np.random.Generator, Ints], Floats]


def _autoregressive(rng: np.random.Generator, n: int, memory: float) -> Floats:
    values: Floats = lfilter([1.0], [1.0, -memory], rng.normal(size=n))
    return values


def _day(t: Ints) -> Floats:
    values: Floats = 2 * np.pi * (t % DAY) / DAY
    return values


def _weekend(t: Ints) -> Floats:
    values: Floats = (t // DAY % 7 >= 5).astype(float)
    return values


KINDS: dict[str, Maker] = {
    "white": lambda rng, t: rng.normal(size=len(t)),
    "AR .5": lambda rng, t: _autoregressive(rng, len(t), 0.5),
    "AR .9": lambda rng, t: _autoregressive(rng, len(t), 0.9),
    "day and week": lambda rng, t: (
        10 + 3 * np.sin(_day(t)) + 2 * np.sin(2 * _day(t)) + 1.5 * _weekend(t) + 0.7 * rng.normal(size=len(t))
    ),
    "day and week, multiplied": lambda rng, t: np.exp(
        2 + 0.8 * np.sin(_day(t)) + 0.3 * _weekend(t) + 0.3 * rng.normal(size=len(t))
    ),
    "Student t 3": lambda rng, t: rng.standard_t(3, len(t)),
    "log-normal": lambda rng, t: np.exp(rng.normal(size=len(t))),
    "counts by the hour": lambda rng, t: rng.poisson(np.exp(1.5 + np.sin(_day(t)))).astype(float),
}


@dataclass(frozen=True, slots=True)
class Clean:
    """One series: kind, step, values and hours of the day (n)."""

    kind: str
    step: str
    values: Floats
    hours: Ints


def series(seed: int = 1) -> list[Clean]:
    """REPEATS series of every kind at every step."""
    rng, made = np.random.default_rng(seed), []
    for step, seconds in STEPS.items():
        t = np.arange(LENGTH) * seconds
        for kind, make in KINDS.items():
            made += [Clean(kind, step, make(rng, t), t % DAY // HOUR) for _ in range(REPEATS)]
    return made
