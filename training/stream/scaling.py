"""How raw columns become bounded inputs of a network: running normalisation, clipping, piecewise-linear steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.history import Floats

#: Normalised values are kept within this many standard deviations.
CLIP = 5.0
#: About as many steps in all columns together; a column has LEAST to MOST of them.
BUDGET, LEAST, MOST = 256, 2, 16
_FLAT = 1e-9
#: Once a column has _SETTLED rows, its moments take in values within _REACH standard deviations of the mean only.
_SETTLED, _REACH = 100, 20.0
#: Larger magnitudes are taken for damage and left out, for their squares overflow.
_ABSURD = 1e100

Inputs = NDArray[np.float32]


class RunningScale:
    """Mean and standard deviation of each column over about the last `keep` rows.

    Values that are not finite (or absurdly large) are left out of the moments and come out as 0 (NaN) or at the clip.
    A column without spread comes out as 0.
    """

    def __init__(self, features: int, keep: float) -> None:
        self.keep = keep
        self.count = np.zeros(features)
        self.mean = np.zeros(features)
        self.variance = np.zeros(features)
        self._inverse: Floats | None = None

    def update(self, x: Floats) -> None:
        """Move the moments by rows (n x F); old rows count for at most `keep`."""
        known = np.abs(x) < _ABSURD  # False for NaN too
        if (self.count >= _SETTLED).any():
            # One wild value must not make every later row look the same; a real shift still gets through in steps.
            reach = np.where((self.count >= _SETTLED) & ~self._flat(), _REACH * np.sqrt(self.variance), np.inf)
            x = np.minimum(np.maximum(x, self.mean - reach), self.mean + reach)
        n = known.sum(axis=0)
        filled = np.where(known, x, 0.0)
        mean = filled.sum(axis=0) / np.maximum(n, 1)
        variance = (np.where(known, x - mean, 0.0) ** 2 if not known.all() else (x - mean) ** 2).sum(axis=0)
        variance = variance / np.maximum(n, 1)
        before = np.minimum(self.count, self.keep)
        new = n / np.maximum(before + n, 1)
        gap = mean - self.mean
        self.variance = (1 - new) * self.variance + new * variance + new * (1 - new) * gap * gap
        self.mean = self.mean + new * gap
        self.count = before + n
        self._inverse = None

    def __call__(self, x: Floats) -> Floats:
        """Normalised rows (... x F), each within CLIP."""
        if self._inverse is None:
            flat = self._flat()
            self._inverse = np.where(flat, 0.0, 1 / np.sqrt(np.where(flat, 1.0, self.variance)))
        with np.errstate(invalid="ignore"):
            z: Floats = np.minimum(np.maximum((x - self.mean) * self._inverse, -CLIP), CLIP)
        unknown = np.isnan(z)
        if unknown.any():
            z[unknown] = 0.0
        return z

    def _flat(self) -> NDArray[np.bool_]:
        flat: NDArray[np.bool_] = self.variance <= _FLAT * (1 + self.mean**2)
        return flat


class Encoder:
    """Running normalisation followed by a piecewise-linear encoding of each column.

    A column becomes its normalised value and, for each interval between neighbouring quantiles of the first rows, how
    far the value has gone through it (0..1). Small networks then bend where the data are instead of having to learn
    where. (Gorishniy et al. 2022, "On embeddings for numerical features in tabular deep learning".)
    """

    def __init__(self, features: int, keep: float) -> None:
        self.features = features
        self.scale = RunningScale(features, keep)
        self.column = np.empty(0, dtype=np.int64)
        self.low = np.empty(0, dtype=np.float32)
        self.slope = np.empty(0, dtype=np.float32)

    @property
    def width(self) -> int:
        """Inputs that come out for one row."""
        return self.features + len(self.column)

    def fit(self, x: Floats) -> None:
        """Set moments and intervals from the first rows; the intervals stay, the moments move with `update`."""
        self.scale.update(x)
        z = self.scale(x)
        steps = int(np.clip(BUDGET // self.features, LEAST, MOST))
        columns, lows, slopes = [], [], []
        for j in range(self.features):
            edges = np.unique(np.quantile(z[:, j], np.linspace(0, 1, steps + 1)))
            # Neighbours closer than rounding would make a step of infinite slope.
            edges = edges[np.concatenate([[True], np.diff(edges) > 1e-6])]
            if len(edges) > 2:
                columns += [j] * (len(edges) - 1)
                lows += edges[:-1].tolist()
                slopes += (1 / np.diff(edges)).tolist()
        self.column = np.array(columns, dtype=np.int64)
        self.low, self.slope = np.array(lows, dtype=np.float32), np.array(slopes, dtype=np.float32)

    def update(self, x: Floats) -> None:
        """Move the normalisation by rows (n x F)."""
        self.scale.update(x)

    def __call__(self, x: Floats) -> Inputs:
        """Inputs (... x width) of rows (... x F)."""
        z = self.scale(x).astype(np.float32)
        if not len(self.column):
            return z
        steps = np.minimum(np.maximum((z[..., self.column] - self.low) * self.slope, 0), 1)
        return np.concatenate([z, steps], axis=-1)

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything as arrays."""
        s = self.scale
        moments = {"count": s.count, "mean": s.mean, "variance": s.variance}
        return moments | {"column": self.column, "low": self.low, "slope": self.slope}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state."""
        s = self.scale
        s.count, s.mean, s.variance = state["count"].copy(), state["mean"].copy(), state["variance"].copy()
        s._inverse = None
        self.column, self.low, self.slope = state["column"], state["low"], state["slope"]
