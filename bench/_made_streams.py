"""Streams of errors and of failures with known properties, for benches and tests of detectors alike."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from core.history import Floats


def stream(kind: str, n: int, rng: np.random.Generator) -> Floats:
    """n values of mean 0 and standard deviation 1; gauss, t3, or ar: correlation .5 of neighbours."""
    if kind == "t3":
        heavy: Floats = rng.standard_t(3, n) / np.sqrt(3)
        return heavy
    values: Floats = rng.normal(size=n + 30)
    if kind == "ar":
        values = np.asarray(lfilter([np.sqrt(0.75)], [1, -0.5], values))
    steady: Floats = values[30:]
    return steady


def ones(share: float, n: int, rng: np.random.Generator) -> Floats:
    """0/1 values, each 1 with that probability."""
    return (rng.random(n) < share).astype(float)


def bursts(share: float, n: int, rng: np.random.Generator) -> Floats:
    """0/1 values, 1 with that probability, each of which repeats the one before in one case of two."""
    fresh = ones(share, n, rng)
    return fresh[np.maximum.accumulate(np.where(rng.random(n) < 0.5, 0, np.arange(n)))]
