"""A channel's posts and readings as arrays, and what was known of them when: the one input of features and figures.

Everything that looks at views of posts at an age goes through `views_at`, so that training, serving, analytics and
outcome joining cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.clock import HOUR
from core.schemas.channels import Channel
from core.schemas.predictions import METRIC_OF, TARGET_AGE_H, TARGETS, Metric, Target

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NEVER = np.iinfo(np.int64).max

#: numeric attributes of a draft, in the order of `ChannelHistory.attributes`' columns; booleans are 0/1, unknown is NaN
ATTRIBUTES = (
    "text_len",
    "n_words",
    "n_links",
    "n_hashtags",
    "n_mentions",
    "n_emoji",
    "n_lines",
    "has_question",
    "is_ad",
    "is_forward",
)


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings of one count of n posts, m in all: post i's are at `offsets[i]:offsets[i + 1]`, in order of time."""

    offsets: Ints  # n + 1
    ts: Ints  # m
    values: Floats  # m
    exact_time: NDArray[np.bool_]  # m

    @property
    def owner(self) -> NDArray[np.intp]:
        """Each reading's post (m)."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    @property
    def single(self) -> bool:
        """Whether there are readings, but no post was read twice: only a final count can be known of such a source."""
        return len(self.ts) > 0 and int(np.max(np.diff(self.offsets))) <= 1

    def take(self, kept: NDArray[np.bool_]) -> Readings:
        """Some of the readings (m)."""
        left = np.bincount(self.owner[kept], minlength=len(self.offsets) - 1)
        offsets = np.concatenate([[0], np.cumsum(left)]).astype(np.int64)
        return Readings(offsets, self.ts[kept], self.values[kept], self.exact_time[kept])


@dataclass(frozen=True, slots=True)
class ChannelHistory:
    """Posts of one channel in order of publication (then id), with their readings.

    Shapes: n posts, m view readings, k subscriber readings. Post i's readings are
    `reading_*[offsets[i]:offsets[i + 1]]`, in order of time, without repeated times.
    """

    channel: Channel
    post_ids: Ints  # n
    published_at: Ints  # n, epoch seconds
    attributes: Floats  # n x len(ATTRIBUTES), NaN: not known
    media: NDArray[np.object_]  # n, str or None
    album_ids: Ints  # n, -1: none
    offsets: Ints  # n + 1
    reading_ts: Ints  # m
    reading_views: Floats  # m
    reading_exact_time: NDArray[np.bool_]  # m, False: the source does not say when it was read
    subscriber_ts: Ints  # k
    subscribers: Floats  # k
    counts: Mapping[Metric, Readings] = field(default_factory=dict)  # beside views, where they were asked for

    @property
    def n(self) -> int:
        """Number of posts."""
        return len(self.post_ids)

    @property
    def views(self) -> Readings:
        """The readings of views."""
        return Readings(self.offsets, self.reading_ts, self.reading_views, self.reading_exact_time)

    @property
    def single_reading(self) -> bool:
        """Whether no post's views were read twice."""
        return self.views.single

    @property
    def targets(self) -> tuple[Target, ...]:
        """What can be predicted for this channel, in the order of TARGETS; nothing where views were never read."""
        read = {"views": self.views, **self.counts}
        if len(self.reading_ts) == 0:
            return ()
        kinds = {metric: readings.single for metric, readings in read.items() if len(readings.ts)}
        return tuple(t for t in TARGETS if kinds.get(METRIC_OF[t]) is t.endswith("_final"))

    def index_of(self, post_id: int) -> int | None:
        """Position of a post."""
        hits = np.flatnonzero(self.post_ids == post_id)
        return int(hits[0]) if len(hits) else None


@dataclass(frozen=True, slots=True)
class Known:
    """A value of each post and the moment from which it was known.

    values: n, NaN where it is not known; known_at: n, epoch seconds, NEVER where it is not known.
    """

    values: Floats
    known_at: Ints

    def at(self, moment: int) -> NDArray[np.bool_]:
        """Which values were known at a moment."""
        return self.known_at <= moment


