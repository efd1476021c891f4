"""Prediction requests and answers, outcomes and feedback."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from core.schemas.channels import PostDraft

Metric = Literal["views", "reactions", "forwards"]
METRICS: tuple[Metric, ...] = ("views", "reactions", "forwards")
Target = Literal[
    "views_24h",
    "views_72h",
    "views_final",
    "views_7d",
    "reactions_72h",
    "reactions_final",
    "forwards_72h",
    "forwards_final",
]
#: In an order that only grows at its end: stored models hold their arrays in it.
TARGETS: tuple[Target, ...] = get_args(Target)
#: What is counted for a target.
METRIC_OF: dict[Target, Metric] = {t: next(m for m in METRICS if t.startswith(m)) for t in TARGETS}
#: The targets that views are counted for: versions are judged and compared by these.
VIEWS: tuple[Target, ...] = tuple(t for t in TARGETS if METRIC_OF[t] == "views")
#: Age in hours at which a target is measured. `..._final` is for sources with a single late reading of each post: that
#: reading counts, if taken at this age or later (`core.history.target_values` says when it counts as known).
TARGET_AGE_H: dict[Target, int] = {
    "views_24h": 24,
    "views_72h": 72,
    "views_final": 24,
    "views_7d": 168,
    "reactions_72h": 72,
    "reactions_final": 72,
    "forwards_72h": 72,
    "forwards_final": 72,
}
#: Ages of a post at which a prediction may be asked; 0 is before publishing.
KNOWN_AGES_H: tuple[int, ...] = (0, 1, 4, 24)
#: The model that answers.
ENGAGEMENT = "engagement"

Arm = Literal["stable", "canary", "rescued", "failed"]
#: How a version failed: no answer in time, an answer without sense, no process, or an error of its own.
Failure = Literal["timeout", "invalid", "gone", "error"]


@dataclass(frozen=True, slots=True)
class PredictionRequest:
    """Ask what one post will reach.

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
    explain: bool = False  # say what moved the first target's median away from the usual


@dataclass(frozen=True, slots=True)
class Quantiles:
    """An 80 % interval and the median of what the target counts."""

    q10: float
    q50: float
    q90: float


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one feature (or a family of them) did to a prediction's median.

    value: of the feature; None where it was not known, and of a family. share_log: natural logarithm; the shares of all
    features sum to prediction minus baseline. effect: the same as a relative change of views (0.1: 10 % more).
    """

    feature: str
    value: float | None
    share_log: float
    effect: float


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
    contributions: tuple[Contribution, ...] = ()  # of the first target, largest first; empty unless asked for


@dataclass(frozen=True, slots=True)
class BulkItem:
    """One of many questions asked at once: its answer, or why there is none (RFC 9457 problem details)."""

    prediction: Prediction | None = None
    problem: dict[str, Any] | None = None


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
    """What a person says of a prediction: a rating 1..5, or the right value of a target.

    observed_at: when the person saw it, epoch seconds; None: when it arrived.
    """

    prediction_id: str
    kind: Literal["rating", "correction"]
    value: float
    key: str
    target: Target | None = None
    observed_at: int | None = None


#: Stored: `accepted` in time; `late` after the outcome was joined, or long after it could be; `after_decision` when the
#: version that answered had been put in charge, replaced or taken back since; `duplicate` a key that was there already.
#: Refused, nothing stored: `unknown` prediction, `invalid` value, in the `future`, key in `conflict` with another use.
FeedbackStatus = Literal["accepted", "late", "after_decision", "duplicate", "unknown", "invalid", "future", "conflict"]


@dataclass(frozen=True, slots=True)
class FeedbackAck:
    """What became of one item; with an id it is committed. `duplicate` says that the key was there already.

    problem: why it was refused, as RFC 9457 problem details.
    """

    id: str | None
    duplicate: bool
    status: FeedbackStatus
    problem: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Correction:
    """A stored post's target value as a person gave it; `known_at` is no earlier than the target's age."""

    feedback_id: str
    channel_id: int
    post_id: int
    target: Target
    value: float
    known_at: int
    at: int  # when it was stored


@dataclass(frozen=True, slots=True)
class VersionFeedback:
    """What people said of a version's answers."""

    model: str
    version: int
    ratings: dict[int, int]  # how often each number of stars was given, halves rounded to the even number
    mean_rating: float | None  # None: no ratings
    corrections: int


@dataclass(frozen=True, slots=True)
class FeedbackSummary:
    """Items by what became of them, since the beginning, and what the stored ones said."""

    by_status: dict[FeedbackStatus, int]
    versions: tuple[VersionFeedback, ...] = ()


@dataclass(frozen=True, slots=True)
class JoinReport:
    """What one pass over the new data joined."""

    events: int = 0
    outcomes: int = 0
    by_target: dict[str, int] = field(default_factory=dict)
