"""What is measured of a model version in service, and drift reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from core.schemas.drift import MultivariateDrift
from core.schemas.drift import Severity as Severity


@dataclass(frozen=True, slots=True)
class SliceQuality:
    """Errors of matured predictions of one target at one known age."""

    target: str
    known_age_h: int
    n: int
    mae_log: float
    bias_log: float
    coverage: float


@dataclass(frozen=True, slots=True)
class Hour:
    """What a version was asked in one hour, of the clock by which predictions are logged."""

    at: int  # its start
    requests: int
    errors: int


@dataclass(frozen=True, slots=True)
class SegmentMetrics:
    """A part of a version's requests: `arm=canary`, `band=1k-10k` (the channel's usual views), `age=4` (hours)."""

    segment: str
    requests: int
    errors: int
    latency_ms_p50: float | None
    latency_ms_p95: float | None
    outcomes: int = 0  # of answers given before the value was known
    mae_log: float | None = None
    coverage: float | None = None


@dataclass(frozen=True, slots=True)
class MissingFeature:
    """How often an input was not known when a version answered."""

    feature: str
    n: int
    rate: float


@dataclass(frozen=True, slots=True)
class VersionMetrics:
    """A version in service, from the prediction log and joined outcomes."""

    model: str
    version: int
    requests: int
    errors: int
    latency_ms_p50: float | None
    latency_ms_p95: float | None
    matured: int  # predictions with an outcome
    quality: tuple[SliceQuality, ...] = ()
    latency_ms_p99: float | None = None
    error_rate: float | None = None  # None without requests
    requests_per_hour: float | None = None  # mean of `hours`; None before the first request
    hours: tuple[Hour, ...] = ()  # the last 24, this one included, from the first request on
    segments: tuple[SegmentMetrics, ...] = ()
    missing: tuple[MissingFeature, ...] = ()  # inputs that were ever missing, most often first


@dataclass(frozen=True, slots=True)
class Degradation:
    """A figure of a version in recent days beside the days before, judged in the metric's own direction."""

    metric: str
    segment: str  # target@known age; "": all
    verdict: Literal["worse", "better", "steady", "insufficient"]
    before_n: int
    recent_n: int
    change: float | None  # recent mean - mean before
    low: float | None  # 99 % interval of the change
    high: float | None
    severity: Severity = "none"  # of a figure that got worse: how far beyond what is tolerated


@dataclass(frozen=True, slots=True)
class SeriesLevel:
    """A stretch of a stored series in which its level did not change."""

    since: int  # start of its first bucket
    buckets: int  # with observations
    mean: float  # of all observations


@dataclass(frozen=True, slots=True)
class SeriesLevels:
    """A figure over time, cut where its level changed."""

    metric: str
    segment: str  # target@known age, an input; "": all
    bucket_s: int  # seconds of a bucket
    n: int  # buckets with observations
    needed: int  # from which changes are looked for
    levels: tuple[SeriesLevel, ...] = ()  # one: no change; none: too few buckets


AlertSeverity = Literal["page", "ticket"]


@dataclass(frozen=True, slots=True)
class BurnRule:
    """One alert rule: the budget burns at least `factor` times too fast over both windows. Burn 1 just lasts."""

    severity: AlertSeverity
    factor: float
    long_s: int
    short_s: int
    long_n: int
    short_n: int
    long_burn: float | None  # None: too few events to say
    short_burn: float | None
    state: Literal["firing", "quiet", "insufficient"]


@dataclass(frozen=True, slots=True)
class SloStatus:
    """An objective on single events (requests), and what is left of its error budget."""

    name: Literal["availability", "latency"]
    objective: float  # share of good events
    what: str  # what makes an event good
    n: int  # in the period
    bad: int
    figure: float | None  # share of good events in the period; None without any
    budget_left: float | None  # 1: untouched, below 0: overspent; None: too few events to say
    needed: int  # events from which something is said
    rules: tuple[BurnRule, ...]


