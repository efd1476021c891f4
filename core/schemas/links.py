"""What binds channels: series that follow each other, mentions and what they bring, rank in the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.schemas.channel_studies import Estimate

# ---------------------------------------------------------------- series that follow each other


@dataclass(frozen=True, slots=True)
class LaggedLink:
    """Two channels' daily series at the lag at which they resemble each other most.

    lag_days > 0: `second` does some days later what `first` did; 0: on the same day.
    """

    first: str
    second: str
    lag_days: int
    correlation: float  # of what trend, week and own past do not explain, from -1 to 1
    low: float  # 95 % interval that allows for having chosen the lag
    high: float
    days: int  # that the correlation rests on
    p: float  # chance of as much at any of the lags between unrelated series
    q: float  # the same over all pairs: Benjamini-Hochberg adjusted
    beyond_chance: bool


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A channel that could not take part, and why."""

    channel: str
    why: str


@dataclass(frozen=True, slots=True)
class CrossChannel:
    """All pairs of channels, most certain first. A link says that one follows the other, not that it is the cause."""

    metric: str
    since: int
    until: int
    lags_days: int  # lags from minus this many days to as many were looked at
    channels: tuple[str, ...]
    pairs: int
    false_discovery_rate: float
    links: tuple[LaggedLink, ...]  # beyond chance first
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...] = ()


# ---------------------------------------------------------------- who names whom


@dataclass(frozen=True, slots=True)
class Evidence:
    """A post that names a channel."""

    post_id: int
    published_at: int


@dataclass(frozen=True, slots=True)
class MentionEdge:
    """Posts of one channel that name another: readers are led from source to target."""

    source: str
    target: str
    posts: int
    first: int
    last: int
    evidence: tuple[Evidence, ...]  # the newest ones


@dataclass(frozen=True, slots=True)
class Rank:
    """A channel's place in the graph of mentions."""

    channel: str
    stored: bool  # its own posts are here, so whom it names is known
    score: float  # PageRank times the number of channels: 1.0 is the average channel
    named_by: int  # channels
    names: int  # channels


@dataclass(frozen=True, slots=True)
class Influence:
    """Who feeds whom, and whom the graph of mentions leads to."""

    channel: str | None  # edges of this one only; None: all
    damping: float
    ranks: tuple[Rank, ...]
    edges: tuple[MentionEdge, ...]
    mentions: int  # of the whole graph
    overlap: Estimate  # shared audience: always missing, with the reason
    notes: tuple[str, ...] = ()


# ---------------------------------------------------------------- what a mention brings


@dataclass(frozen=True, slots=True)
class Lift:
    """Subscribers that a mention's 24 hours brought beyond the usual of the 14 days before."""

    post_id: int
    at: int
    lift: float
    usual: float  # median daily change of the 14 days before
    shared: tuple[str, ...]  # other channels that named the target within 24 h: the lift is theirs too


@dataclass(frozen=True, slots=True)
class MentionLift:
    """All mentions of a target by a source, beside what other moments of the target give."""

    source: str
    target: str
    n: int  # mentions with a known lift, those within 24 h of each other once
    unknown: int  # mentions whose lift cannot be known
    median: float | None  # of the lifts, subscribers
    placebo_low: float | None  # the middle 95 % of medians over as many other moments
    placebo_median: float | None
    placebo_high: float | None
    placebo_moments: int  # hours through which the moments were moved
    p: float | None  # two-sided: chance of a median as far from the placebo's median at other moments
    q: float | None  # Benjamini-Hochberg adjusted over all links of the answer
    reading: Literal["above", "within", "below", "unknown"]  # the middle 95 % of other moments
    lifts: tuple[Lift, ...]
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class MentionLifts:
    """Mention lift of every source of a channel, or of every stored pair."""

    channel: str | None
    links: tuple[MentionLift, ...]
    mentions: int  # with a known lift
    positive: float | None  # share of mentions with a positive lift
    placebo_positive: float | None  # the same at other moments of the same targets
    median: float | None
    notes: tuple[str, ...] = ()
