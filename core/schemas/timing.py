"""When posts are read: hours and weekdays with intervals, rhythm of a channel's views, how long its posts live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.schemas.channel_studies import Estimate


@dataclass(frozen=True, slots=True)
class TimeCell:
    """An hour of a weekday in the channel's zone, beside the channel's usual; shares: 0.2 is a fifth more views."""

    weekday: int  # 0: Monday
    hour: int
    n: int  # posts published in it
    effect: float  # partially pooled: without posts of its own it rests on the neighbouring hours and the weekday
    low_80: float
    high_80: float
    low: float  # 95 %, of this cell alone
    high: float


@dataclass(frozen=True, slots=True)
class BestTime:
    """One of the best cells, with an interval that holds whichever of all cells was chosen."""

    weekday: int
    hour: int
    n: int
    effect: float
    low: float  # simultaneous 95 %
    high: float
    chance_best: float  # that no other hour tried is better


@dataclass(frozen=True, slots=True)
class BestTimes:
    """What the time of publishing does to a post's views, content held equal."""

    channel: str
    timezone: str
    metric: str  # views_24h or views_final
    since: int  # first and last post that it rests on
    until: int
    posts: int
    controls: tuple[str, ...]  # what was held equal
    cells: tuple[TimeCell, ...]  # 168: Monday 0 h first
    p_hour: float  # permutation tests of "the hour (the weekday) makes no difference"
    p_weekday: float
    p: float  # both together (Bonferroni)
    decided: bool  # p of at most 5 %
    best: tuple[BestTime, ...]  # empty where no time is better than another beyond chance
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CyclePoint:
    """A part of a cycle beside the mean of the cycle."""

    position: int  # hour of the day, or weekday from Monday
    effect: float  # share: -0.1 is a tenth fewer views than the mean
    low: float  # 95 %
    high: float


@dataclass(frozen=True, slots=True)
class Cycle:
    """Whether views come in a daily or weekly rhythm."""

    name: Literal["day", "week"]
    cycles: int  # complete days or weeks
    p: float | None  # no rhythm: Friedman's statistic against rotated cycles
    strength: float | None  # share of the variance around the trend that the rhythm explains, 0..1
    points: tuple[CyclePoint, ...]
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Seasonality:
    """Rhythm of the views that a channel gains, and the half-life of its posts."""

    channel: str
    timezone: str
    day: Cycle
    week: Cycle
    half_life_h: Estimate
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Factor:
    """Days of one name in the configured calendar, what posts of these days reached, and who says so."""

    name: str
    source: str  # the citation
    days: tuple[str, ...]  # ISO dates within the period
    effect: Estimate  # on views, against the other days' posts, as a share


@dataclass(frozen=True, slots=True)
class Context:
    """Factors from outside, only such as a configured and cited calendar names."""

    channel: str
    calendar: str  # its file's name
    since: int
    until: int
    factors: tuple[Factor, ...]
    notes: tuple[str, ...] = ()
