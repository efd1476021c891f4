"""The daily series that are watched, and which days can be judged already."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from actors.anomaly_analysis.explanation import FRESH_S
from actors.anomaly_analysis.scales import GROWTH, POSTING, VIEWS
from core.accrual import covered
from core.history import ChannelHistory, Floats
from core.metrics import net_growth, posts_published, views_gained
from core.settled import day_edges as edges
from core.settled import first_day, last_settled

WATCHED = (VIEWS, GROWTH, POSTING)

__all__ = ["WATCHED", "edges", "first_day", "last_settled", "values"]


def values(history: ChannelHistory, first: int, last: int) -> Mapping[str, Floats]:
    """Each watched metric on the days from `first` to `last`; NaN where it is not known.

    Views are those of posts up to 7 days old: of older ones many sources take readings too rarely to date them.
    """
    bounds = edges(history.channel.timezone, first, last)
    posts = posts_published(history, bounds)
    if len(history.reading_ts) and not history.single_reading:
        posts = np.where(covered(history, bounds), posts, np.nan)  # nobody looked: no posts is not known either
    elif history.n:
        posts = np.where(bounds[:-1] <= history.published_at[-1], posts, np.nan)
    return {VIEWS: views_gained(history, bounds, FRESH_S), GROWTH: net_growth(history, bounds), POSTING: posts}
