"""What a version learned from, as drift detection keeps it: sampled training rows, and holdout errors in order."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.errors import ArtifactCorrupt
from core.history import Floats, Ints
from core.schemas.predictions import TARGETS, Target
from training.dataset import Dataset
from training.features import FEATURES

#: Training rows kept at most.
ROWS = 2_000
_RESIDUAL = "residual_"
_AGE = "residual_age_"


@dataclass(frozen=True, slots=True)
class Reference:
    """x: n x F sampled training rows, oldest first. residuals: log(measured) - log(median predicted) of the holdout's
    rows, in order of publication, by target (m each). ages: known age of each of them in hours (m each): errors
    shrink with the age, so that they can only be compared with errors at the same one.
    """

    features: tuple[str, ...]
    x: NDArray[np.float32]
    residuals: dict[Target, Floats]
    ages: dict[Target, Ints] = field(default_factory=dict)


def make_reference(fitted: Dataset, holdout: Dataset, predicted: Floats, seed: int) -> Reference:
    """From the rows a version was fitted to, and the holdout with its predictions (m x T x 3, natural log)."""
    rng = np.random.default_rng(seed)
    kept = np.sort(rng.choice(len(fitted), min(ROWS, len(fitted)), replace=False))
    residuals, ages = {}, {}
    for t, target in enumerate(TARGETS):
        error = holdout.actual[:, t] - predicted[:, t, 1]
        measured = np.flatnonzero(np.isfinite(error))[-ROWS:]
        if len(measured):
            residuals[target], ages[target] = error[measured], holdout.known_age[measured]
    return Reference(FEATURES, fitted.x[kept], residuals, ages)


def to_arrow(reference: Reference) -> bytes:
    """Arrow IPC stream: one float32 column a feature, and two a target: `residual_<target>` (float64) and
    `residual_age_<target>` (int64); columns are padded at the end with nulls to one length (a missing feature is NaN,
    so the two cannot be confused).
    """
    import pyarrow as pa

    longest = max([len(reference.x), *map(len, reference.residuals.values())])

    def column(values: NDArray[np.generic]) -> pa.Array:
        return pa.concat_arrays([pa.array(values), pa.nulls(longest - len(values), pa.from_numpy_dtype(values.dtype))])

    columns = {name: column(reference.x[:, i]) for i, name in enumerate(reference.features)}
    columns |= {f"{_RESIDUAL}{target}": column(errors) for target, errors in reference.residuals.items()}
    columns |= {f"{_AGE}{target}": column(hours) for target, hours in reference.ages.items()}
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def from_arrow(blob: bytes) -> Reference:
    """The reference in an Arrow stream; ArtifactCorrupt when it is none."""
    import pyarrow as pa

    try:
        table = pa.ipc.open_stream(blob).read_all().combine_chunks()
    except pa.ArrowInvalid as error:
        raise ArtifactCorrupt(f"the reference window cannot be read: {error}") from error
    names = tuple(name for name in table.column_names if not name.startswith(_RESIDUAL))
    rows = [table.column(name).drop_null().to_numpy() for name in names]
    residuals: dict[Target, Floats] = {}
    ages: dict[Target, Ints] = {}
    for target in TARGETS:
        if f"{_AGE}{target}" in table.column_names:
            ages[target] = np.asarray(table.column(f"{_AGE}{target}").drop_null().to_numpy(), dtype=np.int64)
        if f"{_RESIDUAL}{target}" in table.column_names:
            residuals[target] = np.asarray(table.column(f"{_RESIDUAL}{target}").drop_null().to_numpy(), dtype=float)
    x = np.stack(rows, axis=1).astype(np.float32) if rows else np.zeros((0, 0), dtype=np.float32)
    return Reference(names, x, residuals, ages)
