"""Which keys an import has met before: of rows with one key the first counts, also across transactions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.history import Ints

_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9))


class SeenKeys:
    """A set of integer keys at eight bytes a key: 64-bit hashes in sorted runs that are merged as they grow.

    Two different keys share a hash with probability n**2 / 2**65: 3e-8 for a million rows.
    """

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []

    def add(self, *parts: Ints) -> NDArray[np.bool_]:
        """Add keys given column by column; True for rows whose key was met before, in this call or earlier."""
        hashes = _hash(parts)
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        repeated = np.zeros(len(hashes), dtype=bool)
        repeated[order[1:]] = ordered[1:] == ordered[:-1]
        for run in self._runs:
            at = np.searchsorted(run, hashes)
            at[at == len(run)] = 0
            repeated |= run[at] == hashes
        self._append(np.unique(hashes[~repeated]))
        return repeated

    def _append(self, run: NDArray[np.uint64]) -> None:
        if not len(run):
            return
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]))
        self._runs.append(run)


def _hash(parts: tuple[Ints, ...]) -> NDArray[np.uint64]:
    total = np.zeros(len(parts[0]), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            total = (total ^ part.astype(np.uint64)) * _MIX[0]
            total = (total ^ (total >> np.uint64(29))) * _MIX[1]
            total = (total ^ (total >> np.uint64(32))) * _MIX[2]
    return total
