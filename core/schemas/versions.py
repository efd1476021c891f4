"""What versioning says of versions: checked artifacts, comparisons, what retention kept, and which are in service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.schemas.models import PairedComparison
from core.schemas.rollouts import TrafficSplit

Check = Literal["sha256", "signature", "features", "predictions"]
ScoreMetric = Literal["mae_log", "auc", "coverage"]
SliceVerdict = Literal["better", "worse", "undecided"]
Basis = Literal["newer_outcomes", "same_holdout", "judged_beside"]


@dataclass(frozen=True, slots=True)
class ArtifactCheck:
    """An artifact that may be put into service: everything in `checks` held.

    sha256: every byte. signature: the artifact's own is the registered one. features: this code makes them.
    predictions: computed again as they were stored.
    """

    model: str
    version: int
    semantic: str
    sha256: str
    bytes: int
    files: dict[str, int]  # name: bytes
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class SliceComparison:
    """One metric of one target at one known age: the first version's value beside the second's."""

    target: str
    known_age_h: int
    metric: ScoreMetric  # mae_log: lower is better, auc: higher, coverage: nearer to 0.8
    n: int
    first: float
    second: float
    verdict: SliceVerdict  # of the second version
    low: float | None = None  # interval of how much worse the second is; None: only scores are stored
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions judged on the same time-ordered posts.

    basis: newer_outcomes: both were asked again about posts whose outcomes neither could learn from, every difference
    is paired. same_holdout: their stored scores are of one holdout. judged_beside: the later one was trained beside
    the other and scored with it on its own holdout.
    """

    model: str
    first: int
    second: int
    basis: Basis
    posts_from: int  # first and last publication of the posts compared
    posts_until: int
    paired: PairedComparison | None  # second - first over all slices; None: not stored for these two
    slices: tuple[SliceComparison, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """A version that retention left alone, and every reason for it."""

    version: int
    semantic: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pruned:
    """A version that retention gave up; its row, lineage and scores stay."""

    version: int
    semantic: str
    sha256: str
    shared_with: str | None = None  # a version that is kept has the same artifact, which therefore stays


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What one pruning did, or would do."""

    model: str
    keep: int
    dry_run: bool
    kept: tuple[Kept, ...]  # newest first
    pruned: tuple[Pruned, ...]  # newest first; versions given up earlier are not named again
    deleted: tuple[str, ...]  # artifacts, those that an earlier pruning could not delete any more among them
    freed_bytes: int


@dataclass(frozen=True, slots=True)
class AliasHolder:
    """The version that an alias names, and how it came to that."""

    alias: str
    version: int
    semantic: str
    since: int
    by: str
    reason: str
    generation: int


@dataclass(frozen=True, slots=True)
class Deployment:
    """Which versions of a model are in charge, and what routers are told."""

    model: str
    aliases: tuple[AliasHolder, ...]  # champion, challenger, previous: those that name a version
    split: TrafficSplit | None  # None: nothing was ever put into service
    open_rollouts: tuple[str, ...]
    differences: tuple[str, ...] = ()  # between aliases and split while no roll-out is moving them
