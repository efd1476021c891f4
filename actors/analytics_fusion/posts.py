"""The table of posts: every one at the same age, beside what is usual for the channel at that age; and one's curve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from actors.analytics_fusion.source import Counts, no_views
from core import metrics
from core.accrual import album_representatives
from core.clock import HOUR
from core.errors import InvalidInput, NotFound
from core.history import ChannelHistory, Floats, target_values, views_at
from core.schemas.analytics import CURVE_AGES_H, CurvePoint, PostCurve, PostRow

Bools = NDArray[np.bool_]

ORDERS = ("overperformance", "views", "er", "published_at")
MOST = 1000
LEAST_USUAL = 3  # posts with a value that "usual" must rest on


def table(history: ChannelHistory, counts: Counts, limit: int, order: str, age_h: int) -> tuple[PostRow, ...]:
    """The first `limit` posts, highest (newest) first; posts without a value come last, newest first.

    Views are those at `age_h` hours. A source with one reading a post has its final views instead, and each row's
    age is that of its reading.
    """
    if order not in ORDERS:
        raise InvalidInput(f"no order {order!r}: use one of {', '.join(ORDERS)}", field="order")
    if not 1 <= limit <= MOST:
        raise InvalidInput(f"limit {limit}: between 1 and {MOST}", field="limit")
    if not 1 <= age_h <= 24 * 30:
        raise InvalidInput(f"age {age_h} h: between 1 and {24 * 30}", field="age_h")
    final = history.single_reading
    views = (target_values(history, "views_final") if final else views_at(history, age_h * HOUR)).values
    ages = _reading_ages(history) if final else np.full(history.n, age_h)
    counted = album_representatives(history)
    known = views[counted & ~np.isnan(views)]
    usual = float(np.median(known)) if len(known) >= LEAST_USUAL else 0.0
    over = views / usual if usual > 0 else np.full(history.n, np.nan)
    er = metrics.ratio(counts.engagement, counts.views)
    key = {"overperformance": over, "views": views, "er": er, "published_at": history.published_at.astype(float)}[order]
    ranks = np.lexsort((-history.published_at, np.where(np.isnan(key), np.inf, -key)))
    rows = ranks[counted[ranks]][:limit]
    curves = np.full((len(CURVE_AGES_H), history.n), np.nan) if final else _curves(history)
    return tuple(
        PostRow(
            post_id=int(history.post_ids[i]),
            published_at=int(history.published_at[i]),
            views=_number(views[i]),
            age_h=int(ages[i]),
            overperformance=_number(over[i]),
            forwards=_count(counts.forwards[i]),
            reactions=_count(counts.reactions[i]),
            er=_number(er[i]),
            comments=_count(counts.comments[i]),
            curve=() if final else tuple(map(_number, curves[:, i])),
        )
        for i in rows
    )


def curve(history: ChannelHistory, post_id: int) -> PostCurve:
    """Every reading of a post, and its views at fixed ages beside those of the channel's other posts.

    NotFound for a post that is not stored. A post of which nothing is known has no points and a note that says so.
    """
    i = history.index_of(post_id)
    if i is None:
        raise NotFound(f"no post {post_id} in {history.channel.name!r}", post_id=post_id)
    start, stop = int(history.offsets[i]), int(history.offsets[i + 1])
    born = int(history.published_at[i])
    ages = (history.reading_ts[start:stop] - born).tolist()
    readings = tuple(zip(ages, history.reading_views[start:stop].astype(int).tolist(), strict=True))
    why = no_views(history)
    found = PostCurve(history.channel.name, post_id, born, readings, (), None, () if why is None else (why,))
    if why is not None:
        return found
    others = album_representatives(history)
    others[i] = False
    points = tuple(_point(age, values, others, i) for age, values in zip(CURVE_AGES_H, _curves(history), strict=True))
    half = metrics.view_half_life(history)[i]
    return replace(found, points=points, half_life_h=_number(half))


def _curves(history: ChannelHistory) -> Floats:
    """Views at every age of `CURVE_AGES_H`: ages x n."""
    return np.stack([views_at(history, age * HOUR).values for age in CURVE_AGES_H])


def _point(age_h: int, values: Floats, others: Bools, i: int) -> CurvePoint:
    known = values[others & ~np.isnan(values)]
    point = CurvePoint(age_h, _number(values[i]), None, None, None, len(known), None)
    if len(known) < LEAST_USUAL:
        return point
    low, usual, high = (float(q) for q in np.quantile(known, [0.1, 0.5, 0.9]))
    over = values[i] / usual if usual > 0 else np.nan
    return replace(point, usual=usual, low=low, high=high, overperformance=_number(over))


def _reading_ages(history: ChannelHistory) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    ages = np.zeros(history.n, dtype=np.int64)
    has = np.diff(history.offsets) > 0
    ages[has] = (history.reading_ts[history.offsets[1:][has] - 1] - history.published_at[has]) // HOUR
    return ages


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _count(value: float) -> int | None:
    return None if np.isnan(value) else int(value)
