"""Posts as rows: what is known of each before it is published, and what became of it.

Labels are distant ones: the tone of the reactions, and the quarter of the channel's own recent posts by engagement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from core.clock import DAY
from core.history import ATTRIBUTES, ChannelHistory, Floats, Ints
from core.metrics import engagement, ratio
from core.polarity import TONES, Polarity, reactions_of
from core.schemas.channels import Channel
from core.schemas.content import Task
from core.store.channels import ChannelStore, PostCounts
from training.features import attributes_of
from training.levels import leaders
from training.localtime import clock_features, local_time, zone_of
from training.names import COUNTS, FLAGS, MEDIA, TIME

__all__ = ["ATTRIBUTE_NAMES", "ChannelPosts", "Rows", "attribute_row", "attributes_of", "rows_of"]

#: A post is judged when its newest counts are at least this old.
RIPE_S = DAY
#: Quarters are those of this many ripe posts before a post, and need at least LEAST_BEFORE.
BEFORE, LEAST_BEFORE = 100, 20
#: Newest posts of a channel that are learned from.
POSTS = 2_000
#: No label: too few reactions, not ripe, or too few posts before.
UNKNOWN = -1

ATTRIBUTE_NAMES = (*(f"log_{name}" for name in COUNTS), *FLAGS, *(f"media_{kind}" for kind in MEDIA), *TIME)


@dataclass(frozen=True)
class ChannelPosts:
    """Everything about a channel that content models learn from; meanings: what its audience means by an emoji."""

    history: ChannelHistory
    texts: Mapping[int, str]
    counts: PostCounts
    reactions: Mapping[int, Mapping[str, int]]
    meanings: Mapping[str, Polarity] | None = None

    @classmethod
    def read(
        cls, store: ChannelStore, channel: Channel, until: int, meanings: Mapping[str, Polarity] | None = None
    ) -> ChannelPosts:
        """As stored by a moment."""
        history = store.history(channel, as_of=until)
        return cls(
            history,
            store.posts.texts(channel, history.post_ids[-POSTS:].tolist()),
            store.counts(channel, as_of=until),
            store.reactions(channel, as_of=until),
            meanings,
        )


@dataclass(frozen=True)
class Rows:
    """n posts in order of publication; an album is one post.

    attributes: n x len(ATTRIBUTE_NAMES), NaN: not known. labels: places in the task's classes, UNKNOWN where there is
    none. channel: places in a list of names.
    """

    texts: NDArray[np.object_]
    attributes: Floats
    channel: Ints
    published_at: Ints
    reaction: Ints
    engagement: Ints

    def __len__(self) -> int:
        return len(self.published_at)

    def labels(self, task: Task) -> Ints:
        """Of a task (n)."""
        return self.reaction if task == "reaction" else self.engagement

    def take(self, rows: Ints | NDArray[np.bool_]) -> Rows:
        """Some of the rows."""
        return Rows(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def rows_of(channels: Sequence[ChannelPosts], until: int) -> Rows:
    """The newest posts of every channel that were published and ripe by a moment."""
    parts = [_rows(channel, number, until) for number, channel in enumerate(channels)]
    whole = {f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Rows)} if parts else {}
    if not whole:
        return Rows(np.zeros(0, dtype=object), np.zeros((0, len(ATTRIBUTE_NAMES))), *(np.zeros(0, np.int64),) * 4)
    rows = Rows(**whole)
    return rows.take(np.lexsort((rows.channel, rows.published_at)))


def attribute_row(attributes: Floats, media: str | None, published_at: int, timezone: str) -> Floats:
    """What is known of a post beside its text (len(ATTRIBUTE_NAMES)); attributes: as in core.history.ATTRIBUTES."""
    known = dict(zip(ATTRIBUTES, attributes.tolist(), strict=True))
    kinds = [float("nan") if media is None else float(media == kind) for kind in MEDIA]
    clock = clock_features(local_time(published_at, zone_of(timezone)))
    return np.array([*(np.log1p(known[n]) for n in COUNTS), *(known[n] for n in FLAGS), *kinds, *clock], dtype=float)


def _rows(posts: ChannelPosts, number: int, until: int) -> Rows:
    history = posts.history
    ripe = leaders(history) & (history.published_at + RIPE_S <= until)
    at = np.flatnonzero(ripe)[-POSTS:]
    zone = history.channel.timezone
    attributes = [
        attribute_row(history.attributes[i], history.media[i], int(history.published_at[i]), zone) for i in at
    ]
    ids = history.post_ids[at].tolist()
    return Rows(
        texts=np.array([posts.texts.get(i, "") for i in ids], dtype=object),
        attributes=np.array(attributes, dtype=float).reshape(len(at), len(ATTRIBUTE_NAMES)),
        channel=np.full(len(at), number, dtype=np.int64),
        published_at=history.published_at[at],
        reaction=np.array([_tone(posts, i) for i in ids], dtype=np.int64),
        engagement=quarters(engaged(posts), history.published_at)[at],
    )


def _tone(posts: ChannelPosts, post_id: int) -> int:
    tone = reactions_of(posts.reactions.get(post_id, {}), posts.meanings).tone
    return UNKNOWN if tone is None else TONES.index(tone)


def engaged(posts: ChannelPosts) -> Floats:
    """Reactions, forwards and comments per view of each post (n; without views: their number); NaN: not ripe."""
    history, counts = posts.history, posts.counts
    total = engagement(counts.reactions, counts.forwards, counts.replies)
    seen = np.isfinite(counts.views).any()
    values = ratio(total, counts.views) if seen else total
    last = np.full(history.n, np.iinfo(np.int64).max)
    read = np.diff(history.offsets) > 0
    last[read] = history.reading_ts[history.offsets[1:][read] - 1]
    counted = leaders(history) & (last - history.published_at >= RIPE_S)
    return np.where(counted, values, np.nan)


def quarters(values: Floats, published_at: Ints) -> Ints:
    """The quarter (0 lowest .. 3) that each post is in among the ripe ones before it, UNKNOWN without enough of them.

    values, published_at: n, in order of publication. Where the quarters' edges coincide (many posts without any
    reaction), they part nothing and there is no label.
    """
    result = np.full(len(values), UNKNOWN, dtype=np.int64)
    known = np.flatnonzero(np.isfinite(values))
    times, series = published_at[known], values[known]
    for place, post in enumerate(known):
        ripe = int(np.searchsorted(times[:place], times[place] - RIPE_S, side="right"))
        before = series[max(0, ripe - BEFORE) : ripe]
        if len(before) >= LEAST_BEFORE:
            edges = np.quantile(before, [0.25, 0.5, 0.75])
            if edges[0] < edges[1] < edges[2]:
                result[post] = np.searchsorted(edges, series[place], side="right")
    return result