def views_at(history: ChannelHistory, age_s: float) -> Known:
    """Views of each post at an age: `values_at` of the history's own readings."""
    return values_at(history.published_at, history.views, age_s)


def values_at(published_at: Ints, readings: Readings, age_s: float) -> Known:
    """A count of each post at an age, interpolated between the readings on both sides of it.

    Between two readings a count grows linearly in the logarithm of age (views of a post follow a saturating,
    roughly logarithmic curve). A value is given only where the readings are close enough: the gap between them is at
    most max(4.5 h, half the age), or, with no earlier reading, the first one lies within 1.5 times the age. It is
    known from the later of the two readings on. Readings whose time is only assumed are not used.
    """
    n = len(published_at)
    values, known_at = np.full(n, np.nan), np.full(n, NEVER, dtype=np.int64)
    usable = readings.exact_time
    if n == 0 or not usable.any():
        return Known(values, known_at)
    owner = readings.owner[usable]
    ts, counted = readings.ts[usable], readings.values[usable]
    start, stop = np.searchsorted(owner, np.arange(n)), np.searchsorted(owner, np.arange(n), side="right")

    # One search for all posts: (post, time) in order is one increasing key.
    base = int(min(ts.min(), published_at.min()))
    span = int(max(ts.max(), published_at.max()) + age_s) - base + 2
    wanted = np.arange(n) * span + (published_at - base) + int(age_s)
    right = np.searchsorted(owner * span + (ts - base), wanted)

    right_ok = (right >= start) & (right < stop)
    r = np.where(right_ok, right, 0)
    left_ok = right_ok & (right > start)
    left = np.where(left_ok, right - 1, 0)
    age_right = (ts[r] - published_at).astype(float)
    age_left = np.where(left_ok, (ts[left] - published_at).astype(float), 0.0)
    close = np.where(left_ok, age_right - age_left <= max(4.5 * HOUR, 0.5 * age_s), age_right <= 1.5 * age_s)
    good = right_ok & close & (age_left >= 0)

    # The logarithm needs a floor; a quarter of the age asked for keeps the curve's shape near the origin.
    floor = age_s / 4
    x0, x1 = np.log(np.maximum(age_left, floor)), np.log(np.maximum(age_right, floor))
    v0, v1 = np.where(left_ok, counted[left], 0.0), counted[r]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(x1 > x0, (np.log(age_s) - x0) / (x1 - x0), 1.0)
    values[good] = (v0 + (v1 - v0) * np.clip(share, 0.0, 1.0))[good]
    known_at[good] = ts[r][good]
    return Known(values, known_at)


def target_values(history: ChannelHistory, target: Target) -> Known:
    """Measured values of a target.

    `..._final` (counts with one late reading a post): the reading, where it was taken at the target's age or later.
    Where views too were read once, it is taken as known from that age on, which such a source cannot prove (callers
    say so); beside views that were read again and again it is known when it was read.
    """
    age_s = TARGET_AGE_H[target] * HOUR
    metric = METRIC_OF[target]
    readings = history.views if metric == "views" else history.counts.get(metric)
    nothing = Known(np.full(history.n, np.nan), np.full(history.n, NEVER, dtype=np.int64))
    if readings is None:
        return nothing
    if not target.endswith("_final"):
        return values_at(history.published_at, readings, age_s)
    if not readings.single:
        return nothing
    has = np.diff(readings.offsets) == 1
    first = np.where(has, readings.offsets[:-1], 0)
    read_at = readings.ts[first]
    ripe = has & (read_at - history.published_at >= age_s) & readings.exact_time[first]
    nothing.values[ripe] = readings.values[first][ripe]
    nothing.known_at[ripe] = (history.published_at + age_s if history.single_reading else read_at)[ripe]
    return nothing


