"""A light corrector on top of a network that stays as it is: learns from every outcome, one at a time.

For each target and known age it keeps an exponentially weighted ridge regression of the error of the network's median
on a constant, the network's own step away from the channel's usual, and the channel's size; and a factor for the
interval, moved up by an outcome outside and down by one inside. Its size does not depend on how much it has seen, and
what it does to an answer is bounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import ArtifactCorrupt
from core.history import Floats, Ints
from core.schemas.predictions import KNOWN_AGES_H, TARGETS
from training.calibration import COVERAGE
from training.names import PLACE

#: Outcomes after which one counts half.
HALF_LIFE = 200.0
#: Outcomes that the wish to correct nothing counts for.
RIDGE = 40.0
#: An error counts for at most so many half-widths of the interval: the median is to be met, not the mean.
LIMIT_ERROR = 1.5
#: Largest correction of a median, natural log, and of the interval's width, as a factor and its inverse.
LIMIT, LIMIT_STRETCH = 0.7, 3.0
#: Step of the interval's factor for each outcome, natural log.
GAIN = 0.03

_SHAPE = (len(TARGETS), len(KNOWN_AGES_H))
_INPUTS = 3
#: The channel's size enters as (log views - centre) / unit, clipped; a thousand views are the middle.
_SIZE, _CENTRE, _UNIT = PLACE["level"], math.log(1000.0), 2.0

Rows = NDArray[np.float32]


@dataclass(slots=True)
class Corrector:
    """moments: T x A x 3 x 3 and products: T x A x 3, weighted sums; stretch: T x A, log of the interval's factor;
    n: T x A, outcomes learned from.

    Weighted least squares with a ridge that is not forgotten: plain recursive least squares with forgetting would lose
    what it knows of inputs that stay the same (wind-up). The interval follows Gibbs & Candès 2021, "Adaptive conformal
    inference under distribution shift", as a factor.
    """

    moments: Floats = field(default_factory=lambda: np.zeros((*_SHAPE, _INPUTS, _INPUTS)))
    products: Floats = field(default_factory=lambda: np.zeros((*_SHAPE, _INPUTS)))
    stretch: Floats = field(default_factory=lambda: np.zeros(_SHAPE))
    n: Ints = field(default_factory=lambda: np.zeros(_SHAPE, dtype=np.int64))
    _weights: Floats = field(init=False)

    def __post_init__(self) -> None:
        solved = np.linalg.solve(self.moments + RIDGE * np.eye(_INPUTS), self.products[..., None])
        self._weights = np.asarray(solved[..., 0], dtype=float)

    def apply(self, quantiles: Floats, x: Rows, ages: NDArray[np.intp]) -> Floats:
        """Corrected quantiles (n x T x 3, residual logs) of a network's; ages: places in KNOWN_AGES_H (n)."""
        inputs = _inputs(quantiles[:, :, 1], x)
        shift = np.clip((inputs * self._weights[:, ages].transpose(1, 0, 2)).sum(axis=2), -LIMIT, LIMIT)
        middle = quantiles[:, :, 1] + shift
        factor = np.exp(self.stretch[:, ages].T)
        low = middle - factor * (quantiles[:, :, 1] - quantiles[:, :, 0])
        high = middle + factor * (quantiles[:, :, 2] - quantiles[:, :, 1])
        return np.stack([low, middle, high], axis=2)

    def learn(self, quantiles: Floats, x: Rows, ages: NDArray[np.intp], actual: Floats, known_at: Ints) -> int:
        """Take outcomes in the order in which they became known; how many.

        quantiles: the network's own (n x T x 3). actual: n x T residual logs, NaN where there is none. known_at: n x T.
        """
        inputs = _inputs(quantiles[:, :, 1], x)
        rows, targets = np.nonzero(np.isfinite(actual))
        order = np.lexsort((targets, rows, known_at[rows, targets]))
        for i, t in zip(rows[order], targets[order], strict=True):
            self._one(int(t), int(ages[i]), inputs[i, t], quantiles[i, t], float(actual[i, t]))
        return len(order)

    def _one(self, t: int, a: int, inputs: Floats, quantiles: Floats, actual: float) -> None:
        weights = self._weights[t, a]
        shift = min(max(float(inputs @ weights), -LIMIT), LIMIT)
        factor = math.exp(self.stretch[t, a])
        low, middle, high = (float(q) for q in quantiles)
        error = actual - middle
        inside = factor * (low - middle) <= error - shift <= factor * (high - middle)
        edge = math.log(LIMIT_STRETCH)
        moved = self.stretch[t, a] + GAIN * (COVERAGE - 1 if inside else COVERAGE)
        self.stretch[t, a] = min(max(moved, -edge), edge)
        # Clipped around the present answer, so that a lasting shift is followed however large it is.
        reach = LIMIT_ERROR * max((high - low) / 2, 1e-3)
        error = shift + min(max(error - shift, -reach), reach)
        keep = 0.5 ** (1 / HALF_LIFE)
        self.moments[t, a] = keep * self.moments[t, a] + np.outer(inputs, inputs)
        self.products[t, a] = keep * self.products[t, a] + error * inputs
        self.n[t, a] += 1
        self._weights[t, a] = np.linalg.solve(self.moments[t, a] + RIDGE * np.eye(_INPUTS), self.products[t, a])

    def copy(self) -> Corrector:
        """One that learns on without changing this one."""
        return Corrector(self.moments.copy(), self.products.copy(), self.stretch.copy(), self.n.copy())

    def to_plain(self) -> dict[str, Any]:
        """As lists, for JSON; the numbers come back as they were."""
        return {name: getattr(self, name).tolist() for name in ("moments", "products", "stretch", "n")}

    @classmethod
    def from_plain(cls, stored: Any) -> Corrector:
        """The corrector in stored lists; ArtifactCorrupt when they are none."""
        shapes = {"moments": (*_SHAPE, _INPUTS, _INPUTS), "products": (*_SHAPE, _INPUTS), "stretch": _SHAPE}
        try:
            arrays = {name: np.array(stored[name], dtype=float).reshape(shape) for name, shape in shapes.items()}
            counts = np.array(stored["n"], dtype=np.int64).reshape(_SHAPE)
            fine = all(bool(np.isfinite(array).all()) for array in arrays.values())
            made = cls(arrays["moments"], arrays["products"], arrays["stretch"], counts)
        except (KeyError, TypeError, ValueError, np.linalg.LinAlgError) as error:
            raise ArtifactCorrupt(f"the stored corrector cannot be read: {error!r}") from error
        if not fine or np.abs(made.stretch).max() > math.log(LIMIT_STRETCH) + 1e-9:
            raise ArtifactCorrupt("the stored corrector holds numbers that no corrector can reach")
        return made


def _inputs(middle: Floats, x: Rows) -> Floats:
    """n x T x 3: a constant, the network's step, the channel's size."""
    size = np.nan_to_num((x[:, _SIZE].astype(float) - _CENTRE) / _UNIT, nan=0.0)
    columns = np.broadcast_arrays(np.ones_like(middle), np.clip(middle, -2, 2), np.clip(size, -3, 3)[:, None])
    return np.stack(columns, axis=2)
