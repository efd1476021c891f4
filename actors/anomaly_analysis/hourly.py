"""Which hours of a channel's views are unlike its hours at that time of day: the long series, watched by surprise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

import numpy as np

from actors.anomaly_analysis.analysis import UNEXPLAINED
from actors.anomaly_analysis.backfill import score_many
from actors.anomaly_analysis.explanation import FRESH_S
from actors.anomaly_analysis.surprise import SurpriseState, score
from core.accrual import gains
from core.buckets import day_start
from core.clock import DAY, HOUR
from core.history import ChannelHistory, Floats, Ints
from core.metrics import views_gained
from core.schemas.analytics import Cause

#: a score that quiet series reach a third as often as `surprise.ALARM`: an hour matters less than a day
ALARM_HOUR, FALSE_HOURS = 0.8, 1 / 3000
LEAST_HOURS = 14 * 24  # known hours before the first alarm counts
COMPARED_DAYS = 28  # days whose hours at the same time of day say what is usual
_LEAST_COMPARED = 7
_TOGETHER = 64  # channels from which on the batch is faster than one after another


@dataclass(frozen=True, slots=True)
class OddHour:
    """An hour that raised an alarm: its begin, its views, and the score."""

    start: int
    observed: float
    score: float


@dataclass(frozen=True, slots=True)
class Hours:
    """Hourly views of a span of days: begins, values (NaN: nobody read) and hours of the local day; n each."""

    starts: Ints
    values: Floats
    local: Ints


def hours_of(history: ChannelHistory, first: int, last: int) -> Hours:
    """The hours of the days from `first` to `last` (ordinals)."""
    zone = history.channel.timezone
    days = [day_start(zone, date.fromordinal(day)) for day in range(first, last + 2)]
    # 23 or 25 hours when the clocks change.
    starts = np.concatenate([np.arange(*span, HOUR, dtype=np.int64) for span in pairwise(days)])
    since = np.repeat(days[:-1], np.diff(np.searchsorted(starts, days)))
    values = views_gained(history, np.append(starts, days[-1]), FRESH_S)
    return Hours(starts, values, np.minimum((starts - since) // HOUR, 23))


def odd_hours(
    states: Sequence[SurpriseState], spans: Sequence[Hours]
) -> tuple[list[list[OddHour]], list[SurpriseState]]:
    """Take the hours of some channels: the alarms of each, and the states afterwards (the given ones are used up)."""
    before = [state.n for state in states]
    if len(states) >= _TOGETHER:
        scores, after = _together(states, spans)
    else:
        after = list(states)
        scores = [
            np.array([score(state, v, h) for v, h in zip(span.values.tolist(), span.local.tolist(), strict=True)])
            for state, span in zip(states, spans, strict=True)
        ]
    return [_alarms(*channel) for channel in zip(before, spans, scores, strict=True)], after


def _together(states: Sequence[SurpriseState], spans: Sequence[Hours]) -> tuple[list[Floats], list[SurpriseState]]:
    longest = max(len(span.starts) for span in spans)
    values, local = np.full((len(spans), longest), np.nan), np.zeros((len(spans), longest), dtype=np.int64)
    for row, span in enumerate(spans):
        values[row, : len(span.values)], local[row, : len(span.local)] = span.values, span.local
    scores, after = score_many(states, values, local)
    return [row[: len(span.starts)] for row, span in zip(scores, spans, strict=True)], after


def _alarms(before: int, span: Hours, scores: Floats) -> list[OddHour]:
    taken = before + np.cumsum(~np.isnan(span.values))
    return [
        OddHour(int(span.starts[i]), float(span.values[i]), float(scores[i]))
        for i in np.flatnonzero((scores >= ALARM_HOUR) & (taken > LEAST_HOURS))
    ]


def usual(history: ChannelHistory, start: int) -> float | None:
    """Median views of this time of day in the four weeks before; None with fewer than seven known hours."""
    starts = start - DAY * np.arange(COMPARED_DAYS, 0, -1)
    edges = np.stack([starts, starts + HOUR], axis=1).ravel()
    hours = views_gained(history, edges, FRESH_S)[::2]
    known = hours[~np.isnan(hours)]
    return float(np.median(known)) if len(known) >= _LEAST_COMPARED else None


def hour_causes(history: ChannelHistory, hour: OddHour, expected: float) -> tuple[Cause, ...]:
    """Of more views than usual, the part of the post that brought most; unexplained last; they sum to the change."""
    total = hour.observed - expected
    by_post = gains(history, np.array([hour.start, hour.start + HOUR]), FRESH_S).by_post(history.n)
    if total <= 0 or not by_post.any():
        return (Cause(UNEXPLAINED, total, "fewer views than at this time of day; no post stands out by what it lacks"),)
    top = int(np.argmax(by_post))
    share = min(float(by_post[top]), total)
    age = (hour.start - int(history.published_at[top])) / HOUR
    told = f"{max(age, 0.0):.0f} h old, {by_post[top]:,.0f} of the hour's {hour.observed:,.0f} views"
    return (
        Cause(f"post {int(history.post_ids[top])}", share, told),
        Cause(UNEXPLAINED, total - share, "beyond this post"),
    )
