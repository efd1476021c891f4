"""How far a model's answers are to be believed, and which member's how much: learned on rows not fitted to."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from core.history import Floats
from core.schemas.predictions import KNOWN_AGES_H, TARGETS
from training.dataset import Dataset

#: Share of outcomes that the interval is to hold.
COVERAGE = 0.8
#: Fewer outcomes than this calibrate nothing by themselves: wider groups are used.
_LEAST = 30
_LEAST_GAP = 1e-4  # natural log
_SHARES = np.linspace(0.0, 1.0, 11)
_PARTS = 4


@dataclass(frozen=True, slots=True)
class Calibration:
    """trust: share of the members' mean step away from the starting point that is taken. stretch: what the distances
    from the median to both ends of the interval are multiplied by. Both targets x known ages. mix: weights of the
    members' steps in that mean, which sum to one: members x known ages; the network comes first.
    """

    trust: Floats
    stretch: Floats
    mix: Floats = field(default_factory=lambda: _alone(1))

    @classmethod
    def none(cls) -> Calibration:
        """Believe the network as it is."""
        shape = (len(TARGETS), len(KNOWN_AGES_H))
        return cls(np.ones(shape), np.ones(shape))

    def apply(self, raw: Floats, ages: NDArray[np.intp], steps: Floats | None = None) -> Floats:
        """Calibrated quantiles (n x T x 3) of the network's; ages: places in KNOWN_AGES_H (n); steps: the peers' (k x n
        x T), where they have a weight. They never cross.
        """
        middle = _mixed(self.mix[:, ages], raw[:, :, 1], steps) * self.trust[:, ages].T
        stretch = self.stretch[:, ages].T
        low = middle - stretch * (raw[:, :, 1] - raw[:, :, 0])
        high = middle + stretch * (raw[:, :, 2] - raw[:, :, 1])
        return np.stack([low, middle, high], axis=2)


def calibrate(rows: Dataset, raw: Floats, steps: Floats | None = None) -> Calibration:
    """From out-of-fold quantiles of rows (n x T x 3) and the peers' out-of-fold steps (k x n x T).

    mix and trust minimise the mean absolute error of the median, a set for each known age (targets pooled: they share
    the network's body); mixes are tried in quarters. stretch is split conformal prediction in the scaled form of
    quantile regression (after Romano, Patterson, Candès 2019; Kivaranovic et al. 2020): the 80 % quantile, corrected
    for the sample's size, of how many times its distance to the interval's end an outcome lay from the median; by
    target and age where there are enough rows, else by target, else over all. A factor, because networks fitted to more
    rows draw narrower intervals, which an added width from the folds would spoil.
    """
    ages = rows.ages
    residual = rows.residual
    opinions = raw[None, :, :, 1] if steps is None else np.concatenate([raw[None, :, :, 1], steps])
    trust, mix = np.ones((len(TARGETS), len(KNOWN_AGES_H))), _alone(len(opinions))
    everything = _best(residual, opinions)
    for a in range(len(KNOWN_AGES_H)):
        here = ages == a
        enough = np.isfinite(residual[here]).sum() >= _LEAST
        trust[:, a], mix[:, a] = _best(residual[here], opinions[:, here]) if enough else everything
    gap_low = np.maximum(raw[:, :, 1] - raw[:, :, 0], _LEAST_GAP)
    gap_high = np.maximum(raw[:, :, 2] - raw[:, :, 1], _LEAST_GAP)
    off = residual - _mixed(mix[:, ages], raw[:, :, 1], steps) * trust[:, ages].T
    times = np.maximum(off / gap_high, -off / gap_low)
    stretch = np.ones_like(trust)
    for t in range(len(TARGETS)):
        for a in range(len(KNOWN_AGES_H)):
            groups = (times[ages == a, t], times[:, t], times.ravel())
            known = [g[np.isfinite(g)] for g in groups]
            stretch[t, a] = _conformal(next((g for g in known if len(g) >= _LEAST), known[-1]))
    return Calibration(trust, stretch, mix)


def _alone(members: int) -> Floats:
    mix = np.zeros((members, len(KNOWN_AGES_H)))
    mix[0] = 1.0
    return mix


def _mixed(mix: Floats, own: Floats, steps: Floats | None) -> Floats:
    """The members' mean step (n x T); mix: members x n."""
    middle: Floats = mix[0][:, None] * own
    if steps is not None:
        for weight, step in zip(mix[1:], steps, strict=True):
            middle = middle + weight[:, None] * step
    return middle


def _best(residual: Floats, opinions: Floats) -> tuple[float, Floats]:
    """The share of a mean step to take and the weights in that mean with the least mean absolute error."""
    known = np.isfinite(residual)
    mixes = _mixes(len(opinions))
    if not known.any():
        return 1.0, mixes[0]
    wanted, given = residual[known], opinions[:, known]
    steps = mixes @ given
    errors = np.array([[np.abs(wanted - share * step).mean() for share in _SHARES] for step in steps])
    best, share = np.unravel_index(int(np.argmin(errors)), errors.shape)
    return float(_SHARES[share]), mixes[best]


def _mixes(members: int) -> Floats:
    """All weights in quarters that sum to one, the first member's alone first."""
    parts = [p for p in product(range(_PARTS, -1, -1), repeat=members) if sum(p) == _PARTS]
    return np.array(parts, dtype=float) / _PARTS


def _conformal(times: Floats) -> float:
    n = len(times)
    if n == 0:
        return 1.0
    rank = min(int(np.ceil((n + 1) * COVERAGE)), n)
    return float(np.sort(times)[rank - 1])
