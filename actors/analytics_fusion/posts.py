"""The table of posts: every one at the same age, beside what is usual for the channel at that age."""

from __future__ import annotations

import numpy as np

from actors.analytics_fusion.source import Counts
from core.accrual import album_representatives
from core.clock import HOUR
from core.errors import InvalidInput
from core.history import ChannelHistory, target_values, views_at
from core.schemas.analytics import PostRow

ORDERS = ("overperformance", "views", "published_at")
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
    key = {"overperformance": over, "views": views, "published_at": history.published_at.astype(float)}[order]
    ranks = np.lexsort((-history.published_at, np.where(np.isnan(key), np.inf, -key)))
    rows = [i for i in ranks if counted[i]][:limit]
    return tuple(
        PostRow(
            post_id=int(history.post_ids[i]),
            published_at=int(history.published_at[i]),
            views=_number(views[i]),
            age_h=int(ages[i]),
            overperformance=_number(over[i]),
            forwards=_count(counts.forwards[i]),
            reactions=_count(counts.reactions[i]),
        )
        for i in rows
    )


def _reading_ages(history: ChannelHistory) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    ages = np.zeros(history.n, dtype=np.int64)
    has = np.diff(history.offsets) > 0
    ages[has] = (history.reading_ts[history.offsets[1:][has] - 1] - history.published_at[has]) // HOUR
    return ages


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _count(value: float) -> int | None:
    return None if np.isnan(value) else int(value)
