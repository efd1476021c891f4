"""A channel's figures over a period beside the equal period before it; a figure that cannot be given says why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from actors.analytics_fusion import source
from actors.analytics_fusion.source import Counts
from core import metrics
from core.accrual import album_representatives
from core.clock import DAY
from core.history import ChannelHistory, Floats, Ints, subscribers_at, target_values, views_at
from core.intervals import (
    Statistic,
    affordable,
    change,
    drawn_pair,
    interval,
    of_change,
    resampled,
)
from core.schemas.analytics import Figure, Overview
from core.store.channels import Mention

_SEED = 20_011  # any fixed number: the same data gives the same intervals


@dataclass(frozen=True, slots=True)
class Period:
    """Two equal numbers of calendar days, as edges in epoch seconds: days + 1 each, meeting in the middle."""

    before: Ints
    now: Ints


@dataclass(frozen=True, slots=True)
class _Samples:
    """A metric's values in both periods, NaN where not known, and why there are none at all."""

    now: Floats
    before: Floats
    at: Ints  # when the values of `now` began
    missing: str | None = None


def overview(history: ChannelHistory, counts: Counts, mentions: Sequence[Mention], period: Period) -> Overview:
    """All figures; each has its own n, and where both periods allow it a 95 % interval of the change."""
    rng = np.random.default_rng(_SEED)
    posts = _posts(history, counts, period)
    figures = [_figure(name, _sample(rows, period), statistic, rng) for name, statistic, rows in posts]
    figures += [_figure(name, samples, "mean", rng) for name, samples in _days(history, period)]
    figures += [_subscribers(history, period), _consistency(posts[0][2], period)]
    figures += _citations(history, mentions, period)
    order = list(metrics.METRICS)
    figures.sort(key=lambda figure: order.index(figure.metric))
    return Overview(
        channel=history.channel.name,
        since=int(period.now[0]),
        until=int(period.now[-1]),
        figures=tuple(figures),
        notes=_notes(history, counts),
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """Values of the posts of both periods, by time of publication."""

    published_at: Ints
    values: Floats
    missing: str | None


def _posts(history: ChannelHistory, counts: Counts, period: Period) -> tuple[tuple[str, Statistic, _Rows], ...]:
    """Post metrics; views_24h first."""
    first, last = np.searchsorted(history.published_at, [period.before[0], period.now[-1]])
    no_engagement = None
    if np.isnan(counts.engagement).all():
        no_engagement = "reactions, forwards and comments unavailable from this source"
    no_forwards, no_reactions, no_comments = (
        why if np.isnan(values).all() else None
        for values, why in (
            (counts.forwards, source.NO_FORWARDS),
            (counts.reactions, source.NO_REACTIONS),
            (counts.comments, source.NO_COMMENTS),
        )
    )
    part, counts = source.cut(history, int(first), int(last)), counts.cut(int(first), int(last))
    counted = album_representatives(part)
    final = history.single_reading
    views = (target_values(part, "views_final") if final else views_at(part, DAY)).values
    subscribers = metrics.subscribers_at_publication(part)
    no_views = source.no_views(history)
    no_rate = None if final else no_views
    no_base = source.NO_SUBSCRIBERS if len(history.subscribers) == 0 else None
    nothing = np.full(part.n, np.nan)

    def rows(values: Floats, *reasons: str | None) -> _Rows:
        kept = np.where(counted, values, np.nan)
        return _Rows(part.published_at, kept, next((r for r in reasons if r), None))

    not_final = "read more than once: views at 24 h are given instead"
    return (
        ("views_24h", "mean", rows(nothing if final else views, no_views)),
        ("views_final", "mean", rows(views if final else nothing, no_rate, None if final else not_final)),
        ("view_half_life", "median", rows(nothing if final else metrics.view_half_life(part), no_views)),
        ("err", "mean", rows(metrics.ratio(counts.engagement, views), no_rate, no_engagement)),
        ("er_subscribers", "mean", rows(metrics.ratio(counts.engagement, subscribers), no_base, no_engagement)),
        ("vtr", "mean", rows(metrics.ratio(views, subscribers), no_rate, no_base)),
        ("virality", "mean", rows(metrics.ratio(counts.forwards, counts.views), no_forwards)),
        ("reaction_rate", "mean", rows(metrics.ratio(counts.reactions, counts.views), no_reactions)),
        ("comment_rate", "mean", rows(metrics.ratio(counts.comments, counts.views), no_comments)),
    )


def _days(history: ChannelHistory, period: Period) -> tuple[tuple[str, _Samples], ...]:
    no_base = source.NO_SUBSCRIBERS if len(history.subscribers) == 0 else None

    def both(values: Callable[[ChannelHistory, Ints], Floats], missing: str | None) -> _Samples:
        # One pass over the readings for both periods.
        joined = values(history, np.concatenate([period.before, period.now[1:]]))
        middle = len(period.before) - 1
        return _Samples(joined[middle:], joined[:middle], period.now[:-1], missing)

    return (
        ("views_gained", both(metrics.views_gained, source.no_views(history))),
        ("net_growth", both(metrics.net_growth, no_base)),
        ("growth_rate", both(metrics.growth_rate, no_base)),
        ("posting_rate", both(metrics.posts_published, None)),
    )


def _sample(rows: _Rows, period: Period) -> _Samples:
    middle = np.searchsorted(rows.published_at, period.now[0])
    return _Samples(rows.values[middle:], rows.values[:middle], rows.published_at[middle:], rows.missing)


def _figure(name: str, samples: _Samples, statistic: Statistic, rng: Generator) -> Figure:
    metric = metrics.METRICS[name]
    now, before = (values[~np.isnan(values)] for values in (samples.now, samples.before))
    kind = "posts" if metric.scope == "post" else "days"
    empty = Figure(name, metric.unit, None, len(now), previous_n=len(before))
    if samples.missing is not None:
        return replace(empty, missing=samples.missing)
    if len(now) < metric.minimum:
        return replace(empty, missing=f"needs {metric.minimum} {kind} in the period, has {len(now)}")
    of = np.median if statistic == "median" else np.mean
    value, at = float(of(now)), samples.at[~np.isnan(samples.now)]
    found = replace(empty, value=value, first=int(at[0]), last=int(at[-1]))
    if len(before) < metric.minimum:
        low, high = interval(resampled(now, statistic, rng, affordable(len(now), statistic)))
        return replace(found, low=low, high=high)
    previous = float(of(before))
    drawn_now, drawn_before = drawn_pair(now, before, statistic, rng)
    low, high = interval(drawn_now)
    change_low, change_high = of_change(drawn_now, drawn_before) or (None, None)
    return replace(
        found,
        low=low,
        high=high,
        previous=previous,
        change=change(value, previous),
        change_low=change_low,
        change_high=change_high,
    )


def _subscribers(history: ChannelHistory, period: Period) -> Figure:
    ts = history.subscriber_ts
    middle, end = np.searchsorted(ts, [period.now[0], period.now[-1]], side="right")
    start = int(np.searchsorted(ts, period.before[0], side="right"))
    value, previous = (subscribers_at(history, int(edge)) for edge in (period.now[-1], period.now[0]))
    missing = None
    if len(ts) == 0:
        missing = source.NO_SUBSCRIBERS
    elif value is None:
        missing = "no reading of the subscriber count before the end of the period"
    moved = change(value, previous) if value is not None and previous is not None else None
    unit = metrics.METRICS["subscribers"].unit
    n, previous_n = int(end - middle), int(middle - start)
    first, last = (int(ts[middle]), int(ts[end - 1])) if n else (None, None)
    return Figure("subscribers", unit, value, n, previous, previous_n, moved, missing=missing, first=first, last=last)


def _consistency(rows: _Rows, period: Period) -> Figure:
    samples, metric = _sample(rows, period), metrics.METRICS["consistency"]
    now, before = (values[~np.isnan(values)] for values in (samples.now, samples.before))
    figure = Figure("consistency", metric.unit, None, len(now), previous_n=len(before), missing=rows.missing)
    if rows.missing is None and len(now) < metric.minimum:
        figure = replace(figure, missing=f"needs {metric.minimum} posts in the period, has {len(now)}")
    if figure.missing is not None:
        return figure
    value = metrics.consistency(now)
    previous = metrics.consistency(before) if len(before) >= metric.minimum else None
    at = samples.at[~np.isnan(samples.now)]
    moved = change(value, previous) if previous is not None else None
    return replace(figure, value=value, previous=previous, change=moved, first=int(at[0]), last=int(at[-1]))


def _citations(history: ChannelHistory, mentions: Sequence[Mention], period: Period) -> list[Figure]:
    name = history.channel.name
    incoming = {(m.source, m.post_id): m.published_at for m in mentions if m.target == name and m.source != name}
    outgoing = {m.post_id: m.published_at for m in mentions if m.source == name and m.target != name}
    found = []
    for metric, times in (("citation_in", incoming), ("citation_out", outgoing)):
        at = np.array(sorted(times.values()), dtype=np.int64)
        start, middle, end = np.searchsorted(at, [period.before[0], period.now[0], period.now[-1]]).tolist()
        now, before = end - middle, middle - start
        moved = change(now, before)
        figure = Figure(metric, metrics.METRICS[metric].unit, float(now), now, float(before), before, moved)
        found.append(replace(figure, first=int(at[middle]), last=int(at[end - 1])) if now else figure)
    return found


def _notes(history: ChannelHistory, counts: Counts) -> tuple[str, ...]:
    notes = list(source.missing(history, counts))
    if history.single_reading:
        notes.append("rates are of the final views: this source holds one reading of each post")
    if (history.album_ids >= 0).any():
        notes.append("an album counts once, by its most viewed item")
    return tuple(notes)
