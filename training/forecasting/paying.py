"""Whether a member pays: it has a weight only where its errors that came due were smaller by more than chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as t_dist

from core.history import Floats

#: One-sided level of the test, and the fewest channels and spans of a horizon that it is made with.
LEVEL, LEAST_CHANNELS, LEAST_SPANS = 0.975, 4, 3


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A member beside the mixture without it, over the pool's channels, by day (T).

    error: T x 2, sums of absolute errors by origin, of the mixture and of the member, of `counted` (T) origins.
    trust: 0 where the member did not pay by that day, towards 1 the surer it did.
    """

    error: Floats
    counted: Floats
    trust: Floats


def tried(errors: Floats, days: int) -> Trial:
    """errors: C x T x 2 by origin over `days` days, NaN where nothing came due or the member said nothing.

    At day t the differences of origins up to t - days are summed by channel and by spans of `days` days, as errors of
    a channel, and of days whose outcomes overlap, are alike. trust = 1 - t * se / gain, at least 0: se is the greater
    standard error of the two groupings, t Student's quantile with the fewer groups.
    """
    length = errors.shape[1]
    known = np.isfinite(errors[:, :, 0]) & np.isfinite(errors[:, :, 1])
    counted: Floats = known.sum(axis=0).astype(float)
    gain = np.where(known, errors[:, :, 0] - errors[:, :, 1], 0.0)
    trust = np.zeros(length)
    began = int((counted > 0).argmax())
    span = (np.arange(length) - began) // days
    for t in range(began + days, length if counted.any() else 0):
        due, late = slice(t - days + 1), slice(began, t - days + 1)
        by_channel = gain[:, due].sum(axis=1), known[:, due].sum(axis=1).astype(float)
        sums = gain[:, late].sum(axis=0)
        by_span = tuple(np.bincount(span[late], each).astype(float) for each in (sums, counted[late]))
        trust[t] = _trust(by_channel, (by_span[0], by_span[1]))
    error = np.where(known[:, :, None], errors, 0.0).sum(axis=0)
    return Trial(error, counted, trust)


def _trust(by_channel: tuple[Floats, Floats], by_span: tuple[Floats, Floats]) -> float:
    total, number = (float(each.sum()) for each in by_channel)
    groups = [int((n > 0).sum()) for _, n in (by_channel, by_span)]
    if groups[0] < LEAST_CHANNELS or groups[1] < LEAST_SPANS or total <= 0:
        return 0.0
    spread = [
        float(((sums - n * total / number) ** 2).sum()) * k / (k - 1)
        for (sums, n), k in zip((by_channel, by_span), groups, strict=True)
    ]
    bound = float(t_dist.ppf(LEVEL, min(groups) - 1)) * math.sqrt(max(spread))
    return max(0.0, 1.0 - bound / total)
