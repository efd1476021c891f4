"""How far a network's answers are to be believed: learned on rows that it was not fitted to."""

from __future__ import annotations

from dataclasses import dataclass

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
_STEPS = np.linspace(0.0, 1.0, 11)


@dataclass(frozen=True, slots=True)
class Calibration:
    """trust: share of the network's step away from the starting point that is taken. stretch: what the distances from
    the median to both ends of the interval are multiplied by. Both targets x known ages.
    """

    trust: Floats
    stretch: Floats

    @classmethod
    def none(cls) -> Calibration:
        """Believe the network as it is."""
        shape = (len(TARGETS), len(KNOWN_AGES_H))
        return cls(np.ones(shape), np.ones(shape))

    def apply(self, raw: Floats, ages: NDArray[np.intp]) -> Floats:
        """Calibrated quantiles (n x T x 3) of raw ones; ages: places in KNOWN_AGES_H (n). They never cross."""
        middle = raw[:, :, 1] * self.trust[:, ages].T
        stretch = self.stretch[:, ages].T
        low = middle - stretch * (raw[:, :, 1] - raw[:, :, 0])
        high = middle + stretch * (raw[:, :, 2] - raw[:, :, 1])
        return np.stack([low, middle, high], axis=2)


def calibrate(rows: Dataset, raw: Floats) -> Calibration:
    """From out-of-fold quantiles of rows (n x T x 3).

    trust minimises the mean absolute error of the median, one value a known age (targets pooled: they share the
    network's body). stretch is split conformal prediction in the scaled form of quantile regression (after Romano,
    Patterson, Candès 2019; Kivaranovic et al. 2020): the 80 % quantile, corrected for the sample's size, of how many
    times its distance to the interval's end an outcome lay from the median; by target and age where there are enough
    rows, else by target, else over all. A factor, because networks fitted to more rows draw narrower intervals, which
    an added width from the folds would spoil.
    """
    ages = np.searchsorted(KNOWN_AGES_H, rows.known_age)
    residual = rows.residual
    trust = np.ones((len(TARGETS), len(KNOWN_AGES_H)))
    everything = _best_share(residual, raw[:, :, 1])
    for a in range(len(KNOWN_AGES_H)):
        here = ages == a
        enough = np.isfinite(residual[here]).sum() >= _LEAST
        trust[:, a] = _best_share(residual[here], raw[here][:, :, 1]) if enough else everything
    gap_low = np.maximum(raw[:, :, 1] - raw[:, :, 0], _LEAST_GAP)
    gap_high = np.maximum(raw[:, :, 2] - raw[:, :, 1], _LEAST_GAP)
    off = residual - raw[:, :, 1] * trust[:, ages].T
    times = np.maximum(off / gap_high, -off / gap_low)
    stretch = np.ones_like(trust)
    for t in range(len(TARGETS)):
        for a in range(len(KNOWN_AGES_H)):
            groups = (times[ages == a, t], times[:, t], times.ravel())
            known = [g[np.isfinite(g)] for g in groups]
            stretch[t, a] = _conformal(next((g for g in known if len(g) >= _LEAST), known[-1]))
    return Calibration(trust, stretch)


def _best_share(residual: Floats, middle: Floats) -> float:
    known = np.isfinite(residual)
    if not known.any():
        return 1.0
    errors = [float(np.abs(residual[known] - share * middle[known]).mean()) for share in _STEPS]
    return float(_STEPS[int(np.argmin(errors))])


def _conformal(times: Floats) -> float:
    n = len(times)
    if n == 0:
        return 1.0
    rank = min(int(np.ceil((n + 1) * COVERAGE)), n)
    return float(np.sort(times)[rank - 1])
