"""Makes histories of rows as they come out of SQL, and cuts them at a moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from core.history import ATTRIBUTES, ChannelHistory, Ints, Readings, reading_known_at
from core.schemas.channels import Channel, Precision
from core.schemas.predictions import Metric


def assemble(
    channel: Channel,
    posts: Sequence[tuple[Any, ...]],
    readings: Ints,
    subscribers: Ints,
    counts: Mapping[Metric, Ints] | None = None,
) -> ChannelHistory:
    """Arrays of a history; readings come in order of (post id, time), those of other posts are left out."""
    n, width = len(posts), len(ATTRIBUTES)
    ids = np.fromiter((row[0] for row in posts), dtype=np.int64, count=n)
    views = _by_post(ids, readings)
    others = {metric: _by_post(ids, found) for metric, found in (counts or {}).items()}
    return ChannelHistory(
        channel=channel,
        post_ids=ids,
        published_at=np.fromiter((row[1] for row in posts), dtype=np.int64, count=n),
        attributes=np.array([row[2:-2] for row in posts], dtype=np.float64).reshape(n, width),  # None becomes NaN
        media=np.array([row[-2] for row in posts], dtype=object),
        album_ids=np.fromiter((-1 if row[-1] is None else row[-1] for row in posts), np.int64, count=n),
        offsets=views.offsets,
        reading_ts=views.ts,
        reading_views=views.values,
        reading_exact_time=views.exact_time,
        subscriber_ts=subscribers[0],
        subscribers=subscribers[1].astype(np.float64),
        counts={metric: found for metric, found in others.items() if len(found.ts)},
    )


def _by_post(ids: Ints, readings: Ints) -> Readings:
    """Readings (4 x m, in order of post id and time) of the posts of a history, in its order."""
    n, order = len(ids), np.argsort(ids)
    owner_id, ts, values, precision = readings
    slot = np.searchsorted(ids[order], owner_id)
    slot[slot == n] = 0
    known = ids[order][slot] == owner_id if n else np.zeros(len(owner_id), dtype=bool)
    owner = order[slot[known]] if n else np.zeros(0, dtype=np.int64)
    by_post = np.argsort(owner, kind="stable")  # from order of ids to order of publication; times stay in order
    return Readings(
        offsets=np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=n))]).astype(np.int64),
        ts=ts[known][by_post],
        values=values[known][by_post].astype(np.float64),
        exact_time=precision[known][by_post] != int(Precision.TIME_ASSUMED),
    )


def known_by(history: ChannelHistory, as_of: int) -> ChannelHistory:
    """Without readings that became known later (see `core.history.reading_known_at`)."""
    views = history.views.take(reading_known_at(history) <= as_of)
    counts = {m: r.take(reading_known_at(history, r) <= as_of) for m, r in history.counts.items()}
    return replace(
        history,
        offsets=views.offsets,
        reading_ts=views.ts,
        reading_views=views.values,
        reading_exact_time=views.exact_time,
        counts={metric: readings for metric, readings in counts.items() if len(readings.ts)},
    )
