"""How fast a channel's posts are read, beside what is usual for posts of their age: a fall or rise within a day or two.

The views that a channel gains in a day depend mostly on how many posts are fresh, so they vary by half from day to day
where nothing happens. This asks instead, of every post that gains views in a day: how many would it have gained, had it
gone on as the channel's posts of the weeks before did at this age? Its own views so far set the level of a post, the
channel's median that of a new one. The logarithms of the ratios are averaged, each weighted by how well posts of its
age were foretold before (inverse variance of their class, robustly estimated), so the many posts that are some days old
and grow as expected count for more than a new one that may be a hit or a flop.

1.0 is the usual. A change that lasts shows for some days and then becomes the usual itself, because posts published
after it are measured by their own views: see `views_gained` for levels. On simulated channels with three posts a day
the standard deviation of its logarithm is .02-.05, that of the daily views .30 (`python -m bench.alerts`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.accrual import covered, gains, segments
from core.clock import DAY, HOUR
from core.history import ChannelHistory, Floats, Ints, views_at

#: days before a day from which its expectation is made, and beyond them the age at which posts are full-grown
BACK_DAYS = 28
AGES_H = (1, 2, 4, 8, 12, 24, 48, 72, 96, 120, 144, 168)
LEAST_GROWN = 10  # posts that the usual curve rests on
LEAST_RATIOS = 8  # earlier ratios of an age class
NEW_S = 6 * HOUR  # a post this young at the day's start has the channel's usual level instead of its own
_AT_24H = AGES_H.index(24)
_LEAST_SD = 0.02
_CLIP = 3.0  # a post counts up to so many standard deviations, and CLIP_LOG beyond
_CLIP_LOG = 0.5


@dataclass(frozen=True, slots=True)
class Pace:
    """By bucket: views gained over the usual (1.0), NaN where it cannot be known; and the posts that it rests on."""

    values: Floats
    posts: Ints


def history_needed_s() -> int:
    """How far before a day its pace looks: the ratios of 28 days, whose curves rest on posts of 35 more."""
    return (2 * BACK_DAYS + 7 + 7) * DAY


def views_pace(history: ChannelHistory, edges: Ints, wanted: int = 0) -> Pace:
    """The pace of each bucket (days) of b + 1 edges; only what came before a bucket is used for its expectation.

    wanted: the first bucket that is asked for. Those before it only serve its expectation, and have no value.
    """
    buckets = len(edges) - 1
    values, posts = np.full(buckets, np.nan), np.zeros(buckets, dtype=np.int64)
    watched = covered(history, edges)
    if not watched[wanted:].any():
        return Pace(values, posts)
    at_age = np.stack([views_at(history, age * HOUR).values for age in AGES_H], axis=1)
    last_ts = _last_read(history)
    today, so_far = _by_day(history, edges)

    def ratios(day: int) -> tuple[Ints, Floats] | None:
        if not watched[day]:
            return None
        return _ratios(history, at_age, int(edges[day]), int(edges[day + 1]), so_far[day], today[day], last_ts)

    earlier: deque[tuple[Ints, Floats]] = deque(maxlen=BACK_DAYS)
    for day in reversed(range(wanted)):
        if len(earlier) == BACK_DAYS:
            break
        found = ratios(day)
        if found is not None:
            earlier.appendleft(found)
    for day in range(wanted, buckets):
        found = ratios(day)
        if found is not None:
            values[day], posts[day] = _combined(*found, earlier)
            earlier.append(found)
    return Pace(values, posts)


def _by_day(history: ChannelHistory, edges: Ints) -> tuple[list[Floats], list[Floats]]:
    """The views that each post gained in each bucket, and those that it had when the bucket began."""
    buckets = len(edges) - 1
    gained = gains(history, edges, AGES_H[-1] * HOUR)
    by_day = np.argsort(gained.bucket, kind="stable")
    starts = np.searchsorted(gained.bucket[by_day], np.arange(buckets + 1))
    so_far: list[Floats] = [_before(history, edges[0])]
    days: list[Floats] = []
    for day in range(buckets):
        rows = by_day[starts[day] : starts[day + 1]]
        days.append(np.bincount(gained.post[rows], gained.views[rows], minlength=history.n).astype(float))
        so_far.append(so_far[-1] + days[-1])
    return days, so_far


def _ratios(
    history: ChannelHistory, at_age: Floats, start: int, end: int, so_far: Floats, today: Floats, last_ts: Ints
) -> tuple[Ints, Floats] | None:
    """(age class, log of gained over expected) of each post that can be judged in a day; None without a usual curve."""
    born = history.published_at
    usual = _usual(at_age, born, start)
    if usual is None:
        return None
    curve, level = usual
    horizon = AGES_H[len(curve) - 1] * HOUR
    x = np.log1p(np.array([0, *AGES_H[: len(curve)]], dtype=float))
    y = np.concatenate([[0.0], curve])

    def share(age: Ints) -> Floats:
        result: Floats = np.interp(np.log1p(np.maximum(age, 0) / HOUR), x, y)
        return result

    active = np.flatnonzero((born < end - HOUR) & (born > start - horizon) & (today > 0))
    young, old = start - born[active], np.minimum(end - born[active], horizon)
    # A post read last before the day's end has gained less than it did.
    whole = (last_ts[active] >= born[active] + old) & (old > young)
    active, young, old = active[whole], young[whole], old[whole]
    new = young < NEW_S
    own = so_far[active] / np.maximum(share(young), 1e-9)
    expected = np.where(new, level, own) * (share(old) - share(young))
    good = expected > 0
    kinds = np.where(new, 0, 1 + np.minimum(young // DAY, 6)).astype(np.int64)
    return kinds[good], np.log(today[active][good] / expected[good])


def _usual(at_age: Floats, born: Ints, start: int) -> tuple[Floats, float] | None:
    """Shares of the views at the greatest age that enough posts reached, by age; and the median post's level there."""
    recent = born >= start - (BACK_DAYS + 7) * DAY
    for last in range(len(AGES_H) - 1, _AT_24H - 1, -1):
        grown = recent & (born < start - AGES_H[last] * HOUR) & (at_age[:, last] > 0)
        if np.count_nonzero(grown) < LEAST_GROWN:
            continue
        shares = at_age[grown][:, : last + 1] / at_age[grown][:, last : last + 1]
        curve = _medians(shares)
        at_24h = at_age[recent & (born < start - DAY), _AT_24H]
        level = float(np.nanmedian(at_24h)) / curve[_AT_24H] if not np.isnan(at_24h).all() else float("nan")
        return curve, level
    return None


