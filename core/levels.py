"""Views of posts beside the channel's own level around them, so that growth is not taken for the merit of a format."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.accrual import album_representatives
from core.clock import DAY
from core.history import ChannelHistory, Floats, target_values, views_at

#: neighbours on each side that the level of a post is the median of
AROUND = 15


@dataclass(frozen=True, slots=True)
class Levelled:
    """Posts whose views are known, in order of publication: position in the history, views, log of views / level."""

    at: NDArray[np.int64]
    views: Floats
    residual: Floats
    metric: str  # views_24h or views_final


def levelled(history: ChannelHistory, since: int, until: int) -> Levelled:
    """Posts of a period with the logarithm of their views at 24 h over the median of the 15 before and 15 after.

    An album counts once. Posts with 0 views are left out: their logarithm does not exist.
    """
    final = history.single_reading
    views = (target_values(history, "views_final") if final else views_at(history, DAY)).values
    usable = album_representatives(history) & (np.nan_to_num(views) > 0)
    at = np.flatnonzero(usable)
    residual = np.log(views[at])
    if len(at):
        residual = residual - running_median(residual, AROUND)
    inside = (history.published_at[at] >= since) & (history.published_at[at] < until)
    return Levelled(at[inside], views[at][inside], residual[inside], "views_final" if final else "views_24h")


def running_median(values: Floats, around: int) -> Floats:
    """The median of each value and its neighbours; at the ends of those that there are."""
    padded = np.concatenate([np.full(around, np.nan), values, np.full(around, np.nan)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * around + 1)
    return np.asarray(np.nanmedian(windows, axis=1), dtype=float)
