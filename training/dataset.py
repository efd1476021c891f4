"""Training rows of many channels: what was known, what it led to, and how rows are parted by time without leaks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InsufficientData, NoData
from core.history import NEVER, ChannelHistory, Floats, Ints
from core.schemas.predictions import KNOWN_AGES_H, METRIC_OF, METRICS, TARGETS, Target
from training.corrections import Corrections
from training.features import FEATURES, FeatureBuilder, FeatureRow, predictable
from training.levels import leaders, median

if TYPE_CHECKING:
    import pyarrow as pa

#: Fewer posts with a measured target than this teach nothing that the rolling median does not know.
LEAST_POSTS = 60
#: Share of the posts, the newest, on which a version is judged.
HOLDOUT = 0.22

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows in order of publication (then channel, post, age).

    Shapes: n rows, F features, T = len(TARGETS) targets. Logarithms are natural; NaN: not known or not to be asked.
    """

    x: NDArray[np.float32]  # n x F
    base: Floats  # n x T, what a prediction starts from
    level: Floats  # n x T, the channel's rolling median
    actual: Floats  # n x T, log of the measured value
    known_at: Ints  # n x T, when it was measured (NEVER: not yet)
    weight: Floats  # n
    channel: Ints  # n
    post_id: Ints  # n
    published_at: Ints  # n
    as_of: Ints  # n, the moment of the prediction
    known_age: Ints  # n, hours

    def __len__(self) -> int:
        return len(self.post_id)

    @property
    def residual(self) -> Floats:
        """What is left to learn: log(measured) - base (n x T)."""
        return self.actual - self.base

    def medians(self) -> Floats:
        """Median of each feature by known age (A x F), over all rows where an age has none; NaN: never known."""
        out = np.full((len(KNOWN_AGES_H), self.x.shape[1]), np.nan)
        for a in range(len(KNOWN_AGES_H)):
            rows = self.x[self.ages == a] if (self.ages == a).any() else self.x
            for j, column in enumerate(rows.T):
                out[a, j] = median(column[np.isfinite(column)])
        return out

    @property
    def posts(self) -> Ints:
        """A number for each row, the same for rows of one post (n)."""
        _, number = np.unique(np.stack([self.channel, self.post_id], axis=1), axis=0, return_inverse=True)
        result: Ints = np.asarray(number, dtype=np.int64).reshape(-1)
        return result

    @property
    def n_posts(self) -> int:
        """How many different posts."""
        return int(self.posts.max()) + 1 if len(self) else 0

    @property
    def ages(self) -> NDArray[np.intp]:
        """Place in KNOWN_AGES_H of each row's known age (n)."""
        return np.searchsorted(KNOWN_AGES_H, self.known_age)

    @property
    def targets(self) -> tuple[Target, ...]:
        """Targets with at least one measured value."""
        return tuple(t for i, t in enumerate(TARGETS) if np.isfinite(self.residual[:, i]).any())

    @property
    def balance(self) -> Floats:
        """What an error of each target counts in a loss (T): one of views 1, those of other counts as much less as they
        are usually larger, so that what is hard to know does not drown what is asked for most.
        """
        size, usual = np.abs(self.residual), {}
        for metric in METRICS:
            of_metric = size[:, [METRIC_OF[target] == metric for target in TARGETS]]
            usual[metric] = median(of_metric[np.isfinite(of_metric)])
        with np.errstate(divide="ignore", invalid="ignore"):
            share = usual["views"] / np.array([usual[METRIC_OF[target]] for target in TARGETS])
        # Without errors to compare nothing counts less.
        result: Floats = np.where(share > 0, np.minimum(share, 1.0), 1.0)
        return result

    def take(self, rows: Mask | Ints) -> Dataset:
        """Some of the rows."""
        return Dataset(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def answered(self) -> Dataset:
        """Only rows with a measured target."""
        return self.take(np.flatnonzero(np.isfinite(self.residual).any(axis=1)))

    def known_by(self, moment: int) -> Dataset:
        """Only targets measured before a moment, and rows that have one."""
        early = self.known_at < moment
        masked = replace(
            self, actual=np.where(early, self.actual, np.nan), known_at=np.where(early, self.known_at, NEVER)
        )
        return masked.answered()

    def sha256(self) -> str:
        """Hash of all rows; names the data in a version's lineage."""
        digest = hashlib.sha256()
        for f in fields(self):
            array = np.ascontiguousarray(getattr(self, f.name))
            digest.update(f"{f.name}{array.dtype}{array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Split:
    """Rows before a moment, whose targets were measured before it too, and rows published from it on."""

    before: Dataset
    after: Dataset
    moment: int


def build(
    histories: Sequence[ChannelHistory],
    until: int,
    *,
    only: Sequence[Mask] | None = None,
    least: int = LEAST_POSTS,
    corrections: Corrections | None = None,
) -> Dataset:
    """Rows of every post and known age whose target was measured by `until`; nothing known later is used.

    only: for each history the posts to make rows of (the others still make the levels). Posts of an album count once.
    corrections: values in place of measured ones; they are targets only, what is predicted from stays as measured.
    Raises NoData without any post, InsufficientData below `least` posts with a measured target.
    """
    parts, posts = [], 0
    for number, history in enumerate(histories):
        posts += history.n
        parts += _rows(history, until, None if only is None else only[number], corrections or Corrections())
    if posts == 0:
        raise NoData("no posts are stored: import a channel first")
    data = _stack(parts)
    if data.n_posts < least:
        raise InsufficientData("too few posts with measured views to learn from", needed=least, have=data.n_posts)
    return data


def read_after(history: ChannelHistory, moment: int) -> Mask:
    """Posts with a reading after a moment (n); no other can have an outcome measured after it."""
    result = np.zeros(history.n, dtype=bool)
    result[np.repeat(np.arange(history.n), np.diff(history.offsets))[history.reading_ts > moment]] = True
    return result


def learned_since(data: Dataset, moment: int) -> Dataset:
    """Only targets measured after a moment, and rows that have one."""
    late = (data.known_at > moment) & (data.known_at < NEVER)
    masked = replace(data, actual=np.where(late, data.actual, np.nan), known_at=np.where(late, data.known_at, NEVER))
    return masked.answered()


def split_at(data: Dataset, moment: int) -> Split:
    """Part at a moment. Purged: no row before uses a target that was measured at the moment or later."""
    return Split(data.known_by(moment), data.take(data.published_at >= moment), moment)


def split_share(data: Dataset, share: float = HOLDOUT) -> Split:
    """Part so that about the newest `share` of the posts comes after."""
    _, first = np.unique(data.posts, return_index=True)
    return split_at(data, int(np.quantile(data.published_at[first], 1 - share, method="higher")))


def joined(parts: Sequence[Dataset]) -> Dataset:
    """Rows of several datasets, one after the other."""
    return Dataset(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Dataset)})


