"""Heights of cumulative sums for a stated rate of false alarms, when the reference itself is uncertain.

A sum of increments of mean -d that is started again after each alarm raises one in every

    (exp(t b) - 1 - t b) / (t d)    rows, b = height + overshoot,

where t solves E exp(t (increment - d)) = 1 (Siegmund, Sequential Analysis, 1985, chapter 10, with the distribution's
own exponent, Lundberg's, in place of the Gaussian one). The rate is averaged over what the reference leaves open: the
mean of the stream, and its long-run deviation. With a short reference alarms come later, not falsely.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaincinv, ndtr

from actors.adaptive_learning.drift.dependence import LongRun
from core.history import Floats

#: Sums whose slacks differ twofold often rise together: of their alarms counted apart, at most this part is left when
#: each starts all of them again (Gaussian steps .74, .80 and Bernoulli steps .81, .84 at 100 and 10 per 100,000).
JOINT = 0.9
#: Slacks that are tried, as multiples of the one that is best when the mean is known.
WIDER = (1.0, 1.15, 1.3, 1.5)
#: Points of a standard normal that the averages are taken over, and their weights.
_POINTS = np.linspace(-5.0, 5.0, 41)
_WEIGHTS = np.exp(-(_POINTS**2) / 2) / np.exp(-(_POINTS**2) / 2).sum()
_FEW, _FEW_WEIGHTS = _POINTS[::4], _WEIGHTS[::4] / _WEIGHTS[::4].sum()
#: Exponents, per deviation of an increment.
_EXPONENTS = np.concatenate([-np.geomspace(4.0, 1e-3, 60), np.geomspace(1e-3, 4.0, 60)])
_LARGEST = 1e7


class Heights:
    """Heights for one-sided sums of (values - slack), for values of a long-run law known from a reference."""

    def __init__(self, law: LongRun, reference: int) -> None:
        self._law = law
        self._exponents = _EXPONENTS / law.deviation
        moments = np.mean(np.exp(self._exponents[:, None] * law.increments), axis=1)
        self._drifts = np.log(moments) / self._exponents
        self._reference = reference

    def at(self, slack: float, rate: float, known: float) -> float:
        """Exceeded `rate` times a row; `known`: values that the mean was learned from, at least the reference's."""
        scales = np.exp(self._law.uncertainty * _FEW)
        drifts = slack - np.outer(_POINTS, scales) * self._law.deviation / np.sqrt(known)
        exponents = np.interp(drifts / scales, self._drifts, self._exponents) / scales
        return _solve(exponents, drifts, _WEIGHTS[:, None] * _FEW_WEIGHTS, rate, self._law.overshoot)


def bernoulli_height(slack: float, rate: float, failures: float, known: float, overshoot: float) -> float:
    """Height for sums of (0/1 - slack), the share of ones known from `failures` among `known`.

    Averaged over the confidence distribution that Clopper and Pearson's upper limits come from: with few failures a
    middle one (Jeffreys') takes the share for too low, too often.
    """
    possible = betaincinv(failures + 1.0, max(known - failures, 1e-3), ndtr(_POINTS))
    # exp(t slack) = 1 - share + share exp(t), solved for the share; it falls as t rises.
    t = np.concatenate([-np.geomspace(12.0, 1e-3, 600), np.geomspace(1e-3, 12.0, 600)])
    share = np.expm1(t * slack) / np.expm1(t)
    exponents = np.interp(possible, share[::-1], t[::-1])
    return _solve(exponents, slack - possible, _WEIGHTS, rate, overshoot)


def soonest(shift: float, slacks: Sequence[float], height: Callable[[float], float]) -> float:
    """The slack with which a sum reaches its height first after the shift, on average."""
    delays = {slack: height(slack) / (shift - slack) for slack in slacks if slack < shift}
    return min(delays, key=delays.__getitem__)


def _solve(exponents: Floats, drifts: Floats, weights: Floats, rate: float, overshoot: float) -> float:
    exponents = np.where(np.abs(exponents) < 1e-4, 1e-4, exponents)
    product = np.maximum(exponents * drifts, 1e-9)  # both change sign together

    def excess(b: float) -> float:
        u = np.minimum(exponents * b, 500.0)
        return float(np.log(np.sum(weights * product / (np.expm1(u) - u)) / rate))

    lower = upper = 1.0
    while excess(upper) > 0 and upper < _LARGEST:
        lower, upper = upper, 2.0 * upper
    found = brentq(excess, lower, upper, rtol=1e-4) if excess(lower) > 0 > excess(upper) else upper
    return max(float(found) - overshoot, 1.0)