@dataclass(frozen=True, slots=True)
class BoundStatus:
    """An objective on a mean of matured outcomes: missed where its 99 % interval lies outside over two windows."""

    name: Literal["coverage", "error"]
    low: float | None  # bounds
    high: float | None
    what: str
    n: int  # in the long window
    recent_n: int  # in the short one
    figure: float | None  # of the long window
    figure_low: float | None
    figure_high: float | None
    needed: int
    state: Literal["met", "page", "ticket", "insufficient"]


@dataclass(frozen=True, slots=True)
class SloAlert:
    """Something that a person should see: now (page) or in working hours (ticket)."""

    slo: str
    severity: AlertSeverity
    reason: str


@dataclass(frozen=True, slots=True)
class AlertChange:
    """A promise of a model, as its askers met it, that began to be broken or is kept again.

    (model, seq) names it, also when people are told of it twice.
    """

    model: str
    slo: str
    severity: AlertSeverity
    state: Literal["begun", "ended"]
    at: int
    reason: str
    seq: int = 0  # given by the database

    @property
    def key(self) -> str:
        """Identity of the notice."""
        return f"alert:{self.model}:{self.seq}"


@dataclass(frozen=True, slots=True)
class SloReport:
    """Objectives of a model as its askers met it, or of one version."""

    model: str
    version: int | None  # None: the model, whichever version answered
    at: int
    period_days: int
    events: tuple[SloStatus, ...]
    outcomes: tuple[BoundStatus, ...]
    alerts: tuple[SloAlert, ...] = ()


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """One feature's reference against the recent window."""

    feature: str
    effect: float  # population stability index on reference deciles, less what chance alone gives at these sizes
    p_value: float  # two-sample Kolmogorov-Smirnov, and the missing share where values are missing
    rejected: bool  # after Benjamini-Hochberg over the features
    missing_change: float  # difference of the missing share
    distance: float | None = None  # Kolmogorov-Smirnov
    wasserstein: float | None = None  # in standard deviations of the reference


@dataclass(frozen=True, slots=True)
class ResidualDrift:
    """Concept drift: the stream of signed log errors of matured predictions."""

    n: int
    alarms: int  # since the version became champion
    last_alarm_at: int | None  # timeline of the data
    onset_estimate: int | None
    mean_before: float | None
    mean_after: float | None
    stream: str | None = None  # of the last alarm: target@known age, and level (signed error) or spread (its size)
    effect: float | None = None  # (mean_after - mean_before) in standard deviations of the reference


@dataclass(frozen=True, slots=True)
class StreamDrift:
    """One stream that is followed in service, whole or the part of one group of channels.

    watched: `errors` (signed, and their size), `missed` (outcomes outside their 80 % interval), `failed` (requests
    without an answer). before, after: means of the reference and since the last shift began, in natural log units for
    errors, as shares for the others; of those only a rise is an alarm.
    """

    stream: str  # target@known age, or requests
    group: str  # power of ten of the predicted views: 1e3 is 1,000 to 9,999 (1e2 all below, 1e5 all above); "": all
    watched: Literal["errors", "missed", "failed"]
    n: int
    needs: int  # values still to come before it can judge
    alarms: int
    kind: str | None = None  # of the last alarm: level (signed error), spread (its size), share
    last_alarm_at: int | None = None
    onset_estimate: int | None = None
    before: float | None = None
    after: float | None = None
    effect: float | None = None  # after - before in standard deviations of the reference


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What moved; severity is by effect size. Input drift informs, residual drift acts."""

    model: str
    version: int
    at: int
    reference_n: int
    recent_n: int
    severity: Severity
    features: tuple[FeatureDrift, ...] = ()
    residuals: ResidualDrift | None = None
    notes: tuple[str, ...] = field(default_factory=tuple)
    multivariate: MultivariateDrift | None = None  # all inputs together, None in reports made before it was looked at
    streams: tuple[StreamDrift, ...] = ()  # everything that is followed in service, by group
