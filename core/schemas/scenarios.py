"""What would change if the channel published otherwise: the question, and the answer with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

from core.schemas.channel_studies import Estimate
from core.schemas.channels import PostDraft
from core.schemas.predictions import Target


@dataclass(frozen=True, slots=True)
class ScenarioSpec:
    """How to publish; None: as until now."""

    posts_per_day: float | None = None
    hour: int | None = None  # of the channel's zone
    text_len: int | None = None
    media: str | None = None


@dataclass(frozen=True, slots=True)
class PlannedPost:
    """A post that is to come."""

    draft: PostDraft
    published_at: int


@dataclass(frozen=True, slots=True)
class Range:
    """A mean over simulated futures with its middle 80 and 95 %."""

    mean: float
    low_80: float
    high_80: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Fatigue:
    """How views per post answer to the number of posts a day, from the channel's own days.

    elasticity: -0.3 says that 10 % more posts go with about 3 % fewer views each; None: not known, with the reason.
    """

    elasticity: Estimate
    applied: bool


@dataclass(frozen=True, slots=True)
class Scenario:
    """A plan beside going on as before, over the same days."""

    channel: str
    spec: ScenarioSpec
    target: Target
    days: int
    posts: tuple[int, int]  # as before, planned
    usual: Range  # views of a day's posts at the target's age, going on as before
    planned: Range
    difference: Range  # planned - usual, views a day
    relative: float  # difference of the means / mean of usual
    chance_better: float
    correlation: float  # of the posts' luck in one future, from the channel's own posts
    fatigue: Fatigue
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
