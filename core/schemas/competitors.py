"""A channel among the ones it competes with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.schemas.channel_studies import ComparedMetric


@dataclass(frozen=True, slots=True)
class WatchList:
    """Channels that somebody keeps an eye on, in the order in which they were given."""

    name: str
    channels: tuple[str, ...]
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A channel that the graph of mentions leads to, or that writes about the same."""

    channel: str
    stored: bool  # its own posts are here, so it can be compared
    score: float  # chance that a walk along mentions from the channel is here, among all candidates
    names_it: int  # posts of the candidate that name the channel
    named_by_it: int  # posts of the channel that name the candidate
    shared: int  # third channels that name both
    last: int | None  # the newest of these mentions
    similarity: float | None = (
        None  # of topics: cosine, 0 is what stored channels are to each other; None: not compared
    )
    alike: bool = False  # similarity is beyond what pairs of stored channels have
    terms: tuple[str, ...] = ()  # words that make them alike


@dataclass(frozen=True, slots=True)
class TopicBand:
    """How similar stored channels of one script are in their topics."""

    channels: int  # compared
    usual: float  # median over their pairs
    band: float  # from here on two are alike


@dataclass(frozen=True, slots=True)
class Discovery:
    """Channels near a channel, nearest first by mentions and topics together."""

    channel: str
    candidates: tuple[Candidate, ...]
    mentions: int  # all mentions that the walk could use
    notes: tuple[str, ...] = ()
    topics: TopicBand | None = None  # None: topics could not be compared, a note says why


@dataclass(frozen=True, slots=True)
class Voice:
    """A channel's part of what the whole set did; None where one of the set cannot be counted."""

    channel: str
    posts: int
    posts_share: float | None
    views_gained: float | None
    views_share: float | None
    mentions: int  # posts of other stored channels that name it
    mentions_share: float | None


@dataclass(frozen=True, slots=True)
class Cadence:
    """When a channel publishes, in its own zone."""

    channel: str
    posts_a_day: float | None
    active_days: float | None  # share of days with a post
    hours: tuple[int, ...]  # posts by hour of the day, 24
    weekdays: tuple[int, ...]  # posts by day of the week from Monday, 7
    longest_silence_h: float | None


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that the others publish, and the channel rarely or never."""

    kind: Literal["hashtag", "media", "length", "links", "hashtags"]
    value: str
    own_share: float  # of the channel's posts
    others_share: float  # median over the others
    others: int  # channels of the others that do it
    overperformance: float | None  # median of those posts' views at 24 h over their channels' usual
    n: int  # posts that this rests on


@dataclass(frozen=True, slots=True)
class Competition:
    """A channel beside others over the same number of days."""

    channel: str
    others: tuple[str, ...]
    days: int
    voice: tuple[Voice, ...]  # the channel first
    cadence: tuple[Cadence, ...]
    metrics: tuple[ComparedMetric, ...]  # figures in the order (channel, *others)
    gaps: tuple[Gap, ...]
    notes: tuple[str, ...] = ()
