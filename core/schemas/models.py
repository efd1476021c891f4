"""Model versions, how they came to be, and how well they do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Strategy = Literal["batch", "incremental", "tuned", "damaged"]
Alias = Literal["champion", "challenger", "previous"]


@dataclass(frozen=True, slots=True)
class Signature:
    """The input that a version expects, checked before it is served."""

    features: tuple[str, ...]
    targets: tuple[str, ...]
    schema: str  # version of training.features' definitions


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a version comes from."""

    parent: int | None
    data_from: int
    data_until: int  # nothing known later than this was used
    rows: int
    data_sha256: str
    code: str  # version of the package, and the revision where there is one
    seed: int
    strategy: Strategy


@dataclass(frozen=True, slots=True)
class Score:
    """Errors of one forecaster on one slice of a time-ordered holdout; logs are natural."""

    target: str
    known_age_h: int
    n: int
    mae_log: float
    mae_log_low: float  # 95 % bootstrap interval of the mean
    mae_log_high: float
    auc: float | None  # of "above the channel's own median"; None: one class only
    coverage: float | None  # of the 80 % interval; None: the forecaster has none


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A version beside the baselines on the same holdout."""

    holdout_from: int
    holdout_until: int
    scores: dict[str, tuple[Score, ...]]  # "model", "rolling_median", "gradient_boosting", "champion"
    versus_champion: PairedComparison | None = None


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Mean difference of |log error| on the same rows, challenger - champion; negative: the challenger is better."""

    n: int
    mean: float
    low: float  # 95 % interval, bootstrap over posts
    high: float
    verdict: Literal["better", "not_worse", "worse", "undecided"]
    margin: float
    against: int | None = None  # the champion's version; None: made before it was noted


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A row of the registry."""

    model: str
    version: int
    sha256: str
    signature: Signature
    params: dict[str, Any]
    metrics: Evaluation | None
    lineage: Lineage
    created_at: int
    aliases: tuple[str, ...] = ()
    semantic: str = ""  # MAJOR.MINOR.PATCH, by the rules of core.semantic
    pruned_at: int | None = None  # from then on its artifact may be gone: it cannot serve any more


@dataclass(frozen=True, slots=True)
class NewVersion:
    """What versioning needs to register a trained model; `key` makes it idempotent."""

    model: str
    sha256: str  # of the artifact, already in the store
    signature: Signature
    params: dict[str, Any]
    metrics: Evaluation | None
    lineage: Lineage
    key: str


@dataclass(frozen=True, slots=True)
class AliasChange:
    """A row of an alias's history."""

    model: str
    alias: str
    from_version: int | None
    to_version: int | None
    generation: int
    reason: str
    actor: str
    at: int


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """Work for the learner; the same key is the same task."""

    key: str
    model: str
    kind: Literal["train", "tune"] = "train"
    strategy: Strategy = "batch"
    until: int | None = None  # use nothing known later; default: the clock's now
    warm_start: int | None = None  # version whose weights to start from
    compare_with: int | None = None  # version to evaluate on the same holdout
    params: dict[str, Any] = field(default_factory=dict)
    budget_s: float = 120.0
    priority: int = 0


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """From inside the training loop."""

    epoch: int
    epochs: int
    loss: float
    validation: float | None


TaskState = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """State of a piece of work; `result` when done."""

    id: str
    key: str
    model: str
    kind: Literal["train", "tune"]
    state: TaskState
    attempt: int
    request: TrainingRequest
    progress: TrainingProgress | None = None
    result: TrainingResult | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a finished task leaves: a registered version (train), or the best parameters (tune)."""

    seconds: float
    version: int | None = None
    evaluation: Evaluation | None = None
    best_params: dict[str, Any] | None = None
    trials: tuple[dict[str, Any], ...] = ()
