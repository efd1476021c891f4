"""How much a text is like what a channel publishes, told as a percentile among the channel's own posts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.history import Floats
from training.content.text import Sparse

#: Fewer texts make no topic.
LEAST_TEXTS = 20
#: Newest texts that a channel's topic is made of.
TEXTS = 500


@dataclass(frozen=True)
class Topic:
    """A channel's texts as one sum of unit vectors (Rocchio 1971), and how much each is like the sum of the others.

    total: WIDTH. own: n cosines, sorted. A raw cosine means nothing (short texts have small ones, and so have channels
    of many topics); among the channel's own it does.
    """

    total: Floats
    own: Floats

    @classmethod
    def of(cls, vectors: Sparse) -> Topic:
        """From unit vectors (n x WIDTH); empty ones are left out."""
        vectors = vectors[np.diff(vectors.indptr) > 0]
        total = np.asarray(vectors.sum(axis=0)).ravel()
        return cls(total, np.sort(_likeness(vectors @ total, total, own=True)))

    @property
    def n(self) -> int:
        """How many texts it is made of."""
        return len(self.own)

    def percentiles(self, vectors: Sparse, *, own: bool = False) -> Floats:
        """Share of the channel's own posts that are less like it, equal ones counting half (n, 0..1).

        own: the vectors are among those that the topic was made of; each is then held against the others.
        """
        like = _likeness(vectors @ self.total, self.total, own=own)
        below = np.searchsorted(self.own, like, side="left") + np.searchsorted(self.own, like, side="right")
        share: Floats = below / (2 * max(self.n, 1))
        return share


def _likeness(along: Floats, total: Floats, *, own: bool) -> Floats:
    """Cosines of unit vectors with the sum, given their products with it; own: with the sum of all others."""
    length2 = float(total @ total)
    if not own:
        all_: Floats = along / np.sqrt(max(length2, 1e-12))
        return all_
    others: Floats = (along - 1) / np.sqrt(np.maximum(length2 - 2 * along + 1, 1e-12))
    return others
