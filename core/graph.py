"""How often a random walk along a weighted directed graph visits each node: one walk for every rank that we give."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from core.history import Floats, Ints

STEPS = 100
_SETTLED = 1e-12


def visits(rows: Ints, columns: Ints, weights: Floats, start: Floats, restart: float) -> Floats:
    """Share of its time that a walk spends at each of n nodes; sums to 1.

    rows, columns, weights: e edges. start: n, sums to 1: where a walk begins, where it goes with chance `restart` at
    each step, and from a node without edges out. One node in `start` makes it the random walk with restart of Tong,
    Faloutsos & Pan (2006); all of them alike, with a restart of 1 - damping, PageRank (Brin & Page 1998).
    """
    n = len(start)
    graph = sparse.csr_matrix((weights, (rows, columns)), shape=(n, n))
    out = np.asarray(graph.sum(axis=1)).ravel()
    step = (sparse.diags(np.divide(1.0, out, out=np.zeros(n), where=out > 0)) @ graph).T.tocsr()
    ends = out == 0
    at = start.copy()
    for _ in range(STEPS):
        before, stuck = at, float(at[ends].sum())
        at = np.asarray(restart * start + (1 - restart) * (step @ at + stuck * start), dtype=float)
        if np.abs(at - before).sum() < _SETTLED:
            break
    return at
