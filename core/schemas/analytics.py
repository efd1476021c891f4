"""Figures of a channel: every one carries its sample size and the span that it covers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


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
    low: float | None = None  # 95 % bootstrap interval of the value itself
    high: float | None = None
    first: int | None = None  # when the first and the last post, day or reading that the value rests on began
    last: int | None = None


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
    er: float | None = None  # (reactions + forwards + comments) / views
    comments: int | None = None
    curve: tuple[float | None, ...] = ()  # views at the ages of `CURVE_AGES_H`


#: ages, in hours, at which curves of posts are given
CURVE_AGES_H = (1, 4, 12, 24, 48, 72, 168)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A post's views at an age, beside the channel's posts at that age; None: not known."""

    age_h: int
    views: float | None
    usual: float | None  # median of the channel's posts
    low: float | None  # the band that holds the middle 80 % of them
    high: float | None
    n: int  # posts that the usual rests on
    overperformance: float | None


@dataclass(frozen=True, slots=True)
class PostCurve:
    """How a post was read over time."""

    channel: str
    post_id: int
    published_at: int
    readings: tuple[tuple[int, int], ...]  # (seconds after publication, views), every one that is stored
    points: tuple[CurvePoint, ...]
    half_life_h: float | None  # age at which it had half of its views at 7 days
    notes: tuple[str, ...] = ()


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
    first_reading: int | None = None  # of views, at times that the source states
    first_subscribers: int | None = None
    last_subscribers: int | None = None
    usual_interval_s: float | None = None  # between rounds of reading views
    view_half_life_h: float | None = None  # median over posts: how soon a post has half of its views at 7 days
    half_life_posts: int = 0


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


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is told of a finding beside its own fields."""

    timezone: str
    days: int  # that were away from the usual; 0: the finding is of an hour
    course: Literal["open", "settled", "over"]  # going on; the new level is the usual one; back within the usual
    subscribers: float | None  # at the onset
    quiet_points: float  # days (hours of a finding of an hour) of a quiet series in which the detector errs once
    detail: str | None = None  # one more sentence, where the data gives one
