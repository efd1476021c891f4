"""A channel's recent results as they were known at a moment: medians, and how early views have led to later ones.

Everything here looks only at values whose `known_at` is not later than the moment asked about.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.history import ChannelHistory, Floats, Ints, Known
from core.schemas.predictions import Metric
from core.targets import to_log

#: How many matured posts a level is the median of. Forwards and reactions differ from post to post by several times
#: more than their level moves: theirs rests on more (news channels: mean error of forwards .728 instead of .754).
WINDOW = 30
WINDOWS: dict[Metric, int] = {"views": WINDOW, "reactions": 100, "forwards": 100}
#: The fewest matured posts that make a level.
MIN_HISTORY = 5
#: Features of a row look back over this many of the posts published before its moment, no further; a history cut to
#: somewhat more than that gives the same rows as the whole one.
LOOKBACK = 400
#: Pseudo-posts that hold a channel's own early-to-late slope at the usual one.
_SLOPE_PRIOR = 20.0


def median(values: Floats) -> float:
    """Median of a small array, NaN when it is empty (several times faster than np.median for tens of values)."""
    n = len(values)
    if n == 0:
        return float("nan")
    ordered = np.sort(values)
    return float(ordered[n // 2] if n % 2 else (ordered[n // 2 - 1] + ordered[n // 2]) / 2)


def leaders(history: ChannelHistory) -> NDArray[np.bool_]:
    """Which posts count: all, but only the first one of an album (n)."""
    albums = history.album_ids
    result = albums < 0
    _, first = np.unique(albums, return_index=True)
    result[first] = True
    return result


@dataclass(frozen=True, slots=True)
class LogSeries:
    """Logarithms of a measured value, of the counted posts that have one, in order of publication (m each)."""

    index: Ints  # position in the history
    published_at: Ints
    known_at: Ints
    log: Floats
    of_post: Floats  # n: by position in the history, NaN where there is none
    known_at_of_post: Ints  # n

    @classmethod
    def of(
        cls, history: ChannelHistory, known: Known, counted: NDArray[np.bool_], metric: Metric = "views"
    ) -> LogSeries:
        """On the scale of `core.targets.to_log`."""
        logs = to_log(metric, known.values)
        index = np.flatnonzero(counted & np.isfinite(known.values))
        return cls(index, history.published_at[index], known.known_at[index], logs[index], logs, known.known_at)

    def known(self, moment: int, earliest: int, without: int | None) -> Ints:
        """Places in this series known at a moment, of posts from position `earliest` on, in order of publication."""
        low = int(np.searchsorted(self.index, earliest))
        high = int(np.searchsorted(self.published_at, moment, side="right"))
        places = low + np.flatnonzero(self.known_at[low:high] <= moment)
        return places if without is None else places[self.index[places] != without]


@dataclass(frozen=True, slots=True)
class Level:
    """What a channel's posts usually reach."""

    log: float  # median of the last matured results
    spread: float  # 1.4826 x median absolute deviation
    n: int


def level(logs: Floats, posts: int = WINDOW) -> Level | None:
    """Level of the last matured results in order of publication; None below MIN_HISTORY."""
    if len(logs) < MIN_HISTORY:
        return None
    window = logs[-posts:]
    centre = median(window)
    return Level(centre, 1.4826 * median(np.abs(window - centre)), len(window))


def nowcast(early: Floats, late: Floats, own: float, prior_slope: float, posts: int = WINDOW) -> float:
    """The late result to expect from a post's own early one, both as logarithms.

    early, late: the channel's matured posts that have both, in order of publication (m). The answer is the median late
    result of the last `posts` plus slope x (own - median early): a slope of 1 would be "own early views x the channel's
    usual ratio", 0 the level alone. The slope is fitted through the medians over the last 2 x `posts`, held at
    `prior_slope` by pseudo-posts of typical spread (a ridge), and kept within 0..1.
    """
    early, late = early[-2 * posts :], late[-2 * posts :]
    x0, y0 = median(early[-posts:]), median(late[-posts:])
    x, y = np.clip(early - x0, -1.0, 1.0), np.clip(late - y0, -1.0, 1.0)
    held = _SLOPE_PRIOR * max(float(np.mean(x * x)), 1e-4)
    slope = (float(x @ y) + prior_slope * held) / (float(x @ x) + held)
    return y0 + min(max(slope, 0.0), 1.0) * (own - x0)
