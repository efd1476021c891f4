"""The daily series that are watched, and which days can be judged already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from actors.anomaly_analysis.explanation import FRESH_S
from actors.anomaly_analysis.scales import GROWTH, PACE, POSTING, VIEWS
from core.accrual import covered
from core.clock import DAY
from core.history import ChannelHistory, Floats, Ints
from core.metrics import net_growth, posts_published, views_gained
from core.pace import history_needed_s, views_pace
from core.settled import day_edges as edges
from core.settled import first_day, last_settled

WATCHED = (VIEWS, PACE, GROWTH, POSTING)
#: days of posts and readings before a day that its values need
DAYS_NEEDED = history_needed_s() // DAY + 2

__all__ = ["DAYS_NEEDED", "WATCHED", "edges", "first_day", "last_settled", "values"]


def values(history: ChannelHistory, first: int, last: int, metrics: Sequence[str] = WATCHED) -> Mapping[str, Floats]:
    """Each watched metric on the days from `first` to `last`; NaN where it is not known.

    Views are those of posts up to 7 days old: of older ones many sources take readings too rarely to date them.
    """
    bounds = edges(history.channel.timezone, first, last)
    return {metric: _values(history, metric, bounds, first, last) for metric in metrics}


def _values(history: ChannelHistory, metric: str, bounds: Ints, first: int, last: int) -> Floats:
    if metric == VIEWS:
        return views_gained(history, bounds, FRESH_S)
    if metric == GROWTH:
        return net_growth(history, bounds)
    if metric == PACE:
        # Its expectation looks back: the days before are made as well, and left out.
        back = edges(history.channel.timezone, first - DAYS_NEEDED, last)
        return views_pace(history, back, wanted=DAYS_NEEDED).values[DAYS_NEEDED:]
    posts = posts_published(history, bounds)
    if len(history.reading_ts) and not history.single_reading:
        return np.where(covered(history, bounds), posts, np.nan)  # nobody looked: no posts is not known either
    return np.where(bounds[:-1] <= history.published_at[-1], posts, np.nan) if history.n else posts
