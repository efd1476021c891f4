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
_STEPS = np.linspace(0.0, 1.0, 11)


@dataclass(frozen=True, slots=True)
class Calibration:
    """trust: share of the network's step away from the starting point that is taken. widen: what is added on both sides
    of the interval, natural log. Both targets x known ages.
    """

    trust: Floats
    widen: Floats

    @classmethod
    def none(cls) -> Calibration:
        """Believe the network as it is."""
        shape = (len(TARGETS), len(KNOWN_AGES_H))
        return cls(np.ones(shape), np.zeros(shape))

    def apply(self, raw: Floats, ages: NDArray[np.intp]) -> Floats:
        """Calibrated quantiles (n x T x 3) of raw ones; ages: places in KNOWN_AGES_H (n). They never cross."""
        middle = raw[:, :, 1] * self.trust[:, ages].T
        wider = self.widen[:, ages].T
        low = np.minimum(middle - (raw[:, :, 1] - raw[:, :, 0]) - wider, middle)
        high = np.maximum(middle + (raw[:, :, 2] - raw[:, :, 1]) + wider, middle)
        return np.stack([low, middle, high], axis=2)


def calibrate(rows: Dataset, raw: Floats) -> Calibration:
    """From out-of-fold quantiles of rows (n x T x 3).

    trust minimises the mean absolute error of the median, one value a known age (targets pooled: they share the
    network's body). widen is split conformal prediction for quantiles (Romano, Patterson, Candès 2019): the 80 %
    quantile, corrected for the sample's size, of how far outcomes fell outside the interval; by target and age where
    there are enough rows, else by target, else over all.
    """
    ages = np.searchsorted(KNOWN_AGES_H, rows.known_age)
    residual = rows.residual
    trust = np.ones((len(TARGETS), len(KNOWN_AGES_H)))
    everything = _best_share(residual, raw[:, :, 1])
    for a in range(len(KNOWN_AGES_H)):
        here = ages == a
        enough = np.isfinite(residual[here]).sum() >= _LEAST
        trust[:, a] = _best_share(residual[here], raw[here][:, :, 1]) if enough else everything
    trusted = Calibration(trust, np.zeros_like(trust)).apply(raw, ages)
    outside = np.maximum(trusted[:, :, 0] - residual, residual - trusted[:, :, 2])
    widen = np.zeros_like(trust)
    for t in range(len(TARGETS)):
        for a in range(len(KNOWN_AGES_H)):
            groups = (outside[ages == a, t], outside[:, t], outside.ravel())
            known = [g[np.isfinite(g)] for g in groups]
            widen[t, a] = _conformal(next((g for g in known if len(g) >= _LEAST), known[-1]))
    return Calibration(trust, widen)


def _best_share(residual: Floats, middle: Floats) -> float:
    known = np.isfinite(residual)
    if not known.any():
        return 1.0
    errors = [float(np.abs(residual[known] - share * middle[known]).mean()) for share in _STEPS]
    return float(_STEPS[int(np.argmin(errors))])


def _conformal(outside: Floats) -> float:
    n = len(outside)
    if n == 0:
        return 0.0
    rank = min(int(np.ceil((n + 1) * COVERAGE)), n)
    return float(np.sort(outside)[rank - 1])
