"""The online strategy: the network of an earlier version as it is, its corrector taught by the outcomes since."""

from __future__ import annotations

from dataclasses import replace

from core.codec import to_plain
from core.errors import InsufficientData
from training.corrector import Corrector
from training.dataset import Dataset
from training.engagement import Prepared, Trained, packed
from training.model import EngagementModel


def corrected(prepared: Prepared) -> Trained:
    """A version with the weights of the one it starts from, bit for bit, and a corrector that has learned on.

    The judged corrector has taken the outcomes known before the holdout, the final one all. InsufficientData without a
    new outcome.
    """
    start = prepared.warm
    if start is None or not len(prepared.fitted[0]):
        raise InsufficientData("no outcome has become known since the version to correct was trained", needed=1, have=0)
    judged, _ = _taught(start.model, prepared.fitted[0])
    final, outcomes = _taught(start.model, prepared.fitted[1])
    described = to_plain(prepared.plan.params) | {"corrector": {"outcomes": outcomes}}
    if prepared.channels:
        described["channels"] = list(prepared.channels)
    return packed(prepared, judged, final, described)


def _taught(model: EngagementModel, rows: Dataset) -> tuple[EngagementModel, int]:
    """The model with a corrector that goes on from its own, and how many outcomes it took."""
    corrector = Corrector() if model.corrector is None else model.corrector.copy()
    outcomes = corrector.learn(model.calibrated(rows.x), rows.x, model.ages(rows.x), rows.residual, rows.known_at)
    # Whoever it learned from, it still is the version that knows all the channels which its network knows.
    return replace(model, corrector=corrector, notes=model.notes | {"strategy": "online"}), outcomes
