"""What a comparison of two tables found: columns of any kind, all of them together, the schema and the label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["none", "low", "medium", "high"]
ColumnKind = Literal["numeric", "categorical", "empty"]


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """One column of the reference against the recent table.

    effect: population stability index less what chance gives at these sizes (0 where chance would do); in this unit a
    Gaussian column moved by d standard deviations has about d squared. p_value: that the column differs at all, None
    where there are too few values for any test.
    """

    column: str
    kind: ColumnKind
    reference_n: int  # values present
    recent_n: int
    p_value: float | None
    named: bool  # the report found drift, and Benjamini-Hochberg over the columns rejects this one
    effect: float
    severity: Severity  # of the effect; "none" unless named
    distance: float | None  # Kolmogorov-Smirnov distance, or Jensen-Shannon divergence in bits where categorical
    wasserstein: float | None  # first Wasserstein distance in standard deviations of the reference, numeric only
    missing_change: float  # difference of the missing share
    unseen: tuple[str, ...] = ()  # categories that the reference lacks, most frequent first, at most ten
    unseen_share: float = 0.0  # share of the recent values in all such categories


@dataclass(frozen=True, slots=True)
class MemberTest:
    """One of the tests that are combined: its own p-value, and its share of the family-wise level."""

    name: str
    p_value: float
    share: float


@dataclass(frozen=True, slots=True)
class PairDrift:
    """Two columns whose rank correlation (of normal scores) changed; p_value is adjusted for all pairs looked at."""

    first: str
    second: str
    reference_correlation: float
    recent_correlation: float
    p_value: float


@dataclass(frozen=True, slots=True)
class ColumnWeight:
    """Loss of the domain classifier's AUC when a column is shuffled."""

    column: str
    loss: float


@dataclass(frozen=True, slots=True)
class MultivariateDrift:
    """All columns together.

    p_value: adjusted, smallest over the members by Holm's weighted procedure; rejected: at most alpha. effect: the
    classifier's AUC in the unit of the stability index (squared shift, in standard deviations, of a Gaussian score
    with the same AUC), 0 where chance would do.
    """

    alpha: float
    p_value: float
    rejected: bool
    members: tuple[MemberTest, ...]
    auc: float | None  # of the domain classifier on its held-out half
    effect: float
    pairs: tuple[PairDrift, ...] = ()  # whose correlation changed, at family-wise level alpha over the pairs
    weights: tuple[ColumnWeight, ...] = ()  # columns by which the classifier tells the tables apart, heaviest first
    rows: tuple[int, int] = (0, 0)  # reference and recent rows that were looked at
    columns: int = 0  # columns that were looked at


@dataclass(frozen=True, slots=True)
class SchemaDrift:
    """Columns of the reference that the recent table lacks, those it adds, those whose kind changed or is unknown."""

    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()  # "name: numeric -> categorical"
    unsupported: tuple[str, ...] = ()  # nested or binary: not compared

    @property
    def drifted(self) -> bool:
        """Whether a column vanished, appeared or changed its kind."""
        return bool(self.missing or self.extra or self.changed)


@dataclass(frozen=True, slots=True)
class BatchDriftReport:
    """Two tables compared, with one family-wise level.

    drifted: some test rejects at `alpha` in all (a schema that changed is told apart and needs no test). severity: the
    largest effect among what was named, never a p-value; "low" where drift was found and nothing larger.
    """

    reference_n: int
    recent_n: int
    alpha: float
    p_value: float
    drifted: bool
    severity: Severity
    columns: tuple[ColumnDrift, ...]
    label: ColumnDrift | None
    multivariate: MultivariateDrift | None
    schema: SchemaDrift
    top: tuple[str, ...]  # columns that matter, first the one with the most evidence
    notes: tuple[str, ...] = ()
