"""What a channel's source holds, and the reason to give for each thing that it does not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from core import metrics
from core.history import ChannelHistory, Floats
from core.store.channels import PostCounts

NO_VIEWS = "views unavailable from this source"
ONE_READING = "one reading a post: views over time unavailable from this source"
NO_TIMES = "reading times unavailable from this source: views at an age cannot be known"
NO_SUBSCRIBERS = "subscribers unavailable from this source"
NO_FORWARDS = "forwards unavailable from this source"
NO_REACTIONS = "reactions unavailable from this source"
NO_COMMENTS = "comments unavailable from this source"


@dataclass(frozen=True, slots=True)
class Counts:
    """The newest counts of each post, aligned with a history (n posts); NaN: not known."""

    views: Floats
    forwards: Floats
    comments: Floats
    reactions: Floats

    @property
    def engagement(self) -> Floats:
        """Reactions + forwards + comments of what the source offers."""
        return metrics.engagement(self.reactions, self.forwards, self.comments)

    def cut(self, first: int, last: int) -> Counts:
        """Of the posts from position `first` up to `last`."""
        part = slice(first, last)
        return Counts(self.views[part], self.forwards[part], self.comments[part], self.reactions[part])


def aligned(history: ChannelHistory, counts: PostCounts) -> Counts:
    """Counts in the history's order of posts (they are read a moment later: a post may have come in between)."""
    order = np.argsort(counts.post_ids, kind="stable")
    ids = counts.post_ids[order]
    at = np.minimum(np.searchsorted(ids, history.post_ids), max(len(ids) - 1, 0))
    known = ids[at] == history.post_ids if len(ids) else np.zeros(history.n, dtype=bool)

    def place(values: Floats) -> Floats:
        result = np.full(history.n, np.nan)
        result[known] = values[order][at[known]]
        return result

    return Counts(place(counts.views), place(counts.forwards), place(counts.replies), place(counts.reactions))


def no_views(history: ChannelHistory) -> str | None:
    """Why views at an age or over time cannot be given; None: they can."""
    if len(history.reading_ts) == 0:
        return NO_VIEWS
    if not history.reading_exact_time.any():
        return NO_TIMES
    return ONE_READING if history.single_reading else None


def missing(history: ChannelHistory, counts: Counts) -> tuple[str, ...]:
    """One line for each thing that the source does not hold."""
    return tuple(
        reason
        for reason in (
            no_views(history) if history.n else None,
            NO_SUBSCRIBERS if len(history.subscribers) == 0 else None,
            *(
                why if history.n and np.isnan(values).all() else None
                for values, why in (
                    (counts.reactions, NO_REACTIONS),
                    (counts.forwards, NO_FORWARDS),
                    (counts.comments, NO_COMMENTS),
                )
            ),
        )
        if reason is not None
    )


def cut(history: ChannelHistory, first: int, last: int) -> ChannelHistory:
    """The posts from position `first` up to `last`, with their readings and all subscriber readings."""
    start, stop = int(history.offsets[first]), int(history.offsets[last])
    return replace(
        history,
        post_ids=history.post_ids[first:last],
        published_at=history.published_at[first:last],
        attributes=history.attributes[first:last],
        media=history.media[first:last],
        album_ids=history.album_ids[first:last],
        offsets=history.offsets[first : last + 1] - start,
        reading_ts=history.reading_ts[start:stop],
        reading_views=history.reading_views[start:stop],
        reading_exact_time=history.reading_exact_time[start:stop],
    )
