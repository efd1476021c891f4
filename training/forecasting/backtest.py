"""What each member would have said at earlier moments, beside what came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from core.history import Floats
from training.forecasting.batch import Batch

#: Values that a series has before an origin at the least, and better two seasons.
_LEAST_PAST = 5
#: Origins that share one fit of what learns from all series.
_REFIT = 4


class Member(Protocol):
    """Forecasts each series from itself alone: n x H points from a batch. It must not write to the batch."""

    def __call__(self, batch: Batch, horizon: int, /) -> Floats:
        """The next `horizon` points of each series (n x H)."""
        ...


class Learner(Protocol):
    """Learns from all series of a batch together how to forecast any of them."""

    def fit(self, batch: Batch, horizon: int, /) -> Member:
        """A member that has seen this batch and nothing later."""
        ...


@dataclass(frozen=True, eq=False)
class Backtest:
    """Forecasts from K origins and from the present, by M members, of n series.

    names: M. origins: K, steps before the end, the latest first. points: K x M x n x H, what was forecast then. truth:
    K x n x H, NaN where nothing is known or where the series was too short at that origin. unit: K x n, the series'
    scale as known at the origin (see Batch.scale). ahead: M x n x H, the forecasts from the present.
    """

    names: tuple[str, ...]
    origins: tuple[int, ...]
    points: Floats
    truth: Floats
    unit: Floats
    ahead: Floats

    @property
    def errors(self) -> Floats:
        """truth - points in units of the series (K x M x n x H); NaN where there is no truth."""
        result: Floats = (self.truth[:, None] - self.points) / self.unit[:, None, :, None]
        return result


def rolling_origins(batch: Batch, horizon: int, count: int, most: int | None = None) -> tuple[int, ...]:
    """Up to `count` origins, in steps before the end, latest first; `most` where so many fit in a horizon apart.

    The latest leaves a whole horizon to compare with, or half of what the longest series can spare where that is less.
    They lie a whole horizon apart as far as there is room (errors that do not overlap tell more), at least a step.
    """
    room = batch.length - _least_past(batch)
    first = min(horizon, max(room // 2, 1))
    if room < first:
        return ()
    count = most if most and room // horizon >= most else count
    step = max(min(horizon, (room - first) // max(count - 1, 1)), 1)
    return tuple(o for o in range(first, first + count * step, step) if o <= room)


def backtest(
    batch: Batch,
    horizon: int,
    origins: Sequence[int],
    members: Mapping[str, Member],
    learners: Mapping[str, Learner] | None = None,
) -> Backtest:
    """Run all members at all origins and at the present.

    All origins are one batch of truncated copies, so each member runs once. Learners are fitted on everything for the
    present, and for every _REFIT origins on what was known at the oldest of them.
    """
    learners = learners or {}
    copies = [batch.values, *(_delayed(batch.values, o) for o in origins)]
    stacked = Batch(np.concatenate(copies), batch.season, len(copies))
    k, n = len(origins), batch.n
    names = (*members, *learners)
    found = np.empty((k + 1, len(names), n, horizon))
    for m, member in enumerate(members.values()):
        found[:, m] = member(stacked, horizon).reshape(k + 1, n, horizon)
    for m, learner in enumerate(learners.values(), start=len(members)):
        for first in (0, *range(1, k + 1, _REFIT)):
            end = first + 1 if first == 0 else min(first + _REFIT, k + 1)
            fitted = learner.fit(batch.before((0, *origins)[end - 1]), horizon)
            found[first:end, m] = fitted(stacked.blocks(first, end), horizon).reshape(-1, n, horizon)
    units = stacked.scale.reshape(k + 1, n)
    return Backtest(names, tuple(origins), found[1:], _truth(batch, horizon, origins), units[1:], found[0])


def _delayed(values: Floats, steps: int) -> Floats:
    """The series as they were so many steps ago, at the same width."""
    empty = np.full((len(values), steps), np.nan)
    return np.concatenate([empty, values[:, : values.shape[1] - steps]], axis=1)


def _truth(batch: Batch, horizon: int, origins: Sequence[int]) -> Floats:
    least = _least_past(batch)
    result = np.full((len(origins), batch.n, horizon), np.nan)
    for k, origin in enumerate(origins):
        known = min(horizon, origin)
        begin = batch.length - origin
        enough = np.isfinite(batch.values[:, :begin]).sum(axis=1) >= least
        result[k, enough, :known] = batch.values[enough, begin : begin + known]
    return result


def _least_past(batch: Batch) -> int:
    return max(_LEAST_PAST, min(2 * batch.season, batch.length // 3))
