"""Alerts: what a rule asks, what it raised, what was told to whom, and how a rule would have done on stored history."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from core.clock import DAY
from core.schemas.reports import ReportTold

RuleKind = Literal["threshold", "change", "baseline", "forecast", "anomaly", "competitor_post", "keyword"]
Direction = Literal["below", "above", "either"]  # either: for anomalies alone
Reference = Literal["same_window_4_weeks", "previous_period"]
Severity = Literal["low", "medium", "high", "critical"]
AlertState = Literal["firing", "acknowledged", "snoozed", "resolved"]
DeliveryState = Literal["pending", "sent", "failed", "dead"]
TargetKind = Literal["log", "webhook", "telegram", "email"]
About = Literal["raised", "escalated", "reminded", "resolved", "digest", "report"]

SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")
OPEN: tuple[AlertState, ...] = ("firing", "acknowledged", "snoozed")
#: kinds that look at posts one by one, as they arrive
ON_POSTS: tuple[RuleKind, ...] = ("competitor_post", "keyword")

_CLOSED: dict[str, str] = {"extra": "forbid"}


@dataclass(frozen=True, slots=True)
class Target:
    """Where something is told: an HTTP(S) address, a Telegram chat's id, a mail address; nothing for the log."""

    __pydantic_config__: ClassVar = _CLOSED

    kind: TargetKind
    address: str = ""


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Hours of every day in which nothing is told; what came up then is told at their end, one by one or as a digest.

    start, end: HH:MM in the zone; an end at or before the start is on the next day.
    """

    __pydantic_config__: ClassVar = _CLOSED

    start: str
    end: str
    timezone: str
    critical_passes: bool = False
    then: Literal["deliver", "digest"] = "deliver"


@dataclass(frozen=True, slots=True)
class Escalation:
    """An alert that nobody acknowledged for so long becomes one step more severe and is told to these targets."""

    __pydantic_config__: ClassVar = _CLOSED

    after_s: int
    targets: tuple[Target, ...] = ()  # none: the rule's own


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """What is watched, and what happens when it leaves its bounds.

    The measure that `threshold` and `clear` are for depends on the kind: the metric's value (`threshold`), its relative
    change against the reference as a fraction, -0.3 for 30 % less (`change`), its multiple of the median of the 28
    windows before (`baseline`), a day's distance from what was forecast of it in half-widths of the 95 % band, outside
    of it beyond 1 or -1 (`forecast`). `anomaly` takes findings of the anomaly service and has no measure. Rules on
    posts (`competitor_post`, `keyword`) name `channels` or a `watch_list`, and have no metric and no end to wait for.
    """

    __pydantic_config__: ClassVar = _CLOSED

    name: str
    kind: RuleKind
    metric: str | None = None  # name or alias in core.metrics; None: any, for anomalies
    direction: Direction = "below"
    threshold: float | None = None
    window_days: int = 1  # whole days of the channel's zone
    reference: Reference = "same_window_4_weeks"
    clear: float | None = None  # the alert ends at this measure; None: half way back to the usual
    noise: float = 0.0  # a breach is also so many usual deviations away from the median of the 28 windows before
    least_severity: Severity = "medium"  # of findings, for anomalies
    cool_down_s: int = DAY  # rest after an alert ended, before the next one
    severity: Severity = "medium"
    channel: str | None = None  # None: every channel
    targets: tuple[Target, ...] = (Target("log"),)
    quiet: QuietHours | None = None
    escalation: Escalation | None = None
    tell_resolved: bool = True
    channels: tuple[str, ...] = ()  # whose posts are looked at
    watch_list: str | None = None  # ... or those of a watch list, as it is when a post arrives
    overperforms: float | None = None  # competitor_post: only one with so many times the usual views at its age
    words: tuple[str, ...] = ()  # keyword: words and phrases, the last word of each may end in *
    match: Literal["any", "all"] = "any"  # of the words
    exclude: tuple[str, ...] = ()  # a post with one of these is none
    horizon_days: int = 7  # forecast: the one that was given so many days before


@dataclass(frozen=True, slots=True)
class AlertRule:
    """A stored rule. What it asks never changes; addresses are shown without what may be secret in them."""

    id: str
    spec: RuleSpec
    enabled: bool
    created_at: int
    not_judged: dict[str, str] = field(default_factory=dict)  # channel to why there is no forecast to judge it by


@dataclass(frozen=True, slots=True)
class DefaultRules:
    """Rules that suit a channel, and why others do not: name to reason."""

    rules: tuple[AlertRule, ...]
    left_out: dict[str, str]


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a rule found in a channel.

    A rule has at most one that is not resolved in each channel; a rule on posts has one for each post.
    """

    id: str
    rule_id: str
    rule: str
    channel: str
    metric: str
    kind: RuleKind
    severity: Severity
    state: AlertState
    onset: int  # the window in which it began ...
    until: int  # ... and its end
    raised_at: int
    reason: str
    unit: str
    value: float | None = None
    reference: float | None = None
    n: int = 0  # posts or days that the value rests on
    findings: tuple[str, ...] = ()  # ids, for anomalies
    acknowledged_at: int | None = None
    acknowledged_by: str | None = None
    snoozed_until: int | None = None
    escalated_at: int | None = None
    resolved_at: int | None = None
    resolution: str | None = None
    updated_at: int = 0
    post_id: int | None = None  # of rules on posts
    link: str | None = None  # where the post can be read, where the channel's name says it
    ends_at: int | None = None  # it ends by itself then: a post has no better moment


