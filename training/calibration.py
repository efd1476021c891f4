"""How far a model's answers are to be believed, and which member's how much: learned on rows not fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.history import Floats, Ints
from core.schemas.predictions import KNOWN_AGES_H, TARGETS, VIEWS
from training.dataset import Dataset
from training.widths import Rows, Widths, shrinkage

#: Share of outcomes that the interval is to hold.
COVERAGE = 0.8
#: Fewer outcomes than this calibrate nothing by themselves: wider groups are used.
_LEAST = 30
_LEAST_GAP = 1e-4  # natural log
_SHARES = np.linspace(0.0, 1.0, 11)
_PARTS = 4
#: So many errors count as one when mixes are compared: neighbours in time say much the same.
_ALIKE = 2.0
#: A share of the step below one has to be better by so many standard errors.
_DOUBT = 2.0

Mask = NDArray[np.bool_]
#: Places of the targets that versions are judged by.
_VIEWS = [i for i, target in enumerate(TARGETS) if target in VIEWS]


@dataclass(frozen=True, slots=True)
class Calibration:
    """trust: share of the members' mean step away from the starting point that is taken. stretch: what the distances
    from the median to both ends of the interval are multiplied by. Both targets x known ages. mix: weights of the
    members' steps in that mean, which sum to one: members x targets x known ages; the network comes first. widths: how
    the interval goes with the channel.
    """

    trust: Floats
    stretch: Floats
    mix: Floats = field(default_factory=lambda: _alone(1))
    widths: Widths = field(default_factory=Widths)

    @classmethod
    def none(cls) -> Calibration:
        """Believe the network as it is."""
        shape = (len(TARGETS), len(KNOWN_AGES_H))
        return cls(np.ones(shape), np.ones(shape))

    def apply(self, raw: Floats, ages: NDArray[np.intp], x: Rows, steps: Floats | None = None) -> Floats:
        """Calibrated quantiles (n x T x 3) of the network's; ages: places in KNOWN_AGES_H (n); x: the rows (n x F);
        steps: the peers' (k x n x T), where they have a weight. They never cross.
        """
        middle = _mixed(self.mix[:, :, ages], raw[:, :, 1], steps) * self.trust[:, ages].T
        stretch = self.stretch[:, ages].T * self.widths.of(x)[:, None]
        low = middle - stretch * (raw[:, :, 1] - raw[:, :, 0])
        high = middle + stretch * (raw[:, :, 2] - raw[:, :, 1])
        return np.stack([low, middle, high], axis=2)

    def to_plain(self) -> dict[str, Any]:
        """Numbers and lists, to be stored."""
        given: dict[str, Any] = {name: getattr(self, name).tolist() for name in ("trust", "stretch", "mix")}
        given |= {"size_edges": self.widths.edges.tolist(), "size_factors": self.widths.factors.tolist()}
        return given if np.isnan(self.widths.usual) else given | {"usual_spread": self.widths.usual}

    @classmethod
    def of(cls, given: Mapping[str, Any], members: int) -> Calibration:
        """What `to_plain` gave (lists or arrays), for so many members; ValueError or KeyError where it does not fit.

        What earlier versions did not store has no effect: members that they did not have get no weight, weights by age
        alone (members x ages) are those of every target, and intervals do not go with the channel.
        """
        shape = (len(TARGETS), len(KNOWN_AGES_H))
        trust, stretch = (np.array(given[name], dtype=float).reshape(shape) for name in ("trust", "stretch"))
        stored = np.array(given["mix"], dtype=float)
        stored = stored[:, None] if stored.ndim == 2 else stored
        if not 1 <= len(stored) <= members:
            raise ValueError(f"weights of {len(stored)} members, where there are {members}")
        mix = np.zeros((members, *shape))
        mix[: len(stored)] = stored
        edges, factors = (
            np.array(given.get(name, neutral), dtype=float).reshape(-1)
            for name, neutral in (("size_edges", []), ("size_factors", [1.0]))
        )
        if len(factors) != len(edges) + 1:
            raise ValueError("groups by size need one factor more than edges")
        return cls(trust, stretch, mix, Widths(float(given.get("usual_spread", np.nan)), edges, factors))


def calibrate(rows: Dataset, raw: Floats, steps: Floats | None = None, fold: Ints | None = None) -> Calibration:
    """From out-of-fold quantiles of rows (n x T x 3) and the peers' out-of-fold steps (k x n x T). fold: number of each
    row's fold (n), in order of growing fits; None: all by fits to as many rows.

    All is learned by target and known age where there are enough rows, else by target, else over all.

    mix is the mean of all mixes in quarters, weighted by the likelihood of the out-of-fold errors (Laplace, scale:
    median absolute residual; _ALIKE errors counting as one): members that cannot be told apart share the weight, where
    the best one alone would change with every fit. trust is 1 unless a smaller share has a mean absolute error that is
    smaller by _DOUBT standard errors (over posts), as fits to fewer rows step too far where the final one would not.

    stretch is split conformal prediction in the scaled form of quantile regression (after Romano, Patterson, Candès
    2019; Kivaranovic et al. 2020): the 80 % quantile, corrected for the sample's size, of how many times its
    distance to the interval's end an outcome lay from the median. Distances go with the channel's spread, and the
    same quantile by group of channels moves them further (`widths`); errors of folds that learned from few rows are
    brought to the last fold's level (`shrinkage`). A factor, because networks fitted to more rows draw narrower
    intervals, which an added width from the folds would spoil.
    """
    ages, residual = rows.ages, rows.residual
    known = np.isfinite(residual)
    opinions = raw[None, :, :, 1] if steps is None else np.concatenate([raw[None, :, :, 1], steps])
    shape = (len(TARGETS), len(KNOWN_AGES_H))
    trust, stretch, mix = np.ones(shape), np.ones(shape), np.zeros((len(opinions), *shape))
    places = [(t, a, _enough(known, ages, t, a)) for t, a in product(*map(range, shape))]
    posts = np.broadcast_to(rows.posts[:, None], known.shape)

    def learned(here: Mask) -> tuple[Floats, float]:
        weights = _mix(residual[here], opinions[:, here])
        return weights, _share(residual[here], weights @ opinions[:, here], posts[here])

    whole = learned(known)
    for t, a, here in places:
        mix[:, t, a], trust[t, a] = whole if here is known else learned(here)
    off = residual - _mixed(mix[:, :, ages], raw[:, :, 1], steps) * trust[:, ages].T
    widths = Widths.between(rows.x)
    unit = widths.of(rows.x)[:, None]
    gap_low = np.maximum(raw[:, :, 1] - raw[:, :, 0], _LEAST_GAP) * unit
    gap_high = np.maximum(raw[:, :, 2] - raw[:, :, 1], _LEAST_GAP) * unit
    times = np.maximum(off / gap_high, -off / gap_low)
    if fold is not None:
        times = times * shrinkage(off[:, _VIEWS], residual[:, _VIEWS], fold)[:, None]
    for t, a, here in places:
        stretch[t, a] = _conformal(times[here])
    left = times / np.maximum(stretch[:, ages].T, _LEAST_GAP)
    return Calibration(trust, stretch, mix, widths.with_factors(rows.x, rows.channel, left, COVERAGE))


def _alone(members: int) -> Floats:
    mix = np.zeros((members, len(TARGETS), len(KNOWN_AGES_H)))
    mix[0] = 1.0
    return mix


def _mixed(mix: Floats, own: Floats, steps: Floats | None) -> Floats:
    """The members' mean step (n x T); mix: members x T x n."""
    middle: Floats = mix[0].T * own
    if steps is not None:
        for weight, step in zip(mix[1:], steps, strict=True):
            middle = middle + weight.T * step
    return middle