def in_order(data: Dataset) -> Dataset:
    """The rows in their own order, wherever they came from: by publication, channel, post, known age."""
    return data.take(np.lexsort((data.known_age, data.post_id, data.channel, data.published_at)))


def to_parquet(data: Dataset) -> bytes:
    """The rows as a Parquet file: one column a feature, `base_<target>`, `actual_<target>`, ..."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, NDArray[Any]] = {name: data.x[:, i] for i, name in enumerate(FEATURES)}
    for f in fields(Dataset)[1:]:
        array = getattr(data, f.name)
        if array.ndim == 1:
            columns[f".{f.name}"] = array
        else:
            columns |= {f".{f.name}.{target}": array[:, i] for i, target in enumerate(TARGETS)}
    sink = BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def from_parquet(blob: bytes) -> Dataset:
    """The rows that `to_parquet` wrote."""
    import pyarrow.parquet as pq

    return from_table(pq.read_table(BytesIO(blob)))


def from_table(table: pa.Table) -> Dataset:
    """The rows of an Arrow table with the columns that `to_parquet` writes, in any order of columns."""
    names = set(table.column_names)

    def column(name: str) -> NDArray[Any]:
        return np.asarray(table.column(name).to_numpy())

    arrays: dict[str, Any] = {"x": np.stack([column(name) for name in FEATURES], axis=1)}
    for f in fields(Dataset)[1:]:
        single = f".{f.name}" in names
        arrays[f.name] = (
            column(f".{f.name}") if single else np.stack([column(f".{f.name}.{target}") for target in TARGETS], axis=1)
        )
    return Dataset(**arrays)


@dataclass(frozen=True, slots=True)
class _Row:
    features: FeatureRow
    channel: int
    post_id: int
    published_at: int
    as_of: int
    known_age: int
    actual: tuple[float, ...]
    known_at: tuple[int, ...]
    weight: float


def _rows(history: ChannelHistory, until: int, only: Mask | None, corrections: Corrections) -> list[_Row]:
    if not history.targets:
        return []
    builder = FeatureBuilder(history)
    wanted = leaders(history) & (history.published_at <= until)
    if only is not None:
        wanted &= only
    found = []
    for i in np.flatnonzero(wanted):
        for age in KNOWN_AGES_H:
            row = _row(builder, int(i), age, until, corrections)
            if row is not None:
                found.append(row)
    return found


def _row(builder: FeatureBuilder, i: int, age: int, until: int, corrections: Corrections) -> _Row | None:
    history, weight = builder.history, 1.0
    post, published = int(history.post_ids[i]), int(history.published_at[i])
    as_of = builder.early_known_at(i, age)
    if as_of is None or as_of > until:
        return None
    actual, known_at = [np.nan] * len(TARGETS), [int(NEVER)] * len(TARGETS)
    for target in predictable(builder.targets, age):
        series, place = builder.target(target), TARGETS.index(target)
        corrected = corrections.find(history.channel.id, post, target, until)
        if corrected is not None:
            (actual[place], known_at[place]), weight = corrected, corrections.weight
        elif series.known_at_of_post[i] <= until:
            actual[place], known_at[place] = float(series.of_post[i]), int(series.known_at_of_post[i])
    if not np.isfinite(actual).any():
        return None
    try:
        features = builder.stored(i, age, as_of)
    except InsufficientData:  # too few matured posts at that time: nothing could have been predicted either
        return None
    return _Row(features, history.channel.id, post, published, as_of, age, tuple(actual), tuple(known_at), weight)


def _stack(rows: Sequence[_Row]) -> Dataset:
    n, width = len(rows), len(TARGETS)

    def per_target(which: str) -> Floats:
        given = [[getattr(r.features, which).get(t, np.nan) for t in TARGETS] for r in rows]
        return np.array(given, dtype=float).reshape(n, width)

    def whole(name: str) -> Ints:
        return np.array([getattr(r, name) for r in rows], dtype=np.int64)

    data = Dataset(
        x=np.array([r.features.vector for r in rows], dtype=np.float32).reshape(n, len(FEATURES)),
        base=per_target("base_log"),
        level=per_target("level_log"),
        actual=np.array([r.actual for r in rows], dtype=float).reshape(n, width),
        known_at=np.array([r.known_at for r in rows], dtype=np.int64).reshape(n, width),
        weight=np.array([r.weight for r in rows], dtype=float),
        channel=whole("channel"),
        post_id=whole("post_id"),
        published_at=whole("published_at"),
        as_of=whole("as_of"),
        known_age=whole("known_age"),
    )
    return in_order(data.answered())