@dataclass(frozen=True, slots=True)
class Notice:
    """What is told: one thing about one alert, several of them together (`digest`), or a scheduled report."""

    id: str  # the delivery's: the same however often it is sent
    about: About
    at: int
    text: str
    alert: Alert | None = None
    notices: tuple[Notice, ...] = ()
    report: ReportTold | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notice to one target."""

    id: str
    about: About
    target: Target  # shown without what may be secret
    state: DeliveryState
    attempts: int
    created_at: int
    not_before: int  # held back until then
    alert_id: str | None = None  # None: a digest or a report
    sent_at: int | None = None
    reason: str | None = None  # of the last failure


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What one pass over the outbox did."""

    sent: int = 0
    failed: int = 0
    dead: int = 0


@dataclass(frozen=True, slots=True)
class AlertReport:
    """What one pass over new data did."""

    events: int = 0
    raised: int = 0
    resolved: int = 0
    escalated: int = 0


@dataclass(frozen=True, slots=True)
class PastAlert:
    """An alert that a rule would have raised; `resolved_at` None: it would still be open.

    A rule on posts: at the post's publication, or at the reading that shows its overperformance.
    """

    at: int
    resolved_at: int | None
    value: float | None
    reference: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class ChannelBacktest:
    """A rule on one channel's stored history; `missing` says why it cannot be judged there."""

    channel: str
    since: int | None
    until: int | None
    judged: int  # windows, or posts, with a value
    unknown: int  # ... and without one
    alerts: tuple[PastAlert, ...] = ()
    per_30_days: float | None = None
    missing: str | None = None
    unlisted: int = 0  # further alerts, older than those listed


@dataclass(frozen=True, slots=True)
class Backtest:
    """How often a rule would have raised an alert, and when."""

    spec: RuleSpec
    alerts: int
    per_30_days: float | None  # a channel, over those that could be judged
    channels: tuple[ChannelBacktest, ...]


@dataclass(frozen=True, slots=True)
class Digest:
    """Alerts of a period."""

    since: int
    until: int
    raised: int
    resolved: int
    open: int  # now
    by_severity: dict[str, int]  # raised
    by_channel: dict[str, int]  # raised
    alerts: tuple[Alert, ...]  # raised in it or still open, the most severe first
    undelivered: int  # notices that were given up
    text: str


@dataclass(frozen=True, slots=True)
class LivePost:
    """A fresh post; what cannot be known is None and `missing` says why."""

    post_id: int
    published_at: int
    age_h: float  # at its last reading
    views: int | None
    readings: int
    views_per_h: float | None  # between its last two readings, or since publication
    over_h: float | None  # the span that the velocity is of
    overperformance: float | None  # views / usual
    usual: float | None  # the channel's median at the same age
    usual_n: int  # posts that it rests on
    read_at: int | None
    reading_age_s: int | None
    excerpt: str | None = None
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Live:
    """The posts of a channel younger than 48 hours, newest first, and how fresh the data is."""

    channel: str
    at: int
    last_reading: int | None
    reading_age_s: int | None
    usual_interval_s: float | None  # between rounds of reading
    posts: tuple[LivePost, ...]
    missing: tuple[str, ...] = ()
