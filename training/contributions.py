"""What moved one prediction: a share of its logarithm for each feature, which sum to prediction minus baseline.

The baseline is what the model says of a usual post of the channel: the row of medians of the training rows of this
known age, with the features that tell channels apart left as they are. From there to the post's own row every member is
followed along the straight line (integrated gradients, Sundararajan, Taly, Yan 2017, "Axiomatic attribution for deep
networks"): the network by Gauss-Legendre quadrature in float64 with as many nodes as it takes, the trees exactly (every
threshold on the way moves them, and the jump belongs to the feature that crossed it), the linear part exactly. What the
post's own early views do to the starting point belongs to `early_deviation`.

A feature that is known at one end only becomes (or stops being) known half way, for the trees; for the network and the
linear part "not known" is an input like any other.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import Broken, NoData
from core.history import Floats
from core.schemas.predictions import TARGETS, Contribution, Target
from training.linear import Linear
from training.model import EngagementModel
from training.names import AGE, CHANNEL_MARKS, GROUPS, PLACE
from training.network import EngagementNet
from training.peers import recent
from training.trees import Trees

#: Largest difference (natural log) between the sum of the shares and what they are to sum to.
TOLERANCE = 1e-4
_GAP = 1e-6
_NODES = (16, 32, 64, 128, 256, 512)
_KEPT = [PLACE[name] for name in (*AGE, *CHANNEL_MARKS)]

Row = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Explained:
    """baseline_log: natural logarithm of the views of a usual post; shares: of each feature (F)."""

    baseline_log: float
    shares: Floats
    row: Row

    def features(self) -> tuple[Contribution, ...]:
        """Features that did something, largest first."""
        found = [
            _contribution(name, float(self.row[i]), float(self.shares[i]))
            for name, i in PLACE.items()
            if self.shares[i] != 0
        ]
        return tuple(sorted(found, key=lambda c: -abs(c.share_log)))

    def groups(self) -> tuple[Contribution, ...]:
        """Families of features (names.GROUPS), largest first."""
        sums = {group: float(sum(self.shares[PLACE[n]] for n in names)) for group, names in GROUPS.items()}
        found = [_contribution(group, math.nan, share) for group, share in sums.items() if share != 0]
        return tuple(sorted(found, key=lambda c: -abs(c.share_log)))


def explain(model: EngagementModel, x: Row, base_log: float, level_log: float, target: Target) -> Explained:
    """What moved the median of a target away from the usual.

    x: one row (F); base_log, level_log: of the target, as in FeatureRow. NoData for a version that holds no medians,
    Broken where the shares do not sum to what they should.
    """
    if model.medians is None:
        raise NoData("this version does not hold the medians of its rows: train it again to have its answers explained")
    t, a = TARGETS.index(target), int(model.ages(x[None])[0])
    usual = model.medians[a].astype(np.float32)
    usual[_KEPT] = x[_KEPT]
    both = np.stack([usual, x])
    mix, trust = model.calibration.mix[:, t, a], model.calibration.trust[t, a]
    shares = mix[0] * _network(model.net, both, a, t)
    if model.peers is not None:
        shares = shares + mix[1] * _trees(model.peers.trees, both, t) + mix[2] * _linear(model.peers.linear, both, a, t)
        shares[PLACE["recent_10"]] += mix[3] * np.diff(recent(both)[:, t])[0]
    shares = shares * trust
    start, end = (float(v) for v in model.residuals(both)[:, t, 1])
    before, after = (float(v) for v in model.calibrated(both)[:, t, 1])
    if model.corrector is not None and after != before:
        # Affine in the step, so every share is stretched alike (beyond its bound it is, on the whole way).
        shares = shares * ((end - start) / (after - before))
    shares[PLACE["early_deviation"]] += base_log - level_log
    baseline = level_log + start
    gap = base_log + end - baseline - float(shares.sum())
    if not abs(gap) <= TOLERANCE:
        raise Broken(f"the shares of a prediction do not sum to it (off by {gap:.2g})")
    return Explained(baseline, shares, x)


def _network(net: EngagementNet, both: NDArray[np.float32], age: int, target: int) -> Floats:
    import torch

    exact = copy.deepcopy(net).double().cpu().requires_grad_(False)
    z = exact.inputs(torch.from_numpy(both).double())
    move = z[1] - z[0]

    def middle(points: torch.Tensor) -> torch.Tensor:
        ages = torch.full((len(points),), age)
        return exact.from_inputs(points, ages)[:, :, target, 1].mean(dim=0)

    whole = float(middle(z)[1] - middle(z)[0])
    for nodes in _NODES:
        at, weight = np.polynomial.legendre.leggauss(nodes)
        way = z[0] + torch.from_numpy((at + 1) / 2)[:, None] * move
        way.requires_grad_()
        (slope,) = torch.autograd.grad(middle(way).sum(), way)
        shares = (torch.from_numpy(weight / 2) @ slope * move).numpy()
        if abs(float(shares.sum()) - whole) < _GAP:
            break
    width = both.shape[1]
    result: Floats = shares[:width] + shares[width:]
    return result


def _trees(trees: Trees, both: NDArray[np.float32], target: int) -> Floats:
    """Features cross their thresholds in the order of the way; each crossing is a row of its own."""
    start, end = both.astype(float)
    own = trees.target == target
    crossed: list[tuple[float, int, float]] = []  # (where on the way, feature, value just behind it)
    for j in np.unique(trees.feature[own]):
        a, b = start[j], end[j]
        if np.isnan(a) != np.isnan(b):
            crossed.append((0.5, int(j), b))
        elif a != b:
            asked = np.unique(trees.threshold[own][trees.feature[own] == j])
            between = asked[(asked >= min(a, b)) & (asked < max(a, b))]
            behind = np.nextafter(between, math.inf) if b > a else between
            crossed += [((s - a) / (b - a), int(j), v) for s, v in zip(between, behind, strict=True)]
    crossed.sort()
    rows = np.tile(start, (len(crossed) + 1, 1))
    for k, (_, j, value) in enumerate(crossed, 1):
        rows[k:, j] = value
    jumps = np.diff(trees.steps(rows)[:, target])
    shares = np.zeros(len(start))
    np.add.at(shares, np.array([j for _, j, _ in crossed], dtype=np.intp), jumps)
    return shares


def _linear(linear: Linear, both: NDArray[np.float32], age: int, target: int) -> Floats:
    z = linear.inputs(both, np.full(2, age))
    shares: Floats = linear.weights[age, target] * (z[1] - z[0])
    steps = linear.steps(both, np.full(2, age))[:, target]
    free = float(shares.sum())
    # Beyond the bound of a step every share gives way alike.
    return shares * ((float(steps[1]) - float(steps[0])) / free) if free else shares


def _contribution(name: str, value: float, share: float) -> Contribution:
    return Contribution(name, None if math.isnan(value) else value, share, math.expm1(share))
