"""How much neighbours of a stream resemble each other, and what the mean of many of them therefore varies by.

An autoregression fitted by Yule-Walker, its order by the criterion of Hannan and Quinn, turns the stream into
innovations; they and the sum of its coefficients give the long-run variance (prewhitening: Andrews and Monahan,
Econometrica 60, 1992) and, with the coefficients' own covariance, how uncertain it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import solve_toeplitz, toeplitz

from core.history import Floats


@dataclass(frozen=True, slots=True)
class LongRun:
    """A stream's sums over many rows, as if of independent increments.

    increments: innovations / (1 - sum of the coefficients), mean 0 (n). deviation: their standard deviation, in
    deviations of one value; at least 1. uncertainty: standard error of its logarithm. overshoot: rows' worth of
    values by which a sum has passed a height when it is seen above it, or has left zero.
    """

    increments: Floats
    deviation: float
    uncertainty: float
    overshoot: float

    def mirrored(self) -> LongRun:
        """Of the stream with its sign changed."""
        return replace(self, increments=-self.increments)


#: Expected excess of a Gaussian random walk over a height, at both ends of an excursion (Siegmund 1985: 2 x .583).
_EXCESS = 1.166
#: Largest sum of coefficients; beyond, a stream is as good as a random walk, and has no mean to leave.
_MOST = 0.95


def long_run(z: Floats) -> LongRun:
    """From values of mean 0 and variance 1 in order of time (n, at least a few dozen).

    Where neighbours seem to repel each other they are taken as independent: falling short of the variance by chance
    would raise false alarms.
    """
    n = len(z)
    coefficients, error = _autoregression(z)
    order = len(coefficients)
    innovations = z[order:].copy()
    for lag, coefficient in enumerate(coefficients, 1):
        innovations -= coefficient * z[order - lag : n - lag]
    innovations -= innovations.mean()
    persistence = float(coefficients.sum())
    # Yule-Walker's bias, -(1 + 4 sum) / n for order one (Shaman and Stine, JASA 83, 1988); each further order that is
    # not needed adds about 1.5 (1 - sum) / n to it (simulated, orders to 8).
    bias = 1.0 + 4.0 * persistence + 1.5 * (order - 1) * (1.0 - persistence)
    persistence = min(persistence + bias / n, _MOST)
    gain = 1.0 - persistence
    increments = innovations / gain
    spread = float(increments.std(ddof=order))
    deviation = max(spread, 1.0)
    kurtosis = float(np.mean(innovations**4) / np.mean(innovations**2) ** 2)
    relative = max(kurtosis - 1.0, 0.0) / n + 4.0 * error / gain**2  # of the long-run variance
    # A sum differs from that of its increments by a multiple of the last values, near 1 where a height is passed.
    lagging = float(np.arange(1, order + 1) @ coefficients) / gain
    overshoot = _EXCESS * deviation + 2.0 * max(lagging, 0.0)
    uncertainty = 0.5 * float(np.sqrt(relative))
    # It grows with the dependence: taken where that is two standard errors stronger, lest too low an estimate also
    # seem too sure.
    uncertainty *= float(np.exp(min(2.0 * uncertainty, 1.0)))
    return LongRun(increments * (deviation / spread), deviation, uncertainty, overshoot)


def _autoregression(z: Floats) -> tuple[Floats, float]:
    """Coefficients (at least one), and the variance of their sum's estimate."""
    n = len(z)
    most = min(int(10 * np.log10(n)), n // 10)
    covariances = np.array([z[: n - lag] @ z[lag:] for lag in range(most + 1)]) / n
    best: tuple[float, Floats, float] | None = None
    for order in range(1, most + 1):
        coefficients = solve_toeplitz(covariances[:order], covariances[1 : order + 1])
        variance = float(covariances[0] - coefficients @ covariances[1 : order + 1])
        criterion = n * float(np.log(max(variance, 1e-12))) + 2 * order * float(np.log(np.log(n)))
        if best is None or criterion < best[0]:
            best = criterion, coefficients, variance
    assert best is not None
    _, coefficients, variance = best
    order = len(coefficients)
    ones = np.ones(order)
    error = variance * float(ones @ np.linalg.solve(toeplitz(covariances[:order]), ones)) / n
    if coefficients.sum() > _MOST:
        coefficients = coefficients * (_MOST / coefficients.sum())
    return coefficients, error
