"""What answers beside the network: boosted trees, a linear model and the channel's last ten posts. Each sees what the
others do not.

On real channels the mean of them is ahead of each (docs/engagement.md); how much each counts is chosen by
out-of-fold errors (training/calibration.py). They are fitted wherever a version learns from nothing; a version that
starts from another one keeps those of the other, and the weights are chosen anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import ArtifactCorrupt
from core.history import Floats
from core.schemas.predictions import TARGETS
from training.dataset import Dataset
from training.linear import Linear
from training.names import FEATURES, PLACE
from training.trees import Trees

#: Opinions in the order of their weights: the network's, and those of here.
MEMBERS = ("network", "trees", "linear", "recent")


@dataclass(frozen=True, slots=True)
class Peers:
    """The members beside the network."""

    trees: Trees
    linear: Linear

    @classmethod
    def fit(cls, rows: Dataset, seed: int) -> Peers:
        """Learn from rows; the same rows and seed give the same peers."""
        return cls(Trees.fit(rows, seed), Linear.fit(rows))

    def steps(self, x: NDArray[np.float32], ages: NDArray[np.intp]) -> Floats:
        """Each member's step away from the starting point: 3 x n x T; ages: places in KNOWN_AGES_H (n)."""
        return np.stack([self.trees.steps(x), self.linear.steps(x, ages), recent(x)])

    def to_bytes(self) -> bytes:
        """As safetensors."""
        from safetensors.numpy import save

        parts = {"trees": self.trees.arrays(), "linear": self.linear.arrays()}
        return save({f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()})

    @classmethod
    def of(cls, blob: bytes) -> Peers:
        """What `to_bytes` gave; ArtifactCorrupt for anything else."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            flat = load(blob)
            trees, linear = (
                {name.removeprefix(mark): array for name, array in flat.items() if name.startswith(mark)}
                for mark in ("trees.", "linear.")
            )
            return cls(Trees.of(trees, len(FEATURES)), Linear.of(linear))
        except (SafetensorError, KeyError, ValueError) as error:
            raise ArtifactCorrupt(f"the artifact's peers cannot be read: {error!r}") from error


def recent(x: NDArray[np.float32]) -> Floats:
    """From the median of the last 30 matured posts to that of the last 10 (n x T): where a channel's level is moving,
    the shorter median is ahead, and elsewhere it is not; how far to follow is for the weights to say.
    """
    step = x[:, PLACE["recent_10"]].astype(float)
    step[np.isnan(step)] = 0.0
    return np.broadcast_to(step[:, None], (len(x), len(TARGETS)))
