"""How much each member of a committee counts: weights that follow recent losses and never leave a member for good.

Exponential weights with a share for all (Herbster & Warmuth 1998, "Tracking the best expert"): the mixture's loss stays
near that of the best member of the recent past, the static model among them.
"""

from __future__ import annotations

import numpy as np

from core.history import Floats

#: Rows after which a loss counts half.
HALF_LIFE = 500.0
#: How fast weight leaves a member whose losses are larger, per unit of log loss or per whole loss of the best member.
RATE_LOG, RATE_RELATIVE = 0.05, 0.012
#: Weight that is shared among all whatever their losses.
SHARE = 0.01
#: Probabilities count as at least this in a loss: one confident mistake must not silence a member.
FLOOR = 1e-3


class Mixture:
    """Weights of K members from their discounted losses. relative: losses have a unit, only their ratios count."""

    def __init__(self, members: int, relative: bool) -> None:
        self.relative = relative
        self.total = np.zeros(members)
        self.rows = 0.0

    def weights(self) -> Floats:
        """K weights that sum to 1."""
        behind = self.total - self.total.min()
        if self.relative:
            best = self.total.min() / max(self.rows, 1e-12)
            behind = RATE_RELATIVE * behind / max(best, 1e-12)
        else:
            behind = RATE_LOG * behind
        weights = np.exp(-behind)
        out: Floats = (1 - SHARE) * weights / weights.sum() + SHARE / len(weights)
        return out

    def update(self, losses: Floats) -> None:
        """Take in losses (K x n) of labelled rows, oldest first."""
        n = losses.shape[1]
        fade = 0.5 ** (np.arange(n - 1, -1, -1) / HALF_LIFE)
        old = 0.5 ** (n / HALF_LIFE)
        self.total = old * self.total + losses @ fade
        self.rows = old * self.rows + float(fade.sum())


def log_loss(probabilities: Floats, classes: Floats) -> Floats:
    """K x n losses of probabilities (K x n x C) for the classes that came (n, whole numbers)."""
    at = np.asarray(classes, dtype=np.int64)
    chosen = probabilities[:, np.arange(len(at)), at]
    out: Floats = -np.log(np.maximum(chosen, FLOOR))
    return out
