"""The values of a metric that windows of days are made of, as far as stored data knows them; NaN and holes stay holes.

A post counts on the day on which it reaches the age that its metric needs: 24 h for views, 48 h for engagement (counts
that were read by then, so that posts of different ages compare), 7 days for the half-life.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from core import metrics
from core.accrual import album_representatives, covered
from core.clock import DAY, HOUR
from core.errors import InvalidInput, NoData
from core.history import ChannelHistory, Floats, Ints, target_values, views_at
from core.metrics import Metric
from core.pace import history_needed_s, views_pace
from core.schemas.forecasts import ForecastMetric, LedgerEntry
from core.settled import FRESH_S, day_edges
from core.store.channels import Mention, PostCounts

DATA_AGE = "data_age"  # judged by the clock, not by days
#: by that age the counts of a post's engagement are taken
ENGAGED_S = 48 * HOUR
ENGAGEMENT = ("err", "er_subscribers", "virality")
_DAILY = ("views_gained", "views_pace", "net_growth", "growth_rate", "posting_rate", "subscribers")
_VIEWS = ("views_gained", "views_pace", "views_24h", "view_half_life", "vtr", "consistency", "err", "virality")
_SUBSCRIBERS = ("subscribers", "net_growth", "growth_rate", "vtr", "er_subscribers")


@dataclass(frozen=True, slots=True)
class Source:
    """What is read of a channel: as much as the metrics that are asked for need."""

    history: ChannelHistory
    engaged: PostCounts | None = None  # counts at ENGAGED_S
    mentions: Sequence[Mention] = ()


@dataclass(frozen=True, slots=True)
class Samples:
    """Values of a metric in order of their day (an ordinal); several a day for metrics of posts."""

    metric: Metric
    day: Ints
    value: Floats
    combine: Callable[[Floats], float]
    per_day: bool  # one value a day
    foretold: Mapping[int, LedgerEntry] = field(default_factory=dict)  # by day, for rules on forecasts

    def window(self, last: int, days: int) -> tuple[float, int]:
        """The figure of the days that end with `last`, and the values that it rests on; NaN: too few of them.

        Too few: under half of the days, or fewer posts than the metric's minimum.
        """
        begin, end = np.searchsorted(self.day, [last - days + 1, last + 1])
        n = int(end - begin)
        least = -(-days // 2) if self.per_day else self.metric.minimum
        if n < max(1, least):
            return float("nan"), n
        return self.combine(self.value[begin:end]), n

    @property
    def span(self) -> int:
        """Days from the first value to the last one."""
        return int(self.day[-1] - self.day[0]) + 1 if len(self.day) else 0


def needed_before_s(metric: str) -> int:
    """How far before a day its values need posts and readings."""
    if metric == "views_pace":
        return history_needed_s()
    return FRESH_S + 2 * DAY


def samples(source: Source, metric: str, first: int, last: int) -> Samples:
    """Values on the days from `first` to `last` (ordinals in the channel's zone). metric: a name of the dictionary.

    NoData where the channel's source cannot hold it.
    """
    definition, history = metrics.metric(metric), source.history
    _check(history, definition.name)
    edges = day_edges(history.channel.timezone, first, last)
    if definition.name in ("citation_in", "citation_out"):
        days, values = _citations(source, definition.name, edges)
        return Samples(definition, days + first, values, _sum, True)
    if definition.name in _DAILY:
        values = _by_day(history, definition.name, edges)
        known = np.flatnonzero(~np.isnan(values))
        daily: Callable[[Floats], float] = _last if definition.name == "subscribers" else _mean
        return Samples(definition, known + first, values[known], daily, True)
    values, age_s = _by_post(source, definition.name)
    ripe = history.published_at + age_s
    use = ~np.isnan(values) & album_representatives(history) & (ripe >= edges[0]) & (ripe < edges[-1])
    day = np.searchsorted(edges, ripe[use], side="right") - 1
    order = np.argsort(day, kind="stable")
    combine = {"view_half_life": _median, "consistency": metrics.consistency}.get(definition.name, _mean)
    return Samples(definition, day[order] + first, values[use][order], combine, False)


def forecast_days(
    history: ChannelHistory, given: Sequence[LedgerEntry], metric: ForecastMetric, first: int, last: int
) -> Samples:
    """The days' values as forecasts are held to them, beside what was said of each; NoData.

    history: with every post, for views. given: one point a day (`ForecastStore.given`).
    """
    _check(history, metric)
    edges = day_edges(history.channel.timezone, first, last)
    values = metrics.forecast_values(history, metric, edges)
    known = np.flatnonzero(~np.isnan(values))
    said = {entry.point.at: entry for entry in given}
    foretold = {day: said[end] for day, end in enumerate(edges[1:].tolist(), first) if end in said}
    return Samples(metrics.metric(metric), known + first, values[known], _last, True, foretold)


def _check(history: ChannelHistory, metric: str) -> None:
    reason = unavailable(history, metric)
    if reason is not None:
        raise NoData(f"{metric} of {history.channel.name}: {reason}", metric=metric)


def unavailable(history: ChannelHistory, metric: str) -> str | None:
    """Why a metric can never be known of this channel as it is stored; None: it can."""
    if metric in _VIEWS:
        if len(history.reading_ts) == 0:
            return "views unavailable from this source"
        if not history.reading_exact_time.any():
            return "reading times unavailable from this source: views at an age cannot be known"
        if history.single_reading:
            return "one reading a post: views over time unavailable from this source"
    if metric == "views_final" and not history.single_reading:
        return "views are read more than once: watch views_24h"
    if metric in _SUBSCRIBERS and len(history.subscribers) == 0:
        return "subscribers unavailable from this source"
    return "no posts stored" if metric in ("posting_rate", "er_subscribers") and history.n == 0 else None


def _by_day(history: ChannelHistory, metric: str, edges: Ints) -> Floats:
    if metric == "views_pace":
        # Its expectation looks back: the days before are made as well, and left out.
        back = np.arange(-(history_needed_s() // DAY), 0, dtype=np.int64) * DAY + edges[0]
        return views_pace(history, np.concatenate([back, edges]), wanted=len(back)).values[len(back) :]
    if metric == "views_gained":
        return metrics.views_gained(history, edges, FRESH_S)
    if metric == "subscribers":
        return metrics.subscribers_on(history, edges[1:])
    if metric == "net_growth":
        return metrics.net_growth(history, edges)
    if metric == "growth_rate":
        return metrics.growth_rate(history, edges)
    posts = metrics.posts_published(history, edges)
    if len(history.reading_ts) and not history.single_reading:
        return np.where(covered(history, edges), posts, np.nan)  # nobody looked: no posts is not known either
    return np.where(edges[:-1] <= history.published_at[-1], posts, np.nan)


def _by_post(source: Source, metric: str) -> tuple[Floats, int]:
    """A value of each post, and the age at which it is taken."""
    history = source.history
    if metric == "view_half_life":
        return metrics.view_half_life(history), 7 * DAY
    if metric == "views_final":
        return target_values(history, "views_final").values, DAY
    day = views_at(history, DAY).values
    if metric in ("views_24h", "consistency"):
        return day, DAY
    subscribers = metrics.subscribers_at_publication(history)
    if metric == "vtr":
        return metrics.ratio(day, subscribers), DAY
    if metric not in ENGAGEMENT:
        raise InvalidInput(f"no rule can watch {metric!r} by days", field="metric")
    counts = _aligned(source)
    engaged = metrics.engagement(counts["reactions"], counts["forwards"], counts["replies"])
    if metric == "virality":
        return metrics.ratio(counts["forwards"], counts["views"]), ENGAGED_S
    return metrics.ratio(engaged, day if metric == "err" else subscribers), ENGAGED_S


def _aligned(source: Source) -> dict[str, Floats]:
    """Counts in the history's order of posts."""
    if source.engaged is None:
        raise InvalidInput("engagement needs the posts' counts", field="metric")
    counts, ids = source.engaged, source.history.post_ids
    order = np.argsort(counts.post_ids, kind="stable")
    at = np.minimum(np.searchsorted(counts.post_ids[order], ids), max(len(order) - 1, 0))
    hit = counts.post_ids[order][at] == ids if len(order) else np.zeros(len(ids), dtype=bool)

    def place(values: Floats) -> Floats:
        found = np.full(len(ids), np.nan)
        found[hit] = values[order][at[hit]]
        return found

    return {name: place(getattr(counts, name)) for name in ("views", "forwards", "replies", "reactions")}


def _citations(source: Source, metric: str, edges: Ints) -> tuple[Ints, Floats]:
    """Posts of others that name the channel, or its own that name others, on each day; every day is known."""
    name = source.history.channel.name
    inward = metric == "citation_in"
    posts = {
        (m.source, m.post_id): m.published_at
        for m in source.mentions
        if m.source != m.target and (m.target if inward else m.source) == name
    }
    times = np.array(sorted(posts.values()), dtype=np.int64)
    per_day = np.diff(np.searchsorted(times, edges)).astype(float)
    return np.arange(len(per_day), dtype=np.int64), per_day


def _mean(values: Floats) -> float:
    return float(values.mean())


def _median(values: Floats) -> float:
    return float(np.median(values))


def _sum(values: Floats) -> float:
    return float(values.sum())


def _last(values: Floats) -> float:
    return float(values[-1])
