"""Learning slice by slice in order of time: what each slice is taught from, and what the slices did to each other.

Slices are parted by when outcomes became known: a slice is what a learner could learn between its two ends, no outcome
is in two, and answers to the next slice are honest forecasts. Some posts are never learned from, so that what is
remembered of a slice can be measured on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from core.errors import InsufficientData
from core.history import NEVER, Floats, Ints
from core.schemas.models import Memory
from training.dataset import Dataset, Mask, joined
from training.reservoir import lowest, ranks

#: Posts that a slice must have.
LEAST_SLICE = 30
#: Share of the posts that is only judged on.
JUDGED = 0.2
#: Posts of earlier slices that are taught again with a new one.
REPLAYED = 1_000


@dataclass(frozen=True, slots=True)
class Slice:
    """One span of time. taught: rows to learn from; judged: rows never fitted to; edges: epoch seconds [from, to)."""

    taught: Dataset
    judged: Dataset
    edges: tuple[int, int]

    @property
    def rows(self) -> Dataset:
        """Both."""
        return joined([self.taught, self.judged])


def slices(rows: Dataset, count: int, since: int | None, seed: int, *, hold_back: bool) -> tuple[Slice, ...]:
    """At most `count` slices of about equal numbers of posts, none of fewer than LEAST_SLICE.

    since: what was known by then is the first slice, which an earlier version learned; the others are newer.
    hold_back: keep JUDGED of the posts for judging. InsufficientData where not even two slices can be made.
    """
    known = np.where(np.isfinite(rows.residual), rows.known_at, NEVER).min(axis=1)
    edges = _edges(rows, known, count, since)
    kept = _kept_back(rows, seed) if hold_back else np.zeros(len(rows), dtype=bool)
    found = []
    for low, high in pairwise(edges):
        here = (rows.known_at >= low) & (rows.known_at < high)
        part = replace(rows, actual=np.where(here, rows.actual, np.nan), known_at=np.where(here, rows.known_at, NEVER))
        wanted = np.isfinite(part.residual).any(axis=1)
        if hold_back and not (wanted & kept).any():
            raise InsufficientData("a slice has no post to judge by", needed=1, have=0)
        found.append(Slice(part.take(wanted & ~kept), part.take(wanted & kept), (low, high)))
    return tuple(found)


def replayed(earlier: Sequence[Slice], seed: int) -> Dataset | None:
    """A uniform sample of REPLAYED posts of earlier slices, those to learn from; None: there is nothing earlier."""
    if not earlier:
        return None
    rows = joined([s.taught for s in earlier])
    _, first, number = np.unique(
        np.stack([rows.channel, rows.post_id], axis=1), axis=0, return_index=True, return_inverse=True
    )
    chosen = np.zeros(len(first), dtype=bool)
    chosen[lowest(rows.channel[first], rows.post_id[first], REPLAYED, seed)] = True
    return rows.take(chosen[number.reshape(-1)])


def memory(parts: Sequence[Slice], before: Sequence[Floats], after: Sequence[Sequence[Floats]]) -> Memory:
    """From the median answers (m x T residuals, natural log) to each slice's judged rows: `before` anything was
    learned, and `after` each slice. K slices; the figures are those of Lopez-Paz & Ranzato 2017 and Chaudhry et al.
    2018, for an error instead of an accuracy.
    """
    errors = np.array([[_error(s.judged, a) for s, a in zip(parts, row, strict=True)] for row in after])
    last, own = errors[-1], np.diagonal(errors)
    lost = [last[j] - errors[:-1, j].min() for j in range(len(parts) - 1)]
    return Memory(
        edges=(*(s.edges[0] for s in parts), parts[-1].edges[1]),
        posts=tuple(s.judged.n_posts for s in parts),
        before=tuple(_error(s.judged, a) for s, a in zip(parts, before, strict=True)),
        errors=tuple(tuple(float(v) for v in row) for row in errors),
        forgetting=float(np.mean(np.maximum(lost, 0.0))),
        backward_transfer=float(np.mean((own - last)[:-1])),
    )


def _edges(rows: Dataset, known: Ints, count: int, since: int | None) -> list[int]:
    _, first = np.unique(rows.posts, return_index=True)
    times = np.sort(known[first])
    end = int(rows.known_at[np.isfinite(rows.residual)].max()) + 1
    old = 0 if since is None else int((times <= since).sum())
    new = len(times) - old
    fits = min(count - (old > 0), new // LEAST_SLICE)
    if fits + (old > 0) < 2 or 0 < old < LEAST_SLICE:
        raise InsufficientData(
            "too few posts with outcomes for slices in order of time",
            needed=(LEAST_SLICE if old else 2 * LEAST_SLICE),
            have=new,
        )
    cuts = np.quantile(times[old:], np.linspace(0, 1, fits + 1), method="higher")[1:-1]
    begin = [int(times[0]), since + 1] if old and since is not None else [int(times[0])]
    return [*begin, *(int(c) for c in cuts), end]


def _kept_back(rows: Dataset, seed: int) -> Mask:
    # Numbers of their own: posts that a reservoir kept have low ranks, all of them.
    share = ranks(rows.channel, rows.post_id, seed, stream=1).astype(float) / float(np.iinfo(np.uint64).max)
    kept: Mask = share < JUDGED
    return kept


def _error(rows: Dataset, middle: Floats) -> float:
    off = np.abs(rows.residual - middle)
    return float(off[np.isfinite(off)].mean())
