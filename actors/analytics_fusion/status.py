"""What is collected of a channel, since when, and what is missing."""

from __future__ import annotations

import numpy as np

from actors.analytics_fusion import source
from actors.analytics_fusion.source import Counts
from core.accrual import gaps, usual_interval
from core.history import ChannelHistory
from core.metrics import METRICS, view_half_life
from core.schemas.analytics import DataStatus
from core.store.channels import ChannelTotals


def data_status(history: ChannelHistory, counts: Counts, totals: ChannelTotals) -> DataStatus:
    """Row counts, the span they cover, gaps longer than four usual intervals, and one line for each thing missing."""
    missing = list(source.missing(history, counts))
    if totals.posts == 0:
        missing.insert(0, "no posts stored")
    if 0 < totals.time_assumed < totals.view_readings:
        missing.append(f"the time of {totals.time_assumed} of {totals.view_readings} view readings is assumed")
    if 0 < totals.posts_with_views < totals.posts:
        missing.append(f"views of {totals.posts - totals.posts_with_views} of {totals.posts} posts")
    read = history.reading_ts[history.reading_exact_time]
    half = view_half_life(history)
    half = half[~np.isnan(half)]
    return DataStatus(
        channel=history.channel.name,
        posts=totals.posts,
        posts_with_views=totals.posts_with_views,
        view_readings=totals.view_readings,
        subscriber_readings=totals.subscriber_readings,
        reactions=totals.reactions,
        first_post=totals.first_post,
        last_post=totals.last_post,
        last_reading=totals.last_reading,
        gaps=() if history.single_reading else gaps(history),
        missing=tuple(missing),
        first_reading=int(read.min()) if len(read) else None,
        first_subscribers=int(history.subscriber_ts[0]) if len(history.subscriber_ts) else None,
        last_subscribers=int(history.subscriber_ts[-1]) if len(history.subscriber_ts) else None,
        usual_interval_s=None if history.single_reading else usual_interval(history),
        view_half_life_h=float(np.median(half)) if len(half) >= METRICS["view_half_life"].minimum else None,
        half_life_posts=len(half),
    )
