"""Questions about what a post says and how an audience takes it, and their answers; how well a version does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from core.polarity import TONES
from core.schemas.channels import PostDraft

#: The model's name in the registry.
CONTENT = "content"

Task = Literal["reaction", "engagement"]
TASKS: tuple[Task, ...] = ("reaction", "engagement")
Quarter = Literal["lowest", "lower", "upper", "highest"]
QUARTERS: tuple[Quarter, ...] = ("lowest", "lower", "upper", "highest")
#: A task's classes. reaction: what the balance of liking and disliking reactions will be. engagement: the quarter of
#: the channel's recent posts that the post will be in, by reactions, forwards and comments per view.
CLASSES: dict[Task, tuple[str, ...]] = {"reaction": TONES, "engagement": QUARTERS}


@dataclass(frozen=True, slots=True)
class ContentRequest:
    """Ask about a stored post (`post_id`) or a draft."""

    channel: str
    post_id: int | None = None
    draft: PostDraft | None = None
    published_at: int | None = None  # of a draft; default: now


@dataclass(frozen=True, slots=True)
class Judgement:
    """A class, or why there is none.

    answer: one of the task's classes; None: abstained, and `reason` says why. probabilities: calibrated, of all
    classes; None where the model is no better than a constant and they would only look like knowledge.
    """

    answer: str | None
    probabilities: dict[str, float] | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class TopicFit:
    """How much a text is like what the channel publishes.

    percentile: share of the channel's own posts, each held against all others, that are less like the channel than
    this text (0..1; a post of the channel's own has 0.5 on average). None: `reason` says why.
    """

    percentile: float | None
    posts: int  # of the channel that it rests on
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ContentAnswer:
    """What a version says of a post."""

    channel: str
    post_id: int | None
    model: str
    version: int
    reaction: Judgement
    engagement: Judgement
    topic: TopicFit
    toxicity: Judgement


@dataclass(frozen=True, slots=True)
class Scores:
    """One forecaster of a task on rows later than all that it learned from."""

    log_loss: float  # natural; NaN is never stored: a forecaster without probabilities is not scored
    accuracy: float


@dataclass(frozen=True, slots=True)
class TaskEvaluation:
    """A task on the newest posts, judged by a model that learned from the older ones only.

    scores: of "model", "prior" (the classes' shares among older rows), "channel_prior" (the same inside the channel).
    answered: share of rows that were not abstained from. accuracy_answered: of those; None: nothing was answered.
    calibration_error: expected calibration error of the most probable class, ten bins. gap: why there is no evaluation.
    """

    n: int
    shares: dict[str, float] = field(default_factory=dict)
    scores: dict[str, Scores] = field(default_factory=dict)
    answered: float = 0.0
    accuracy_answered: float | None = None
    usual_answered: float | None = None  # accuracy of always saying the channel's usual class, on the answered rows
    calibration_error: float | None = None
    gap: str | None = None


@dataclass(frozen=True, slots=True)
class TopicEvaluation:
    """Held-out posts of the channels: their mean percentile at home and abroad, and the chance (AUC) that a post of
    the channel's own fits it better than another channel's. None: there are too few texts, or one channel only.
    """

    channels: int
    posts: int
    at_home: float | None = None
    abroad: float | None = None
    auc: float | None = None


@dataclass(frozen=True, slots=True)
class ContentEvaluation:
    """A version, judged in order of time."""

    holdout_from: int
    holdout_until: int
    tasks: dict[Task, TaskEvaluation]
    topic: TopicEvaluation
