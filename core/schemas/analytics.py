"""Figures of a channel: every one carries its sample size and the span that it covers."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric over a period beside the equal period before it; None with `missing` saying why."""

    metric: str  # name in core.metrics
    unit: str
    value: float | None
    n: int
    previous: float | None = None
    previous_n: int = 0
    change: float | None = None  # (value - previous) / previous
    change_low: float | None = None  # 95 % bootstrap interval
    change_high: float | None = None
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """A channel in a period."""

    channel: str
    since: int
    until: int
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PostRow:
    """A post at equal age beside its channel's usual."""

    post_id: int
    published_at: int
    views: float | None  # at age_h
    age_h: int
    overperformance: float | None  # views / the channel's median at that age
    forwards: int | None
    reactions: int | None
    excerpt: str | None = None


@dataclass(frozen=True, slots=True)
class SeriesPoint:
    """A value of a bucket; None: no data in it."""

    ts: int
    value: float | None


@dataclass(frozen=True, slots=True)
class DataStatus:
    """What is collected, since when, and what is missing."""

    channel: str
    posts: int
    posts_with_views: int
    view_readings: int
    subscriber_readings: int
    reactions: int
    first_post: int | None
    last_post: int | None
    last_reading: int | None
    gaps: tuple[tuple[int, int], ...]  # spans without any reading, longer than four times the usual interval
    missing: tuple[str, ...]  # one line each: "views unavailable from this source", ...


@dataclass(frozen=True, slots=True)
class Cause:
    """A share of a change; shares sum to the change exactly, `unexplained` among them."""

    factor: str
    share: float  # in the metric's unit
    evidence: str


@dataclass(frozen=True, slots=True)
class AnomalyFinding:
    """Something unusual in a channel's metric."""

    id: str
    channel: str
    metric: str
    kind: str  # spike, level_shift, hour
    direction: str  # up, down
    severity: str  # low, medium, high, critical
    onset: int
    ended: int | None
    observed: float
    expected: float
    score: float  # in [0, 1]: 1 - tail probability
    causes: tuple[Cause, ...] = ()
    advice: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)
