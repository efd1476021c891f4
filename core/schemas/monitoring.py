"""What is measured of a model version in service, and drift reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["none", "low", "medium", "high"]


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


@dataclass(frozen=True, slots=True)
class Degradation:
    """A figure of a version in recent days beside the days before, judged in the metric's own direction."""

    metric: str
    segment: str  # target@known age
    verdict: Literal["worse", "better", "steady", "insufficient"]
    before_n: int
    recent_n: int
    change: float | None  # recent mean - mean before
    low: float | None  # 99 % interval of the change
    high: float | None


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """One feature's reference against the recent window."""

    feature: str
    effect: float  # population stability index on reference deciles, less what chance alone gives at these sizes
    p_value: float  # two-sample Kolmogorov-Smirnov, and the missing share where values are missing
    rejected: bool  # after Benjamini-Hochberg over the features
    missing_change: float  # difference of the missing share


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
