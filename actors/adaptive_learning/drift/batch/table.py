"""Compares two tables and says in one report what moved: columns, all of them together, the schema, the label.

    compare_tables(reference, recent, rng=rng)              arrays, Arrow tables, frames, mappings, Parquet sources
    profile.count(shard, rng) + profile.count(other, rng)   shards counted apart and merged, then compare_counts

One family-wise level covers the report: with no difference at all it says `drifted` in at most alpha of the cases.
Single columns are named by Benjamini-Hochberg at the same level, only in a report that found drift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from actors.adaptive_learning.drift.batch.categories import CategoryCounts
from actors.adaptive_learning.drift.batch.columns import categorical_drift, columns_of
from actors.adaptive_learning.drift.batch.counts import Profile, TableCounts, sampled
from actors.adaptive_learning.drift.batch.multiplicity import benjamini_hochberg
from actors.adaptive_learning.drift.batch.multivariate import MOST_COLUMNS, MOST_ROWS, Rows, columns_alone, compare_rows
from actors.adaptive_learning.drift.batch.scores import LEAST_VALUES, graded
from actors.adaptive_learning.drift.batch.sources import Source, source_of
from core.errors import InsufficientData, InvalidInput
from core.history import Floats
from core.schemas.drift import BatchDriftReport, ColumnDrift, MultivariateDrift, SchemaDrift, Severity

#: Family-wise level of a report.
ALPHA = 0.05
#: Columns whose counts are held at a time.
CHUNK = 256
#: Different values up to which a numeric label is a class.
CLASSES = 20
_TOP = 10
_RANKS: tuple[Severity, ...] = ("none", "low", "medium", "high")


def compare_tables(
    reference: Any,
    recent: Any,
    *,
    rng: np.random.Generator,
    alpha: float = ALPHA,
    names: Sequence[str] | None = None,
    label: str | None = None,
    most_rows: int = MOST_ROWS,
) -> BatchDriftReport:
    """Compare two tables (rows x columns) at a family-wise level.

    A table is an array of numbers (`names` of its columns, otherwise f0, f1, ...), a mapping of columns, an Arrow table
    or frame, or a source (`sources.py`; ParquetSource reads files by row groups). NaN, null and infinite are missing.
    label: a column that is tested by itself, as a target. most_rows: rows of either side that are drawn to look at all
    columns together; single columns are compared over all rows. The same tables and generator give the same report.
    InsufficientData with fewer than LEAST_VALUES rows on either side; InvalidInput for what is no table.
    """
    _checked(alpha)
    old, new = source_of(reference, names), source_of(recent, names)
    for side, name in ((old, "reference"), (new, "recent")):
        if side.rows < LEAST_VALUES:
            raise InsufficientData(f"too few rows in the {name} table", needed=LEAST_VALUES, have=side.rows)
    schema, numeric, categorical = _schema(old, new)
    found_label = None
    if label is not None:
        if label not in numeric and label not in categorical:
            raise InvalidInput(f"the label {label!r} is not a comparable column of both tables", field=label)
        found_label = _label(old, new, label, label in numeric)
    numeric, categorical = ([c for c in kind if c != label] for kind in (numeric, categorical))
    columns: list[ColumnDrift] = []
    for start in range(0, len(numeric), CHUNK):
        columns += _compared(old, new, numeric[start : start + CHUNK], ())
    for name in categorical:
        columns += _compared(old, new, (), (name,))
    notes: list[str] = []
    chosen = _drawn(len(numeric) + len(categorical), rng, notes)
    some = (
        [numeric[i] for i in chosen if i < len(numeric)],
        [categorical[i - len(numeric)] for i in chosen if i >= len(numeric)],
    )
    rows = tuple(sampled(side, *some, most_rows, rng) for side in (old, new))
    order = {name: i for i, name in enumerate(old.kinds)}
    columns.sort(key=lambda column: order[column.column])
    together = _together([*some[0], *some[1]], rows[0], rows[1], columns, found_label, alpha, rng, notes)
    return _report((old.rows, new.rows), alpha, columns, found_label, together, schema, notes)


def compare_counts(
    profile: Profile, reference: TableCounts, recent: TableCounts, *, rng: np.random.Generator, alpha: float = ALPHA
) -> BatchDriftReport:
    """The same report from counts of two tables under one profile, merged of as many shards as there were."""
    _checked(alpha)
    for side, name in ((reference, "reference"), (recent, "recent")):
        if side.rows < LEAST_VALUES:
            raise InsufficientData(f"too few rows in the {name} table", needed=LEAST_VALUES, have=side.rows)
    columns = columns_of(profile, reference, recent)
    notes: list[str] = []
    names = [*profile.numeric, *profile.categorical]
    chosen = _drawn(len(names), rng, notes)
    first = [i for i in chosen if i < len(profile.numeric)]
    second = [i - len(profile.numeric) for i in chosen if i >= len(profile.numeric)]
    rows = [Rows(s.sample.rows.numeric[:, first], s.sample.rows.categories[:, second]) for s in (reference, recent)]
    together = _together([names[i] for i in chosen], rows[0], rows[1], columns, None, alpha, rng, notes)
    return _report((reference.rows, recent.rows), alpha, columns, None, together, SchemaDrift(), notes)


def _checked(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise InvalidInput(f"alpha is a probability between 0 and 1, not {alpha}", field="alpha")


def _schema(old: Source, new: Source) -> tuple[SchemaDrift, list[str], list[str]]:
    """What differs in the columns themselves, and the numeric and categorical columns that both tables have."""
    numeric: list[str] = []
    categorical: list[str] = []
    changed, unsupported = [], []
    before, now = old.kinds, new.kinds
    for name, kind in before.items():
        other = now.get(name)
        if other is None:
            continue
        if "unsupported" in (kind, other):
            unsupported.append(name)
        elif kind == other or "empty" in (kind, other):
            (categorical if "categorical" in (kind, other) else numeric).append(name)
        else:
            changed.append(f"{name}: {kind} -> {other}")
    missing = tuple(name for name in before if name not in now)
    extra = tuple(name for name in now if name not in before)
    return SchemaDrift(missing, extra, tuple(changed), tuple(unsupported)), numeric, categorical


def _compared(old: Source, new: Source, numeric: Sequence[str], categorical: Sequence[str]) -> list[ColumnDrift]:
    profile = Profile.fit(old, numeric, categorical)
    return columns_of(profile, profile.count(old), profile.count(new))


def _label(old: Source, new: Source, name: str, numeric: bool) -> ColumnDrift:
    """The label as a column; numeric ones of few different values are classes."""
    if not numeric:
        return _compared(old, new, (), (name,))[0]
    counts, gone = [], []
    for side in (old, new):
        tally: dict[float, int] = {}
        missing = 0
        for block in side.blocks((name,), ()):
            values, rows = np.unique(block.numeric[:, 0], return_counts=True)
            finite = np.isfinite(values)
            missing += int(rows[~finite].sum())
            for value, n in zip(values[finite].tolist(), rows[finite].tolist(), strict=True):
                tally[value] = tally.get(value, 0) + n
            if len(tally) > CLASSES:
                return _compared(old, new, (name,), ())[0]
        counts.append(CategoryCounts({f"{value:g}": n for value, n in sorted(tally.items())}))
        gone.append(missing)
    return categorical_drift(name, counts[0], counts[1], gone[0], gone[1])


def _drawn(width: int, rng: np.random.Generator, notes: list[str]) -> list[int]:
    """Places of the columns that are looked at together; which of them does not depend on the data."""
    if width <= MOST_COLUMNS:
        return list(range(width))
    notes.append(f"{MOST_COLUMNS} of {width} columns, drawn at random, were looked at together")
    return [int(i) for i in np.sort(rng.choice(width, MOST_COLUMNS, replace=False))]


def _together(
    names: Sequence[str],
    reference: Rows,
    recent: Rows,
    columns: Sequence[ColumnDrift],
    label: ColumnDrift | None,
    alpha: float,
    rng: np.random.Generator,
    notes: list[str],
) -> MultivariateDrift | None:
    label_p = None if label is None or label.p_value is None else label.p_value
    try:
        return compare_rows(names, reference, recent, _p_values(columns), alpha, rng, label_p)
    except InsufficientData as gap:
        notes.append(f"{gap.message}: single columns were compared alone")
        return None


def _report(
    sizes: tuple[int, int],
    alpha: float,
    columns: Sequence[ColumnDrift],
    label: ColumnDrift | None,
    together: MultivariateDrift | None,
    schema: SchemaDrift,
    notes: Sequence[str],
) -> BatchDriftReport:
    label_p = None if label is None else label.p_value
    if together is None:
        p_value, drifted = columns_alone(_p_values(columns), alpha, label_p)
    else:
        p_value, drifted = together.p_value, together.rejected
    named = benjamini_hochberg(np.array([1.0 if c.p_value is None else c.p_value for c in columns]), alpha) & drifted
    columns = [
        replace(column, named=True, severity=graded(column.effect)) if rejected else column
        for column, rejected in zip(columns, named.tolist(), strict=True)
    ]
    if label is not None and label_p is not None and drifted and label_p <= alpha:
        label = replace(label, named=True, severity=graded(label.effect))
    return BatchDriftReport(
        reference_n=sizes[0],
        recent_n=sizes[1],
        alpha=alpha,
        p_value=p_value,
        drifted=drifted,
        severity=_severity(drifted, columns, label, together, schema),
        columns=tuple(columns),
        label=label,
        multivariate=together,
        schema=schema,
        top=_top(columns, together),
        notes=tuple(notes),
    )


def _severity(
    drifted: bool,
    columns: Sequence[ColumnDrift],
    label: ColumnDrift | None,
    together: MultivariateDrift | None,
    schema: SchemaDrift,
) -> Severity:
    """The gravest of what was found. A column that is gone or of another kind has lost all of its information."""
    found: list[Severity] = ["low"] if drifted or schema.extra else ["none"]
    if schema.missing or schema.changed:
        found.append("high")
    found += [column.severity for column in columns if column.named]
    if label is not None:
        found.append(label.severity)
    if drifted and together is not None:
        found.append(graded(together.effect))
    return max(found, key=_RANKS.index)


def _top(columns: Sequence[ColumnDrift], together: MultivariateDrift | None) -> tuple[str, ...]:
    """Named columns by evidence (then effect and distance), then pairs whose correlation changed, then by weight.

    The weights of a classifier are all a little above or below nothing: they speak only where nothing else does.
    """
    named = sorted((c for c in columns if c.named), key=lambda c: (c.p_value, -c.effect, -(c.distance or 0.0)))
    found = [column.column for column in named]
    if together is not None and together.rejected:
        found += [name for pair in together.pairs for name in (pair.first, pair.second)]
        if not found:
            found = [weight.column for weight in together.weights]
    return tuple(dict.fromkeys(found))[:_TOP]


def _p_values(columns: Sequence[ColumnDrift]) -> Floats:
    return np.array([column.p_value for column in columns if column.p_value is not None], dtype=float)
