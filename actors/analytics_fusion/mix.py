"""What a channel publishes, and what each kind of post does to views: effects with intervals, alone and adjusted.

An effect compares posts with an attribute to the channel's other posts, each beside its own level (see `levels`).
The adjusted one is the same contrast in a linear model of all attributes at once. Both are of the posts as they were:
formats differ in hour and topic too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from actors.analytics_fusion import source
from core.history import ATTRIBUTES, ChannelHistory, Floats
from core.intervals import block_rows, interval, lacking
from core.levels import Levelled, levelled
from core.schemas.channel_studies import Estimate, Mix, MixRow

LEAST = 5  # posts on each side of a comparison
_CELLS = 2_000_000  # resampled posts at most
_DRAWS = (100, 400)
_SEED = 20_012

#: dimension, attribute, and the bands of its values: (label, from, below)
BANDS: dict[str, tuple[str, tuple[tuple[str, float, float], ...]]] = {
    "length": (
        "text_len",
        (
            ("no text", 0, 1),
            ("1-199", 1, 200),
            ("200-599", 200, 600),
            ("600-1199", 600, 1200),
            ("1200 or more", 1200, np.inf),
        ),
    ),
    "links": ("n_links", (("none", 0, 1), ("1", 1, 2), ("2 or more", 2, np.inf))),
    "hashtags": ("n_hashtags", (("none", 0, 1), ("1-2", 1, 3), ("3 or more", 3, np.inf))),
    "ad": ("is_ad", (("no", 0, 1), ("yes", 1, 2))),
}


@dataclass(frozen=True, slots=True)
class Dimension:
    """One attribute of n posts as categories; -1: not known."""

    name: str
    labels: tuple[str, ...]
    codes: NDArray[np.int64]


def mix(history: ChannelHistory, since: int, until: int) -> Mix:
    """Every attribute's categories with their share, median views, and effects on views at 24 h.

    A dimension of which the source says nothing has no rows and a note. Without views there are shares only.
    """
    posts = levelled(history, since, until)
    inside = np.flatnonzero((history.published_at >= since) & (history.published_at < until))
    every = dimensions(history, inside)
    known = [d for d in every if (d.codes >= 0).any()]
    effects = _Effects(posts, [_of(d, inside, posts.at) for d in known], np.random.default_rng(_SEED))
    rows = [
        _row(d, k, effects, source.no_views(history) if posts.metric == "views_24h" else None)
        for d in known
        for k in range(len(d.labels))
        if (d.codes == k).any()
    ]
    notes = [f"{d.name} not known from this source" for d in every if not (d.codes >= 0).any() and len(inside)]
    notes.append("language and topic are not derived from posts")
    why = source.no_views(history)
    if why is not None and posts.metric == "views_24h":
        notes.insert(0, why)
    compared = sum(row.effect.value is not None for row in rows)
    if compared:
        notes.append(
            f"{compared} effects were looked at: about {compared / 20:.1g} of their 95 % intervals miss by chance"
        )
    return Mix(history.channel.name, since, until, len(inside), posts.metric, tuple(rows), tuple(notes))


def dimensions(history: ChannelHistory, at: NDArray[np.int64]) -> list[Dimension]:
    """The attributes of some posts as categories."""
    media = history.media[at]
    labels = tuple(sorted({str(m) for m in media if m is not None}))
    place = {label: i for i, label in enumerate(labels)}
    codes = np.array([-1 if m is None else place[str(m)] for m in media], dtype=np.int64)
    found = [Dimension("media", labels, codes)]
    for name, (attribute, bands) in BANDS.items():
        values = history.attributes[at, ATTRIBUTES.index(attribute)]
        codes = np.full(len(at), -1, dtype=np.int64)
        for i, (_, low, high) in enumerate(bands):
            codes[(values >= low) & (values < high)] = i
        found.append(Dimension(name, tuple(label for label, _, _ in bands), codes))
    return found


def _of(dimension: Dimension, inside: NDArray[np.int64], at: NDArray[np.int64]) -> Dimension:
    """The dimension of the posts at some positions, which lie inside."""
    return Dimension(dimension.name, dimension.labels, dimension.codes[np.searchsorted(inside, at)])


def _row(dimension: Dimension, k: int, effects: _Effects, why: str | None) -> MixRow:
    posts = int((dimension.codes == k).sum())
    share = posts / int((dimension.codes >= 0).sum())
    views, effect, adjusted = effects.of(dimension.name, k, why)
    return MixRow(dimension.name, dimension.labels[k], posts, share, views, effect, adjusted)


class _Effects:
    """Resamples posts once, and every category's contrast with the same resamples."""

    def __init__(self, posts: Levelled, dimensions: list[Dimension], rng: Generator) -> None:
        self.posts, self.dimensions = posts, {d.name: d for d in dimensions}
        n = len(posts.at)
        draws = int(np.clip(_CELLS // max(n, 1), *_DRAWS))
        # How often each post was drawn, draws x n: both kinds of effect are weighted sums.
        drawn = [np.bincount(row, minlength=n) for row in block_rows(n, rng, draws)] if n else []
        self.weights = np.array(drawn, dtype=float).reshape(len(drawn), n)
        self.columns, self.slopes, self.estimable = _model(posts.residual, self.dimensions, self.weights)

    def of(self, name: str, k: int, why: str | None) -> tuple[float | None, Estimate, Estimate]:
        """Median views, effect alone, effect adjusted."""
        codes = self.dimensions[name].codes
        mine, others = codes == k, (codes >= 0) & (codes != k)
        n = int(mine.sum())
        views = float(np.median(self.posts.views[mine])) if n else None
        if why is not None:
            return views, lacking(n, why), lacking(n, why)
        if n < LEAST or others.sum() < LEAST:
            short = lacking(n, f"needs {LEAST} posts with views on each side, has {n} and {int(others.sum())}")
            return views, short, short
        value = self.posts.residual[mine].mean() - self.posts.residual[others].mean()
        return views, _share(value, self._contrasts(mine, others), n), self._adjusted(name, k, n)

    def _contrasts(self, mine: NDArray[np.bool_], others: NDArray[np.bool_]) -> Floats:
        residual, w = self.posts.residual, self.weights
        a, b = w[:, mine].sum(axis=1), w[:, others].sum(axis=1)
        drawn = (a > 0) & (b > 0)
        one, two = w[:, mine] @ residual[mine], w[:, others] @ residual[others]
        return np.asarray((one / np.maximum(a, 1) - two / np.maximum(b, 1))[drawn], dtype=float)

    def _adjusted(self, name: str, k: int, n: int) -> Estimate:
        contrast = np.zeros(len(self.columns))
        codes = self.dimensions[name].codes
        whole = (codes >= 0).sum() - n
        for other in np.unique(codes[codes >= 0]).tolist():
            part = 1.0 if other == k else -(codes == other).sum() / whole
            if (name, other) in self.columns:
                contrast[self.columns[name, other]] = part
        if np.abs(self.estimable @ contrast - contrast).max(initial=0.0) > 1e-6:
            return lacking(n, "cannot be told from another attribute: they always come together")
        drawn = self.slopes @ contrast
        return _share(float(drawn[0]), drawn[1:], n)


def _model(
    y: Floats, dimensions: dict[str, Dimension], weights: Floats
) -> tuple[dict[tuple[str, int], int], Floats, Floats]:
    """Least squares of y on all categories but each dimension's commonest: columns, slopes, estimable contrasts.

    slopes: of the posts themselves first, then of each resample, (1 + draws) x columns.
    """
    columns: dict[tuple[str, int], int] = {("", 0): 0}
    design = [np.ones(len(y))]
    for name, dimension in dimensions.items():
        found, counts = np.unique(dimension.codes, return_counts=True)
        for code in found[np.arange(len(found)) != counts.argmax()].tolist() if len(found) else []:
            columns[name, code] = len(design)
            design.append((dimension.codes == code).astype(float))
    x = np.stack(design, axis=1)
    slopes = [
        np.linalg.pinv((x * w[:, None]).T @ x, hermitian=True) @ (x.T @ (w * y)) for w in [np.ones(len(y)), *weights]
    ]
    gram = x.T @ x
    return columns, np.array(slopes), np.linalg.pinv(gram, hermitian=True) @ gram


def _share(value: float, drawn: Floats, n: int) -> Estimate:
    low, high = interval(drawn)
    return Estimate(float(np.expm1(value)), float(np.expm1(low)), float(np.expm1(high)), n)
