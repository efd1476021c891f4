"""The scale on which targets are learned and judged: natural logarithms of what was counted."""

from __future__ import annotations

import math

import numpy as np

from core.history import Floats
from core.schemas.predictions import Metric

#: Views are many, and below one count as one. Of the others a post has often none, so one is added to each.
_ADDED: dict[Metric, float] = {"views": 0.0, "reactions": 1.0, "forwards": 1.0}


def to_log(metric: Metric, counted: Floats) -> Floats:
    """Logarithms of counts; NaN stays NaN."""
    logs: Floats = np.log(np.maximum(counted + _ADDED[metric], 1.0))
    return logs


def from_log(metric: Metric, logs: Floats) -> Floats:
    """The counts of logarithms, 0 or more."""
    counted: Floats = np.maximum(np.exp(logs) - _ADDED[metric], 0.0)
    return counted


def log_of(metric: Metric, counted: float) -> float:
    """The same of one count."""
    return math.log(max(counted + _ADDED[metric], 1.0))
