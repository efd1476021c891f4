"""Prediction requests and answers, outcomes and feedback."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from core.schemas.channels import PostDraft

Target = Literal["views_24h", "views_72h", "views_final"]
TARGETS: tuple[Target, ...] = ("views_24h", "views_72h", "views_final")
#: Age in hours at which a target is measured. `views_final` is for sources with a single late reading of each post:
#: that reading counts, if taken at this age or later, and is taken as known from this age on (an assumption, said so).
TARGET_AGE_H: dict[Target, int] = {"views_24h": 24, "views_72h": 72, "views_final": 24}
#: Ages of a post at which a prediction may be asked; 0 is before publishing.
KNOWN_AGES_H: tuple[int, ...] = (0, 1, 4, 24)
#: The model that answers.
ENGAGEMENT = "engagement"

Arm = Literal["stable", "canary", "rescued", "failed"]
#: How a version failed: no answer in time, an answer without sense, no process, or an error of its own.
Failure = Literal["timeout", "invalid", "gone", "error"]


@dataclass(frozen=True, slots=True)
class PredictionRequest:
    """Ask for the views of one post.

    Name a stored post (`post_id`) or describe a draft; `as_of` is for replays and backtests: only what was known
    then is used. `key` makes a retry safe: the same key gives the same answer and one row in the log.
    """

    channel: str
    post_id: int | None = None
    draft: PostDraft | None = None
    published_at: int | None = None  # of a draft; default: as_of
    known_age_h: int = 0
    as_of: int | None = None  # default: the clock's now
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Quantiles:
    """An 80 % interval and the median, in views."""

    q10: float
    q50: float
    q90: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to a PredictionRequest."""

    id: str
    channel: str
    post_id: int | None
    model: str
    version: int
    arm: Arm
    known_age_h: int
    as_of: int
    targets: dict[Target, Quantiles]
    usual: float  # the channel's rolling median of the first target, the honest yardstick
    history: int  # matured posts that the channel's level rests on
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """A target's measured value, joined to a prediction."""

    prediction_id: str
    target: Target
    value: float
    known_at: int


@dataclass(frozen=True, slots=True)
class SettledPrediction:
    """A prediction from the log, beside what was measured of it so far."""

    prediction: Prediction
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class FeedbackItem:
    """What a person says of a prediction: a rating 1..5, or the right value of a target."""

    prediction_id: str
    kind: Literal["rating", "correction"]
    value: float
    key: str
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class FeedbackAck:
    """Committed: `duplicate` says that the key was there already."""

    id: str
    duplicate: bool


@dataclass(frozen=True, slots=True)
class JoinReport:
    """What one pass over the new data joined."""

    events: int = 0
    outcomes: int = 0
    by_target: dict[str, int] = field(default_factory=dict)
