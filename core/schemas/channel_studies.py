"""What closer looks at a channel's numbers answer: every figure with its sample, every gap with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.schemas.analytics import Figure


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with a 95 % interval and its sample; None with `missing` saying why."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    missing: str | None = None


# ---------------------------------------------------------------- content mix


@dataclass(frozen=True, slots=True)
class MixRow:
    """Posts that share an attribute."""

    dimension: str  # media, length, links, hashtags, ad
    value: str
    posts: int
    share: float  # of the posts whose attribute is known
    views: float | None  # median of views at 24 h (final views for sources read once)
    effect: Estimate  # on views at 24 h against the other posts, as a share: 0.2 is a fifth more
    adjusted: Estimate  # the same with the other dimensions held equal


@dataclass(frozen=True, slots=True)
class Mix:
    """What a channel publishes, and how each kind is read."""

    channel: str
    since: int
    until: int
    posts: int
    metric: str  # views_24h or views_final
    rows: tuple[MixRow, ...]
    notes: tuple[str, ...] = ()


# ---------------------------------------------------------------- beside other channels


@dataclass(frozen=True, slots=True)
class Percentile:
    """Where a metric lies among comparable channels."""

    metric: str
    unit: str
    value: float | None
    percentile: float | None  # share of the others that lie below, ties counted half
    median: float | None  # of the others
    n: int  # other channels that have this metric
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Percentiles:
    """A channel among comparable ones."""

    channel: str
    since: int
    until: int
    cohort: str  # how the others were chosen
    size: int  # other channels in the cohort
    figures: tuple[Percentile, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ComparedMetric:
    """One metric of every channel compared, in the order of `Comparison.channels`."""

    metric: str
    unit: str
    better: Literal["higher", "lower", "neutral"]
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class ChannelComparison:
    """Channels side by side over the same number of days."""

    channels: tuple[str, ...]
    days: int
    metrics: tuple[ComparedMetric, ...]
    notes: tuple[str, ...] = ()


# ---------------------------------------------------------------- ads


@dataclass(frozen=True, slots=True)
class AdPost:
    """An ad-marked post at fixed ages; None: not read there."""

    post_id: int
    published_at: int
    reach_12h: float | None
    reach_24h: float | None
    reach_48h: float | None
    against_usual: float | None  # reach at 24 h / median of the posts around it without the mark
    cpm_24h: float | None = None
    cpm_48h: float | None = None


@dataclass(frozen=True, slots=True)
class AdReport:
    """What ad-marked posts reach."""

    channel: str
    since: int
    until: int
    reach_12h: Estimate
    reach_24h: Estimate
    reach_48h: Estimate
    against_others: Estimate  # share by which ads reach more (less) than the channel's other posts at 24 h
    cpm_24h: Estimate  # price per 1,000 views; only where a price was given
    cpm_48h: Estimate
    cpv_24h: Estimate
    posts: tuple[AdPost, ...]
    notes: tuple[str, ...] = ()


# ---------------------------------------------------------------- quality


@dataclass(frozen=True, slots=True)
class Sign:
    """One sign that buyers of ads look for."""

    name: str
    state: Literal["present", "absent", "unknown"]
    weight: float  # what it adds to the score when present
    evidence: str  # the figures, in words
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class Quality:
    """Evidence of bought audience or views. Not a verdict: every sign has innocent explanations."""

    channel: str
    since: int
    until: int
    score: float | None  # weight present / weight that could be looked at, 0..1; None: too little could be
    looked_at: float  # weight that could be looked at / all weight
    signs: tuple[Sign, ...]
    reading: str  # how to read it
    notes: tuple[str, ...] = ()


# ---------------------------------------------------------------- change over time


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """A day from which a series lies at another level."""

    at: int
    before: float  # mean of the segment before, and after
    after: float
    change: Estimate  # after - before


@dataclass(frozen=True, slots=True)
class Trend:
    """Direction of a daily series."""

    channel: str
    metric: str
    unit: str
    since: int
    until: int
    n: int  # days with a value
    slope: Estimate  # Theil-Sen, per day
    tau: float | None  # Kendall's, from -1 to 1
    p: float | None  # Mann-Kendall, two-sided, corrected for autocorrelation
    direction: Literal["up", "down", "none"] | None  # none: no trend is shown at 5 %
    changes: tuple[ChangePoint, ...]
    missing: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BeforeAfter:
    """A metric before and after a moment."""

    channel: str
    metric: str
    unit: str
    at: int
    days: int
    before: Estimate
    after: Estimate
    difference: Estimate
    relative: float | None  # difference / |before|
    p: float | None  # two-sided, by circular block bootstrap under "nothing changed"
    missing: str | None = None
    notes: tuple[str, ...] = ()
