"""Contributions to an answer, on request: computed in this process, never stored, never a reason to fail the answer."""

from __future__ import annotations

import math
from dataclasses import replace

from core.errors import AnalyticBotError
from core.schemas.predictions import Prediction
from serve_apps.predictor.arms import Model
from serve_apps.predictor.question import Question


def explained(prediction: Prediction, model: Model | None, question: Question) -> Prediction:
    """The prediction with what moved its first target's median, or a warning that says why not.

    model: the version that answered, where this process holds it; one on trial has a process of its own.
    """
    from training.contributions import explain
    from training.model import EngagementModel

    if not isinstance(model, EngagementModel):
        return _without(prediction, "a version on trial does not explain its answers")
    target = question.targets[0]
    try:
        found = explain(model, question.vector, question.base_log[target], math.log(question.usual), target)
    except AnalyticBotError as error:
        return _without(prediction, str(error))
    return replace(prediction, contributions=found.features())


def unexplained(prediction: Prediction) -> Prediction:
    """A stored answer that is given once more: what it was made from is not at hand."""
    return _without(prediction, "an answer that is repeated by its key is not explained again")


def _without(prediction: Prediction, why: str) -> Prediction:
    return replace(prediction, warnings=(*prediction.warnings, f"no contributions: {why}"))
