"""Which posts a rule on posts is for, and what is said of each: a text with given words, or one that is read a lot."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

import numpy as np

from actors.alerts_fusion import wording
from actors.alerts_fusion.keywords import keywords
from actors.alerts_fusion.live import FRESH_S, USUAL_DAYS, usual
from core.accrual import album_representatives
from core.clock import DAY, HOUR
from core.history import ChannelHistory
from core.schemas.alerts import ON_POSTS, RuleSpec
from core.schemas.channels import Channel, Post

#: views are compared with the usual from this age on; before it a handful of readers decides
EARLY_S = HOUR
#: how far back posts are read: the usual of the oldest post that is still looked at rests on them
HISTORY_S = (USUAL_DAYS + 10) * DAY
#: beyond the oldest age compared, views_at looks no further for a reading than half of it
_READ_S = FRESH_S + FRESH_S // 2

_PUBLIC = re.compile(r"@([A-Za-z]\w{3,31})")
_PRIVATE = re.compile(r"c(\d+)")  # how imports name a channel of which they know the number alone


@dataclass(frozen=True, slots=True)
class Seen:
    """A post that a rule is for."""

    post_id: int
    key: str  # the post's, or its album's: an album is one post to its readers
    published_at: int
    at: int  # when it became one
    reason: str
    link: str | None
    value: float | None = None  # views / usual
    reference: float | None = None  # the usual
    n: int = 0  # posts that the usual rests on


def looks_at(spec: RuleSpec, channel: str, lists: dict[str, tuple[str, ...]]) -> bool:
    """Whether a rule on posts is for those of a channel. lists: channels of the watch lists, by name."""
    if spec.kind not in ON_POSTS:
        return False
    return channel in (spec.channels if spec.watch_list is None else lists.get(spec.watch_list, ()))


def published(spec: RuleSpec, channel: Channel, posts: Iterable[Post]) -> list[Seen]:
    """Of posts in order of publication those that a rule without overperformance is for; of an album the first."""
    asked = keywords(spec.words, spec.exclude, spec.match) if spec.kind == "keyword" else None
    found: dict[str, Seen] = {}
    for post in posts:
        hit = ((), 0) if asked is None else asked.hits(post.draft.text or "")
        key = str(post.post_id) if post.album_id is None else f"album {post.album_id}"
        if hit is None or key in found:
            continue
        reason = wording.post_reason(channel, post.published_at, hit[0], post.draft.text, hit[1])
        link = link_of(channel, post.post_id)
        found[key] = Seen(post.post_id, key, post.published_at, post.published_at, _linked(reason, link), link)
    return list(found.values())


def overperforming(
    spec: RuleSpec, history: ChannelHistory, texts: dict[int, str], ids: Collection[int] | None = None
) -> tuple[list[Seen], int, int]:
    """Posts at their first reading with so many times the usual views of that age; how many could be judged, and not.

    Readings between an hour and 48 hours of age count, the usual is that of `live`. history: 30 days of posts before
    the first that is looked at. ids: the posts to look at; None: all.
    """
    assert spec.overperforms is not None
    channel, young = history.channel, _while_young(history)
    counted = album_representatives(history)
    found: list[Seen] = []
    judged = unknown = 0
    for i in np.flatnonzero(counted).tolist():
        post_id, born = int(history.post_ids[i]), int(history.published_at[i])
        if ids is not None and post_id not in ids:
            continue
        compared = _compared(young, counted, i)
        judged, unknown = judged + bool(compared), unknown + (not compared)
        over = next((one for one in compared if one[1] >= spec.overperforms * one[2]), None)
        if over is None:
            continue
        at, views, usual_, n = over
        key = str(post_id) if history.album_ids[i] < 0 else f"album {history.album_ids[i]}"
        link = link_of(channel, post_id)
        reason = wording.post_reason(channel, born, (), texts.get(post_id))
        reason += f"; {wording.overperformance(views / usual_, views, usual_, (at - born) / HOUR, n)}"
        found.append(Seen(post_id, key, born, at, _linked(reason, link), link, views / usual_, usual_, n))
    return found, judged, unknown


def link_of(channel: Channel, post_id: int) -> str | None:
    """Where a post can be read, where the channel's name says so: Telegram's public names and numbers."""
    if (public := _PUBLIC.fullmatch(channel.name)) is not None:
        return f"https://t.me/{public[1]}/{post_id}"
    if channel.source.startswith("tele") and (private := _PRIVATE.fullmatch(channel.name)) is not None:
        return f"https://t.me/c/{private[1]}/{post_id}"
    return None


def _compared(
    history: ChannelHistory, counted: np.ndarray[tuple[int], np.dtype[np.bool_]], i: int
) -> list[tuple[int, float, float, int]]:
    """(time, views, usual views, posts that the usual rests on) of a post's readings that can be compared."""
    begin, end = int(history.offsets[i]), int(history.offsets[i + 1])
    compared, born = [], int(history.published_at[i])
    for k in range(begin, end):
        at, views = int(history.reading_ts[k]), float(history.reading_views[k])
        if history.reading_exact_time[k] and EARLY_S <= at - born <= FRESH_S:
            usual_, n = usual(history, counted, i, at - born)
            if usual_ is not None:
                compared.append((at, views, usual_, n))
    return compared


def _while_young(history: ChannelHistory) -> ChannelHistory:
    """Without readings that no comparison looks at: most of them."""
    owner = np.repeat(np.arange(history.n), np.diff(history.offsets))
    keep = history.reading_ts - history.published_at[owner] <= _READ_S
    return replace(
        history,
        offsets=np.concatenate([[0], np.cumsum(np.bincount(owner[keep], minlength=history.n))]).astype(np.int64),
        reading_ts=history.reading_ts[keep],
        reading_views=history.reading_views[keep],
        reading_exact_time=history.reading_exact_time[keep],
    )


def _linked(reason: str, link: str | None) -> str:
    return reason if link is None else f"{reason} {link}"
