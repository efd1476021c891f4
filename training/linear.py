"""A linear opinion for each known age: robust ridge regression of the residuals, which little data suffices for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.history import Floats
from core.schemas.predictions import KNOWN_AGES_H, TARGETS
from training.dataset import Dataset
from training.names import CADENCE, CHANNEL_MARKS, FEATURES, PLACE, TIME

#: Pseudo-rows that hold each weight at zero, inputs being in standard deviations.
_RIDGE = 100.0
#: The same for the clock and the cadence. What the hour does to early views (posts of the night gather theirs later) is
#: the largest effect after publishing and common to all channels.
_RIDGE_CLOCK = 10.0
#: Errors up to this many median absolute residuals count by their square, beyond it by their size (Huber): the median
#: is to be met, not the mean, and a few posts that went viral must not turn the weights.
_HUBER = 1.0
_ROUNDS = 12
#: Largest step, natural log.
_LIMIT = 1.0
#: Inputs are kept within this many standard deviations.
_CLIP = 5.0
_LEAST = 40


@dataclass(frozen=True, slots=True)
class Linear:
    """mean, scale: A x F; weights: A x T x F on standardised inputs (not known: the mean); start: A x T."""

    mean: Floats
    scale: Floats
    weights: Floats
    start: Floats

    @classmethod
    def fit(cls, rows: Dataset) -> Linear:
        """Huber's loss (1964) with a ridge (Hoerl, Kennard 1970) by known age and target; none below _LEAST rows.

        What marks a channel rather than a post is left out, as it is for the network (names.CHANNEL_MARKS).
        """
        ages, width = len(KNOWN_AGES_H), len(FEATURES)
        mean, scale = np.zeros((ages, width)), np.ones((ages, width))
        weights, start = np.zeros((ages, len(TARGETS), width)), np.zeros((ages, len(TARGETS)))
        residual = rows.residual
        for a, age in enumerate(KNOWN_AGES_H):
            here = rows.known_age == age
            if here.sum() < _LEAST:
                continue
            mean[a], scale[a] = _moments(rows.x[here].astype(float))
            z = _standard(rows.x[here].astype(float), mean[a], scale[a])
            z[:, [PLACE[name] for name in CHANNEL_MARKS]] = 0.0
            for t in range(len(TARGETS)):
                known = np.isfinite(residual[here, t])
                if known.sum() >= _LEAST:
                    start[a, t], weights[a, t] = _ridge(z[known], residual[here, t][known], rows.weight[here][known])
        return cls(mean, scale, weights, start)

    def steps(self, x: NDArray[np.float32], ages: NDArray[np.intp]) -> Floats:
        """Steps away from the starting point (n x T, natural log); ages: places in KNOWN_AGES_H (n)."""
        z = self.inputs(x, ages)
        steps: Floats = self.start[ages] + np.einsum("ntf,nf->nt", self.weights[ages], z)
        return np.clip(steps, -_LIMIT, _LIMIT)

    def inputs(self, x: NDArray[np.float32], ages: NDArray[np.intp]) -> Floats:
        """Features in standard deviations of their age, zero where not known (n x F)."""
        return _standard(x.astype(float), self.mean[ages], self.scale[ages])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it, to be stored."""
        return {name: np.ascontiguousarray(getattr(self, name)) for name in ("mean", "scale", "weights", "start")}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Linear:
        """What `arrays` gave; ValueError or KeyError where it does not fit together."""
        ages, width = len(KNOWN_AGES_H), len(FEATURES)
        shapes: dict[str, tuple[int, ...]] = {
            "mean": (ages, width),
            "scale": (ages, width),
            "weights": (ages, len(TARGETS), width),
            "start": (ages, len(TARGETS)),
        }
        found = {name: np.asarray(arrays[name], dtype=float) for name in shapes}
        if any(found[name].shape != shape or not np.isfinite(found[name]).all() for name, shape in shapes.items()):
            raise ValueError("a linear part of another shape")
        return cls(**found)


def _moments(x: Floats) -> tuple[Floats, Floats]:
    known = np.isfinite(x)
    n = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, x, 0.0).sum(axis=0) / n
    scale = np.sqrt(np.where(known, (x - mean) ** 2, 0.0).sum(axis=0) / n)
    # A column that never moved carries nothing: dividing by its rounding error would make noise of it.
    return mean, np.where(scale < 1e-4, 1.0, scale)


def _standard(x: Floats, mean: Floats, scale: Floats) -> Floats:
    z: Floats = np.where(np.isnan(x), 0.0, np.clip((x - mean) / scale, -_CLIP, _CLIP))
    return z


def _ridge(z: Floats, y: Floats, weight: Floats) -> tuple[float, Floats]:
    """Start and weights, by least squares weighted anew in each round (IRLS)."""
    held = np.full(z.shape[1], _RIDGE)
    held[[PLACE[name] for name in (*TIME, *CADENCE)]] = _RIDGE_CLOCK
    cut = max(_HUBER * float(np.median(np.abs(y - np.median(y)))), 1e-4)
    given = weight / weight.mean()
    w = given
    for _ in range(_ROUNDS):
        centre_z, centre_y = (w @ z) / w.sum(), float(w @ y / w.sum())
        d = z - centre_z
        weights = np.linalg.solve((d * w[:, None]).T @ d + np.diag(held), d.T @ (w * (y - centre_y)))
        start = centre_y - float(centre_z @ weights)
        w = given * np.minimum(1.0, cut / np.maximum(np.abs(y - start - z @ weights), 1e-9))
    return start, weights
