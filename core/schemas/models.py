"""Model versions, how they came to be, and how well they do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Strategy = Literal["batch", "incremental", "online", "transfer", "continual", "bandit", "tuned", "damaged"]
#: Strategies that go on from an earlier version where there is one; all but `continual` cannot do without.
FROM_A_VERSION: frozenset[Strategy] = frozenset({"incremental", "online", "transfer", "continual"})
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
    corrections: int = 0  # feedback items among the rows' targets
    corrections_sha256: str = ""  # of their ids, in order; none: nothing was corrected
    posts: int = 0  # that the rows are of
    published_from: int | None = None  # earlier posts were left out: the world changed then; None: none were


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
    """A version beside the baselines on the same holdout.

    scores: of "model", "rolling_median", "champion", and of "gradient_boosting" where all posts were learned from.
    """

    holdout_from: int
    holdout_until: int
    scores: dict[str, tuple[Score, ...]]
    versus_champion: PairedComparison | None = None
    memory: Memory | None = None  # of a version that learned slice by slice


@dataclass(frozen=True, slots=True)
class Memory:
    """What a sequence of K slices in order of time did to each other: mean |log error|, natural, rows never fitted to.

    errors: K x K, errors[i][j] after slice i was learned, on slice j. before: K, ahead of the first. forgetting: mean
    rise over the best a slice ever had (0..). backward_transfer: mean fall since a slice was learned; negative where
    later slices spoiled it.
    """

    edges: tuple[int, ...]  # K + 1, epoch seconds of publication
    posts: tuple[int, ...]  # K, judged on
    before: tuple[float, ...]
    errors: tuple[tuple[float, ...], ...]
    forgetting: float
    backward_transfer: float


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
    channels: tuple[str, ...] = ()  # learn from these alone; none named: all
    until: int | None = None  # use nothing known later; default: the clock's now
    published_from: int | None = None  # use no post published earlier: the world changed then; None: all posts
    warm_start: int | None = None  # version whose weights to start from
    compare_with: int | None = None  # version to evaluate on the same holdout
    params: dict[str, Any] = field(default_factory=dict)
    budget_s: float = 120.0
    priority: int = 0
    after: tuple[str, ...] = ()  # tasks that must be done before this one begins
    timeout_s: float | None = None  # an attempt that takes longer is ended; None: ten times the budget
    attempts: int = 3  # how often it is begun before it is given up

    @property
    def limit_s(self) -> float:
        """Longest time of one attempt, seconds."""
        return 10 * self.budget_s if self.timeout_s is None else self.timeout_s


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
    reason: str | None = None  # kind of the last failure: a code of core.errors, "timed-out", "dependency-failed"
    not_before: int | None = None  # epoch seconds of the machine: the next attempt waits until then
    created_at: int = 0


@dataclass(frozen=True, slots=True)
class PostingTime:
    """When to publish in a channel, from what its posts earned by hour and weekday; or why that cannot be said.

    rise: expected views at 24 h as a multiple of the channel's usual, with a 90 % interval. probability: that no other
    cell is better. n: posts of this very hour and weekday; posts: of all.
    """

    channel: str
    timezone: str
    posts: int
    weekday: int | None = None  # 0: Monday, in the channel's zone
    hour: int | None = None
    rise: float | None = None
    low: float | None = None
    high: float | None = None
    probability: float | None = None
    n: int | None = None
    gap: str | None = None  # not enough data: needed and have


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a finished task leaves: a registered version (train), the best parameters (tune), posting times (bandit)."""

    seconds: float
    version: int | None = None
    evaluation: Evaluation | None = None
    best_params: dict[str, Any] | None = None
    trials: tuple[dict[str, Any], ...] = ()
    posting_times: tuple[PostingTime, ...] = ()