def _medians(shares: Floats) -> Floats:
    """Medians by column, never falling; an age that no post was read near takes the neighbours' line."""
    known: NDArray[np.bool_] = np.asarray(~np.isnan(shares).all(axis=0))
    found = _column_medians(shares[:, known])
    middle: Floats = np.interp(np.arange(shares.shape[1]), np.flatnonzero(known), found)
    if not known[0]:
        first = int(np.argmax(known))
        middle[:first] = middle[first] * np.log1p(AGES_H[:first]) / np.log1p(AGES_H[first])
    return np.maximum.accumulate(middle)


def _column_medians(values: Floats) -> Floats:
    """Medians by column without NaN, of which no column consists (as np.nanmedian, which is ten times as slow)."""
    ordered, count = np.sort(values, axis=0), np.count_nonzero(~np.isnan(values), axis=0)
    column = np.arange(values.shape[1])
    found: Floats = (ordered[(count - 1) // 2, column] + ordered[count // 2, column]) / 2
    return found


def _combined(kinds: Ints, ratios: Floats, earlier: deque[tuple[Ints, Floats]]) -> tuple[float, int]:
    """The weighted mean of the log ratios around their class's earlier median, as a ratio; and the posts used."""
    past = [np.concatenate(part) for part in zip(*earlier, strict=True)] if earlier else []
    if not past:
        return float("nan"), 0
    total = weights = 0.0
    used = 0
    for kind in np.unique(kinds):
        before = past[1][past[0] == kind]
        if len(before) < LEAST_RATIOS:
            continue
        middle = float(np.median(before))
        sd = max(1.4826 * float(np.median(np.abs(before - middle))), _LEAST_SD)
        bound = _CLIP * sd + _CLIP_LOG
        away = np.clip(ratios[kinds == kind] - middle, -bound, bound)
        total += float(away.sum()) / sd**2
        weights += len(away) / sd**2
        used += len(away)
    return (float(np.exp(total / weights)), used) if weights else (float("nan"), 0)


def _before(history: ChannelHistory, moment: int) -> Floats:
    """Views of each post at a moment; of one that was first read late, from that reading on."""
    rises = segments(history)
    base = np.zeros(history.n)
    posts, first = np.unique(rises.post, return_index=True)
    base[posts] = rises.before[first]
    if history.n and moment > history.published_at[0]:
        span = np.array([int(history.published_at[0]), int(moment)], dtype=np.int64)
        base += gains(history, span, AGES_H[-1] * HOUR).by_post(history.n)
    return base


def _last_read(history: ChannelHistory) -> NDArray[np.int64]:
    last = np.zeros(history.n, dtype=np.int64)
    has = np.diff(history.offsets) > 0
    last[has] = history.reading_ts[history.offsets[1:][has] - 1]
    return last
