"""How wide the intervals of one channel are beside another's: by how noisy its results have been, and by its size."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.history import Floats, Ints
from training.names import PLACE

Rows = NDArray[np.float32]

#: Widths go with the square root of a channel's spread: the network's own widths follow part of it already.
_POWER = 0.5
#: Matured posts that the usual spread counts for beside a channel's own.
_SPREAD_PRIOR = 10.0
_LEAST_SPREAD = 0.01  # natural log
#: Groups by size, and the channels that the whole counts for beside a group's own.
_GROUPS = 3
_GROUP_PRIOR = 5.0
_LEAST = 5
#: Errors of an early fold shrink to at least this share.
_LEAST_SHRINK = 0.6


@dataclass(frozen=True, slots=True)
class Widths:
    """usual: natural logarithm of the usual spread of the rows calibrated on; NaN: widths are the same everywhere.
    edges: of the groups by size (levels, natural log, ascending); factors: what each group's widths are multiplied by
    (one more).
    """

    usual: float = float("nan")
    edges: Floats = field(default_factory=lambda: np.zeros(0))
    factors: Floats = field(default_factory=lambda: np.ones(1))

    def of(self, x: Rows) -> Floats:
        """What the widths of rows (n x F) are multiplied by (n)."""
        return self._noise(x) * self.factors[self.group(x)]

    def group(self, x: Rows) -> NDArray[np.intp]:
        """Group by size of each row's channel (n); one whose level is not known is in the last."""
        return np.searchsorted(self.edges, x[:, PLACE["level"]])

    def _noise(self, x: Rows) -> Floats:
        """A channel's spread over the usual one, drawn to it where few posts speak, to the power."""
        if np.isnan(self.usual):
            return np.ones(len(x))
        n = np.exp(x[:, PLACE["log_history"]].astype(float))
        apart = (_log_spread(x) - self.usual) * n / (n + _SPREAD_PRIOR)
        apart[np.isnan(apart)] = 0.0
        noise: Floats = np.exp(_POWER * apart)
        return noise

    @classmethod
    def between(cls, x: Rows) -> Widths:
        """With the usual spread and the groups of rows, every group like the others."""
        spread, size = (column[np.isfinite(column)] for column in (_log_spread(x), x[:, PLACE["level"]].astype(float)))
        if not len(spread) or not len(size):
            return cls()
        edges = np.quantile(size, np.arange(1, _GROUPS) / _GROUPS)
        return cls(float(np.median(spread)), edges, np.ones(_GROUPS))

    def with_factors(self, x: Rows, channel: Ints, times: Floats, coverage: float) -> Widths:
        """With each group's factor: the quantile of how many times its (stretched) distance to the interval's end an
        outcome lay from the median (n x T, NaN: not known), drawn to 1 where the group has few channels: the posts of
        one channel, many as they are, do not tell what another of its size does.
        """
        factors, group = np.ones(len(self.factors)), self.group(x)
        for g in range(len(factors)):
            known = np.isfinite(times) & (group == g)[:, None]
            if known.sum() >= _LEAST:
                channels = len(np.unique(channel[known.any(axis=1)]))
                held = channels / (channels + _GROUP_PRIOR)
                factors[g] = max(float(np.quantile(times[known], coverage)), 1e-3) ** held
        return Widths(self.usual, self.edges, factors)


def _log_spread(x: Rows) -> Floats:
    spread: Floats = np.log(np.maximum(x[:, PLACE["spread"]].astype(float), _LEAST_SPREAD))
    return spread


def shrinkage(off: Floats, residual: Floats, fold: Ints) -> Floats:
    """What out-of-fold errors are multiplied by (n), since a fit to more rows errs less.

    off: errors of the median (n x T); residual: errors of the starting point; fold: number of each row's fold (n), in
    order of growing fits. How much of the starting point's error is left, fold by fold, is a learning curve that the
    audience's own changes of noise do not move (both errors see them); made to fall only (isotonic regression by
    pooling, Barlow et al. 1972). Early folds are brought to the last one's level. What the final fit gains over the
    last fold's is not counted: nobody has seen it.
    """
    known, numbers = np.isfinite(off), np.unique(fold)
    counts = np.array([int(known[fold == f].sum()) for f in numbers])
    numbers, counts = numbers[counts > 0], counts[counts > 0]
    out = np.ones(len(off))
    if len(numbers) < 2:
        return out
    left = [
        float(np.abs(off[fold == f][known[fold == f]]).mean())
        / max(float(np.abs(residual[fold == f][known[fold == f]]).mean()), 1e-6)
        for f in numbers
    ]
    curve = _falling(left, counts)
    for f, here in zip(numbers, curve, strict=True):
        out[fold == f] = max(curve[-1] / here, _LEAST_SHRINK) if here > 0 else 1.0
    return out


def _falling(values: list[float], weights: Ints) -> list[float]:
    """The closest sequence that never rises, by pooling adjacent violators."""
    pools: list[tuple[float, float, int]] = []  # (mean, weight, how many)
    for value, weight in zip(values, map(float, weights), strict=True):
        pools.append((value, weight, 1))
        while len(pools) > 1 and pools[-1][0] > pools[-2][0]:
            (a, wa, na), (b, wb, nb) = pools[-2:]
            pools[-2:] = [((a * wa + b * wb) / (wa + wb), wa + wb, na + nb)]
    return [mean for mean, _, many in pools for _ in range(many)]
