"""Turns a request into a model's input: which post, as of when, and what was known then."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from core.clock import HOUR, Clock
from core.errors import InsufficientData, InvalidInput, NotFound
from core.ingest.text import attributes
from core.schemas.channels import Channel, PostDraft
from core.schemas.predictions import KNOWN_AGES_H, TARGET_AGE_H, PredictionRequest, Target
from serve_apps.predictor.history_cache import RECENT_POSTS, Histories, HistoryCache
from training.features import FeatureBuilder, FeatureRow, attributes_of
from training.levels import LOOKBACK, WINDOW

#: A draft may be planned this far ahead, seconds.
HORIZON = 60 * 24 * HOUR


@dataclass(frozen=True, slots=True)
class Question:
    """A request as a model sees it, with what the log keeps of it."""

    channel: Channel
    post_id: int | None
    known_age_h: int
    published_at: int
    as_of: int  # nothing known later was used
    asked_at: int  # the clock's now when it was asked
    vector: NDArray[np.float32]
    base_log: dict[Target, float]
    usual: float
    history: int
    warnings: tuple[str, ...]

    @property
    def targets(self) -> tuple[Target, ...]:
        """What can be answered."""
        return tuple(self.base_log)


class Questions:
    """Makes questions from requests; safe to use from several threads."""

    def __init__(self, store: Histories, clock: Clock, *, channels: int = 256) -> None:
        self._store = store
        self._clock = clock
        self.cache: HistoryCache[FeatureBuilder] = HistoryCache(store, FeatureBuilder, channels=channels)

    def channel(self, name: str) -> Channel:
        """A channel by name; NotFound."""
        return self._store.channel(name)

    def channel_by_id(self, channel_id: int) -> Channel:
        """A channel by id; NotFound."""
        return self._store.by_id(channel_id)

    def ask(self, channel: Channel, request: PredictionRequest) -> Question:
        """The question in a request.

        Raises InvalidInput for a request that contradicts itself or reaches into the future, NotFound for an unknown
        post, NoData and InsufficientData where the channel, or what was known at the moment, does not suffice.
        """
        now = self._clock.now()
        if request.as_of is not None and request.as_of > now:
            raise InvalidInput(f"as_of {request.as_of} lies in the future (now is {now})", field="as_of")
        if request.known_age_h not in KNOWN_AGES_H:
            raise InvalidInput(
                f"known_age_h is one of {', '.join(map(str, KNOWN_AGES_H))}, not {request.known_age_h}",
                field="known_age_h",
            )
        if (request.post_id is None) == (request.draft is None):
            raise InvalidInput("name a stored post (post_id) or describe a draft, one of the two", field="post_id")
        as_of = now if request.as_of is None else request.as_of
        if request.draft is not None:
            return self._draft(channel, request, request.draft, as_of, now)
        assert request.post_id is not None
        return self._stored(channel, request, request.post_id, as_of, now)

    def _stored(self, channel: Channel, request: PredictionRequest, post_id: int, as_of: int, now: int) -> Question:
        if request.published_at is not None:
            raise InvalidInput("published_at belongs to a draft; a stored post has its own", field="published_at")
        builder = self.cache.recent(channel)
        index = builder.history.index_of(post_id)
        if index is None or not _deep_enough(builder, index):
            builder = self.cache.whole(channel)
            index = builder.history.index_of(post_id)
        if index is None:
            raise NotFound(f"{channel.name}: no post {post_id}", channel=channel.name, post=post_id)
        # The earliest moment at which this can be asked: later knowledge of other posts must not matter, so that a
        # late request gets the answer that a prompt one got.
        moment = builder.early_known_at(index, request.known_age_h)
        if moment is not None and moment > as_of:
            raise InsufficientData(
                f"{channel.name}: views of post {post_id} at {request.known_age_h} h are known from {moment} on",
                needed=1,
                have=0,
                known_at=moment,
            )
        row = builder.stored(index, request.known_age_h, as_of if moment is None else moment)
        assert moment is not None  # else the row was refused
        published_at = int(builder.history.published_at[index])
        late = tuple(
            f"{target} has been due since {published_at + TARGET_AGE_H[target] * HOUR}"
            for target in row.base_log
            if published_at + TARGET_AGE_H[target] * HOUR <= as_of
        )
        return _question(channel, post_id, request.known_age_h, published_at, moment, now, row, late)

    def _draft(self, channel: Channel, request: PredictionRequest, draft: PostDraft, as_of: int, now: int) -> Question:
        published_at = as_of if request.published_at is None else request.published_at
        if not as_of <= published_at <= as_of + HORIZON:
            raise InvalidInput(
                f"a draft is published between as_of ({as_of}) and {HORIZON // (24 * HOUR)} days later, "
                f"not at {published_at}",
                field="published_at",
            )
        builder = self.cache.recent(channel)
        if not _deep_enough(builder, int(np.searchsorted(builder.history.published_at, as_of, side="right"))):
            builder = self.cache.whole(channel)
        row = builder.row(
            published_at=published_at,
            attributes=attributes_of(described(draft)),
            media=draft.media,
            known_age_h=request.known_age_h,
            as_of=as_of,
        )
        return _question(channel, None, request.known_age_h, published_at, as_of, now, row, ())


def described(draft: PostDraft) -> PostDraft:
    """A draft with what its text says of itself, where the caller did not say it."""
    if draft.text is None:
        return draft
    measured = asdict(attributes(draft.text))
    return replace(draft, **{name: value for name, value in measured.items() if getattr(draft, name) is None})


def _deep_enough(builder: FeatureBuilder, position: int) -> bool:
    """Whether a history that may be cut to its newest posts gives the same row at a position as the whole one."""
    return builder.history.n < RECENT_POSTS or position >= LOOKBACK


def _question(
    channel: Channel,
    post_id: int | None,
    known_age_h: int,
    published_at: int,
    as_of: int,
    asked_at: int,
    row: FeatureRow,
    late: tuple[str, ...],
) -> Question:
    first = next(iter(row.base_log))
    few = (f"the channel's level rests on {row.history} posts only ({WINDOW} are usual)",)
    return Question(
        channel=channel,
        post_id=post_id,
        known_age_h=known_age_h,
        published_at=published_at,
        as_of=as_of,
        asked_at=asked_at,
        vector=row.vector,
        base_log=row.base_log,
        usual=math.exp(row.level_log[first]),
        history=row.history,
        warnings=late + (few if row.history < WINDOW else ()),
    )
