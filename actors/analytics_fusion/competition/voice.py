"""How loud each channel of a set is, and when it speaks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from actors.analytics_fusion import source
from actors.analytics_fusion.overview import Period
from core import metrics
from core.accrual import album_representatives
from core.buckets import zone
from core.clock import HOUR
from core.history import ChannelHistory
from core.schemas.competitors import Cadence, Voice
from core.store.channels import Mention


def voices(
    histories: Sequence[ChannelHistory], periods: Sequence[Period], mentions: Sequence[Mention]
) -> tuple[tuple[Voice, ...], tuple[str, ...]]:
    """Each channel's part of posts, views gained and mentions, and one line for each share that cannot be given.

    Views gained in the period count, whatever the age of their posts. Mentions by the set's own channels count too.
    """
    names = [history.channel.name for history in histories]
    posts = [_posts(history, period) for history, period in zip(histories, periods, strict=True)]
    views, notes = [], []
    for history, period in zip(histories, periods, strict=True):
        daily = metrics.views_gained(history, period.now)
        known = daily[~np.isnan(daily)]
        needed = max(metrics.METRICS["views_gained"].minimum, round(0.8 * len(daily)))
        views.append(float(known.mean() * len(daily)) if len(known) >= needed else None)
        if views[-1] is None:
            why = source.no_views(history) or f"readings cover {len(known)} of {len(daily)} days, {needed} are needed"
            notes.append(f"no share of views: {history.channel.name}: {why}")
    named = [
        len({(m.source, m.post_id) for m in mentions if m.target == name != m.source and _in(m.published_at, period)})
        for name, period in zip(names, periods, strict=True)
    ]
    if sum(named) == 0:
        notes.append("no share of mentions: no stored post of the period names one of these channels")
    shares = [_shares([float(p) for p in posts]), _shares(views), _shares([float(n) for n in named])]
    found = tuple(
        Voice(name, posts[i], shares[0][i], views[i], shares[1][i], named[i], shares[2][i])
        for i, name in enumerate(names)
    )
    return found, tuple(notes)


def cadence(history: ChannelHistory, period: Period) -> Cadence:
    """Posts by hour and weekday of the channel's zone, an album once, and the longest silence between two posts."""
    times = history.published_at[album_representatives(history)]
    times = times[(times >= period.now[0]) & (times < period.now[-1])]
    local = [datetime.fromtimestamp(int(ts), zone(history.channel.timezone)) for ts in times]
    hours = np.bincount([at.hour for at in local], minlength=24) if local else np.zeros(24, dtype=int)
    days = np.bincount([at.weekday() for at in local], minlength=7) if local else np.zeros(7, dtype=int)
    daily = metrics.posts_published(history, period.now)
    known = daily[~np.isnan(daily)]
    return Cadence(
        channel=history.channel.name,
        posts_a_day=float(known.mean()) if len(known) else None,
        active_days=float((known > 0).mean()) if len(known) else None,
        hours=tuple(hours.tolist()),
        weekdays=tuple(days.tolist()),
        longest_silence_h=float(np.diff(times).max() / HOUR) if len(times) > 1 else None,
    )


def _posts(history: ChannelHistory, period: Period) -> int:
    times = history.published_at[album_representatives(history)]
    return int(np.count_nonzero((times >= period.now[0]) & (times < period.now[-1])))


def _in(moment: int, period: Period) -> bool:
    return bool(period.now[0] <= moment < period.now[-1])


def _shares(values: Sequence[float | None]) -> list[float | None]:
    known = [value for value in values if value is not None]
    if len(known) < len(values) or sum(known) == 0:
        return [None] * len(values)
    return [value / sum(known) for value in known]