def _enough(known: Mask, ages: NDArray[np.intp], target: int, age: int) -> Mask:
    """The outcomes (n x T) to learn from for a target and an age: its own, or the narrowest wider group of _LEAST."""
    of_target = known & (np.arange(known.shape[1]) == target)
    groups = (of_target & (ages == age)[:, None], of_target, known)
    return next((group for group in groups if group.sum() >= _LEAST), known)


def _mix(wanted: Floats, given: Floats) -> Floats:
    """The weights (members) in a mean step; wanted: residuals (k), given: the members' steps (members x k)."""
    mixes = _mixes(len(given))
    if not len(wanted):
        first: Floats = mixes[0]
        return first
    errors = np.array([np.abs(wanted - mix @ given).mean() for mix in mixes])
    scale = max(float(np.median(np.abs(wanted))), 1e-6)
    likely = np.exp(-(errors - errors.min()) * len(wanted) / (_ALIKE * scale))
    weighed: Floats = likely @ mixes / likely.sum()
    return weighed


def _share(wanted: Floats, step: Floats, posts: Ints) -> float:
    """The share of a step (k) to take: 1, or the best one where it is better than 1 beyond doubt."""
    if not len(wanted):
        return 1.0
    best = min(_SHARES, key=lambda share: float(np.abs(wanted - share * step).mean()))
    gain = np.abs(wanted - step) - np.abs(wanted - best * step)
    _, number = np.unique(posts, return_inverse=True)
    doubt = np.sqrt(np.sum(np.bincount(number, gain - gain.mean()) ** 2)) / len(gain)
    return float(best) if gain.mean() > _DOUBT * doubt else 1.0


def _mixes(members: int) -> Floats:
    """All weights in quarters that sum to one, the first member's alone first."""
    parts = [p for p in product(range(_PARTS, -1, -1), repeat=members) if sum(p) == _PARTS]
    return np.array(parts, dtype=float) / _PARTS


def _conformal(times: Floats) -> float:
    n = len(times)
    if n == 0:
        return 1.0
    rank = min(int(np.ceil((n + 1) * COVERAGE)), n)
    return float(np.sort(times)[rank - 1])
