"""Decides which of two versions forecasts better: both are asked about the same newer posts, and compared post by post.

A version in service has learned from all rows up to its training, so only posts whose outcomes were measured after
both trainings are fair. Every difference is of the same posts, which takes out what makes posts differ: that is why a
few dozen tell what separate intervals of two means do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata

from core.errors import InsufficientData
from core.history import ChannelHistory, Floats, Ints
from core.schemas.models import PairedComparison
from core.schemas.predictions import KNOWN_AGES_H, TARGETS
from core.schemas.versions import ScoreMetric, SliceComparison, SliceVerdict
from training.dataset import Dataset, Mask, build, read_after
from training.engagement import log_quantiles, newer_rows
from training.evaluate import DRAWS, LEAST_COMPARED, LEAST_ROWS, MARGIN, compare
from training.model import EngagementModel

#: What the 10 % .. 90 % interval should hold.
COVERAGE = 0.8
#: Of all slices together, chance that two equal versions get a verdict somewhere.
ALPHA = 0.05
#: Draws are handled in this many parts, which limits memory.
_PARTS = 10


def fair_rows(histories: Sequence[ChannelHistory], moment: int, until: int) -> Dataset:
    """Rows whose outcomes were measured after `moment` and by `until` (epoch seconds).

    Raises InsufficientData below LEAST_COMPARED posts.
    """
    needed = f"posts whose outcomes neither version can have learned from (measured after {moment})"
    try:
        data = build(histories, until, only=[read_after(h, moment) for h in histories], least=1)
    except InsufficientData as error:
        raise InsufficientData(needed, needed=LEAST_COMPARED, have=0) from error
    fair = data.take(newer_rows(data, moment))
    if fair.n_posts < LEAST_COMPARED:
        raise InsufficientData(needed, needed=LEAST_COMPARED, have=fair.n_posts)
    return fair


def compared(
    rows: Dataset, first: EngagementModel, second: EngagementModel, seed: int
) -> tuple[PairedComparison | None, tuple[SliceComparison, ...]]:
    """The second version against the first on rows that are fair to both.

    Over everything: mean difference of |log error|, each post counting once, 95 % interval by bootstrap over posts.
    By target and known age: the three scores and how much worse the second is, with an interval from the bootstrap's
    standard error, simultaneous over all of them (Bonferroni). Slices of fewer than LEAST_ROWS posts are left out, of
    fewer than LEAST_COMPARED undecided.
    """
    before, after = log_quantiles(first, rows), log_quantiles(second, rows)
    overall = compare(rows, after, before, np.ones(len(rows), dtype=bool), MARGIN, seed)
    found = [raw for s in _slices(rows, before, after) for raw in _differences(s, seed)]
    z = float(norm.ppf(1 - ALPHA / (2 * max(len(found), 1))))
    return overall, tuple(raw.judged(z) for raw in found)


@dataclass(frozen=True, slots=True)
class _Slice:
    """Rows of one target and known age, one a post: logs of what was measured and of both versions' quantiles."""

    target: str
    age: int
    actual: Floats  # n
    level: Floats  # n
    before: Floats  # n x 3
    after: Floats  # n x 3


@dataclass(frozen=True, slots=True)
class _Difference:
    """How much worse the second version is in one score, and the standard error of that."""

    of: _Slice
    metric: ScoreMetric
    first: float
    second: float
    worse: float
    error: float

    def judged(self, z: float) -> SliceComparison:
        n, half = len(self.of.actual), z * self.error
        low, high = self.worse - half, self.worse + half
        verdict: SliceVerdict = "better" if high < 0 else "worse" if low > 0 else "undecided"
        return SliceComparison(
            self.of.target,
            self.of.age,
            self.metric,
            n,
            self.first,
            self.second,
            "undecided" if n < LEAST_COMPARED else verdict,
            low,
            high,
        )


def _slices(rows: Dataset, before: Floats, after: Floats) -> Iterator[_Slice]:
    for t, target in enumerate(TARGETS):
        known = np.isfinite(rows.residual[:, t]) & np.isfinite(before[:, t, 1]) & np.isfinite(after[:, t, 1])
        for age in KNOWN_AGES_H:
            here = known & (rows.known_age == age)
            if here.sum() >= LEAST_ROWS:
                yield _Slice(target, age, rows.actual[here, t], rows.level[here, t], before[here, t], after[here, t])


def _differences(s: _Slice, seed: int) -> Iterator[_Difference]:
    n = len(s.actual)
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=DRAWS)
    errors = [np.abs(s.actual - q[:, 1]) for q in (s.before, s.after)]
    a, b = (float(e.mean()) for e in errors)
    yield _Difference(s, "mae_log", a, b, b - a, float(np.std(drawn @ (errors[1] - errors[0]) / n)))
    held = [((s.actual >= q[:, 0]) & (s.actual <= q[:, 2])).astype(float) for q in (s.before, s.after)]
    off = [np.abs(drawn @ h / n - COVERAGE) for h in held]
    a, b = (float(h.mean()) for h in held)
    yield _Difference(s, "coverage", a, b, abs(b - COVERAGE) - abs(a - COVERAGE), float(np.std(off[1] - off[0])))
    above = s.actual > s.level
    if 0 < above.sum() < n:
        ranks = [rankdata(q[:, 1] - s.level, method="dense").astype(np.int64) - 1 for q in (s.before, s.after)]
        a, b = (float(weighted_auc(r, above, np.ones((1, n)))[0]) for r in ranks)
        moved = [weighted_auc(ranks[1], above, w) - weighted_auc(ranks[0], above, w) for w in np.split(drawn, _PARTS)]
        yield _Difference(s, "auc", a, b, a - b, float(np.nanstd(np.concatenate(moved))))


def weighted_auc(rank: Ints, positive: Mask, weight: Floats | Ints) -> Floats:
    """Chance that a positive ranks above a negative, rows drawn by weight (ties count half); NaN for one class only.

    rank: n, from 0 without gaps, equal scores sharing one. weight: d x n, a row for each of d draws. Returns d values.
    """
    order = np.argsort(rank, kind="stable")
    hits = positive[order]
    drawn = weight[:, order].astype(float)
    mass = np.cumsum(np.where(hits, 0.0, drawn), axis=1)  # negatives up to here
    mass = np.concatenate([np.zeros((len(drawn), 1)), mass], axis=1)
    start, end = (np.searchsorted(rank[order], rank[order], side=side) for side in ("left", "right"))
    below = (mass[:, start] + mass[:, end]) / 2
    chosen = np.where(hits, drawn, 0.0)
    pairs = chosen.sum(axis=1) * mass[:, -1]
    won: Floats = (chosen * below).sum(axis=1)
    result: Floats = np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0)
    return result