def reading_known_at(history: ChannelHistory, readings: Readings | None = None) -> Ints:
    """When each of the m readings (of views, or others of the history) became known: at its time, but for sources with
    a single late reading a post.

    Such a source cannot prove anything earlier; `target_values` takes its readings as known from the target's age on,
    and so must everybody who asks what was known when. Readings of an assumed time count from that time.
    """
    found = history.views if readings is None else readings
    published = history.published_at[found.owner]
    if not history.single_reading:
        return np.maximum(found.ts, published)
    ripe_at = published + TARGET_AGE_H["views_final"] * HOUR
    ripe = found.exact_time & (found.ts >= ripe_at)
    return np.where(ripe, ripe_at, np.maximum(found.ts, published))


def subscribers_at(history: ChannelHistory, moment: int) -> float | None:
    """The last subscriber reading at or before a moment."""
    i = int(np.searchsorted(history.subscriber_ts, moment, side="right"))
    return float(history.subscribers[i - 1]) if i else None


@dataclass(slots=True)
class HistoryBuilder:
    """Collects rows in any order and makes a ChannelHistory (the store, simulators and tests use it)."""

    channel: Channel
    posts: dict[int, tuple[int, tuple[float, ...], str | None, int]] = field(default_factory=dict)
    readings: dict[int, dict[int, tuple[float, bool]]] = field(default_factory=dict)
    subscribers: dict[int, float] = field(default_factory=dict)
    counted: dict[Metric, dict[int, dict[int, tuple[float, bool]]]] = field(default_factory=dict)

    def post(
        self,
        post_id: int,
        published_at: int,
        attributes: dict[str, float | None] | None = None,
        media: str | None = None,
        album_id: int | None = None,
    ) -> None:
        """Add a post; unknown attributes stay NaN."""
        given = attributes or {}
        row = tuple(float("nan") if given.get(name) is None else float(given[name]) for name in ATTRIBUTES)  # type: ignore[arg-type]
        self.posts[post_id] = (published_at, row, media, -1 if album_id is None else album_id)

    def reading(self, post_id: int, ts: int, views: float, exact_time: bool = True) -> None:
        """Add a view reading."""
        self.readings.setdefault(post_id, {})[ts] = (views, exact_time)

    def count(self, metric: Metric, post_id: int, ts: int, value: float) -> None:
        """Add a reading of another count."""
        self.counted.setdefault(metric, {}).setdefault(post_id, {})[ts] = (value, True)

    def build(self) -> ChannelHistory:
        """The arrays; readings of unknown posts are left out."""
        order = sorted(self.posts, key=lambda p: (self.posts[p][0], p))
        views = _readings(order, self.readings)
        subs = sorted(self.subscribers.items())
        return ChannelHistory(
            channel=self.channel,
            post_ids=np.array(order, dtype=np.int64),
            published_at=np.array([self.posts[p][0] for p in order], dtype=np.int64),
            attributes=np.array([self.posts[p][1] for p in order], dtype=float).reshape(len(order), len(ATTRIBUTES)),
            media=np.array([self.posts[p][2] for p in order], dtype=object),
            album_ids=np.array([self.posts[p][3] for p in order], dtype=np.int64),
            offsets=views.offsets,
            reading_ts=views.ts,
            reading_views=views.values,
            reading_exact_time=views.exact_time,
            subscriber_ts=np.array([ts for ts, _ in subs], dtype=np.int64),
            subscribers=np.array([v for _, v in subs], dtype=float),
            counts={metric: _readings(order, of_post) for metric, of_post in self.counted.items()},
        )


def _readings(order: Sequence[int], of_post: Mapping[int, Mapping[int, tuple[float, bool]]]) -> Readings:
    rows = [sorted(of_post.get(p, {}).items()) for p in order]
    flat = [item for readings in rows for item in readings]
    return Readings(
        offsets=np.cumsum([0, *[len(r) for r in rows]], dtype=np.int64),
        ts=np.array([ts for ts, _ in flat], dtype=np.int64),
        values=np.array([v for _, (v, _) in flat], dtype=float),
        exact_time=np.array([e for _, (_, e) in flat], dtype=bool),
    )
