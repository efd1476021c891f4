"""Which view readings contradict the others of their post: counters of views never fall."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.history import Ints

Mask = NDArray[np.bool_]


@dataclass(slots=True)
class FallingViews:
    """Finds falling readings chunk by chunk; remembers the last good reading of each post.

    Of a post's readings the largest set that never falls is kept, so one absurd high value is refused itself instead
    of everything after it.
    """

    last: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)

    def find(self, channel: Ints, post: Ints, ts: Ints, views: Ints, usable: Mask) -> Mask:
        """Mask of the rows to refuse; rows that are not usable are left alone."""
        refused = np.zeros(len(ts), dtype=bool)
        rows = np.flatnonzero(usable)
        if not len(rows):
            return refused
        rows = rows[np.lexsort((ts[rows], post[rows], channel[rows]))]
        same = (post[rows][1:] == post[rows][:-1]) & (channel[rows][1:] == channel[rows][:-1])
        starts = np.concatenate([[0], np.flatnonzero(~same) + 1])
        stops = np.append(starts[1:], len(rows))
        falls = np.concatenate([[False], same & (np.diff(views[rows]) < 0)])
        falling = np.add.reduceat(falls, starts) > 0
        ends = zip(starts.tolist(), stops.tolist(), falling.tolist(), strict=True)
        for start, stop, has_fall in ends:
            group = rows[start:stop]
            first = group[0]
            key = (int(channel[first]), int(post[first]))
            known = self.last.get(key)
            if known is not None and ts[first] > known[0] and views[first] < known[1]:
                below = views[group] < known[1]
                refused[group[below]] = True
                group = group[~below]
            elif not has_fall:
                self.last[key] = (int(ts[group[-1]]), int(views[group[-1]]))
                continue
            keep = _longest_rising([int(v) for v in views[group]])
            refused[np.delete(group, keep)] = True
            if keep:
                self.last[key] = (int(ts[group[keep[-1]]]), int(views[group[keep[-1]]]))
        return refused


def _longest_rising(values: list[int]) -> list[int]:
    """Positions of the longest subsequence that never falls; of several, one that keeps the earlier values.

    Patience sorting from the end to the beginning, where a later find replaces an earlier one of the same length.
    """
    tails: list[int] = []  # negated first values of the best sequence of each length
    positions: list[int] = []
    after = [-1] * len(values)
    for i in range(len(values) - 1, -1, -1):
        at = bisect_right(tails, -values[i])
        after[i] = positions[at - 1] if at else -1
        if at == len(tails):
            tails.append(-values[i])
            positions.append(i)
        else:
            tails[at], positions[at] = -values[i], i
    found: list[int] = []
    i = positions[-1] if positions else -1
    while i >= 0:
        found.append(i)
        i = after[i]
    return found
