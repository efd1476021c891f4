"""Fresh posts: how fast they are read now, beside what the channel's posts had at the same age."""

from __future__ import annotations

import numpy as np

from core.accrual import album_representatives, usual_interval
from core.clock import DAY, HOUR
from core.history import ChannelHistory, views_at
from core.schemas.alerts import Live, LivePost

FRESH_S = 48 * HOUR
#: posts of so many days before are the usual ...
USUAL_DAYS = 28
#: ... and at least so many of them
LEAST_USUAL = 5


def live(history: ChannelHistory, now: int, newest: int | None) -> Live:
    """Posts younger than 48 h, newest first; albums once. history: as known now, at least 30 days of posts.

    newest: when the channel's newest reading or post came.
    """
    counted = album_representatives(history)
    fresh = np.flatnonzero(counted & (history.published_at > now - FRESH_S) & (history.published_at <= now))
    missing = []
    if history.n and len(history.reading_ts) == 0:
        missing.append("views unavailable from this source")
    elif history.single_reading:
        missing.append("one reading a post: velocity unavailable from this source")
    if len(fresh) == 0:
        missing.append("no post is younger than 48 hours")
    return Live(
        channel=history.channel.name,
        at=now,
        last_reading=newest,
        reading_age_s=None if newest is None else now - newest,
        usual_interval_s=usual_interval(history),
        posts=tuple(_post(history, counted, int(i), now) for i in fresh[::-1]),
        missing=tuple(missing),
    )


def _post(history: ChannelHistory, counted: np.ndarray[tuple[int], np.dtype[np.bool_]], i: int, now: int) -> LivePost:
    begin, end = int(history.offsets[i]), int(history.offsets[i + 1])
    use = history.reading_exact_time[begin:end]
    times, views = history.reading_ts[begin:end][use], history.reading_views[begin:end][use]
    born = int(history.published_at[i])
    after = times > born
    times, views = times[after], views[after]
    if len(times) == 0:
        why = "not read yet"
        return LivePost(
            int(history.post_ids[i]),
            born,
            (now - born) / HOUR,
            None,
            0,
            None,
            None,
            None,
            None,
            0,
            None,
            None,
            None,
            why,
        )
    at, seen = int(times[-1]), float(views[-1])
    before, earlier = (int(times[-2]), float(views[-2])) if len(times) > 1 else (born, 0.0)
    hours = (at - before) / HOUR
    usual_, n = usual(history, counted, i, at - born)
    return LivePost(
        post_id=int(history.post_ids[i]),
        published_at=born,
        age_h=(at - born) / HOUR,
        views=round(seen),
        readings=len(times),
        views_per_h=(seen - earlier) / hours,
        over_h=hours,
        overperformance=None if usual_ is None else seen / usual_,
        usual=usual_,
        usual_n=n,
        read_at=at,
        reading_age_s=now - at,
        missing=None if usual_ is not None else f"the usual at this age rests on {n} posts, {LEAST_USUAL} are needed",
    )


def usual(
    history: ChannelHistory, counted: np.ndarray[tuple[int], np.dtype[np.bool_]], i: int, age_s: int
) -> tuple[float | None, int]:
    """The median at an age of the posts that were that old when this one was published, and their number.

    None with fewer than 5 of them. counted: which posts stand for themselves (albums once).
    """
    born = history.published_at
    then = int(born[i])
    values = views_at(history, age_s).values
    earlier = counted & (born >= then - USUAL_DAYS * DAY) & (born + age_s <= then) & ~np.isnan(values)
    n = int(np.count_nonzero(earlier))
    usual = float(np.median(values[earlier])) if n >= LEAST_USUAL else 0.0
    return (usual if usual > 0 else None), n
