"""The metric dictionary: the only place where a metric is defined, and the arithmetic behind each name.

Fractions are fractions (0..1); what cannot be known is NaN, never 0. `docs/metrics.md` is written from METRICS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.accrual import album_representatives, covered, gains, growth_scale, segments
from core.clock import DAY, HOUR
from core.errors import NotFound
from core.history import ChannelHistory, Floats, Ints, views_at
from core.schemas.forecasts import ForecastMetric

Scope = Literal["post", "channel-day", "channel"]
Direction = Literal["higher", "lower", "neutral"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A name and what stands behind it."""

    name: str
    formula: str
    unit: str
    better: Direction
    scope: Scope
    minimum: int  # posts, days or readings below which no figure is given
    aliases: tuple[str, ...] = ()


_POSTS = "mean over posts"
_VIEWS_24H = "views at the age of 24 h"
_ENGAGED = "(reactions + forwards + comments)"

_DEFINITIONS = (
    Metric(
        "views_24h",
        f"{_VIEWS_24H}, interpolated between the readings around it; {_POSTS}",
        "views",
        "higher",
        "post",
        3,
        ("avg_post_reach_24h", "reach_24h"),
    ),
    Metric("views_12h", f"views at the age of 12 h; {_POSTS}", "views", "higher", "post", 3, ("reach_12h",)),
    Metric("views_48h", f"views at the age of 48 h; {_POSTS}", "views", "higher", "post", 3, ("reach_48h",)),
    Metric(
        "overperformance",
        "views at an age / the median of the channel's posts at that age",
        "ratio",
        "higher",
        "post",
        1,
    ),
    Metric(
        "early_share",
        f"views at the age of 4 h / {_VIEWS_24H}; median over posts",
        "fraction",
        "neutral",
        "post",
        10,
    ),
    Metric(
        "night_share",
        "views gained from 1 to 6 h of the channel's zone / views gained in the day, by posts up to 48 h old; "
        "mean over the days that readings cover",
        "fraction",
        "neutral",
        "channel-day",
        7,
    ),
    Metric(
        "views_final",
        f"the single reading of a post, taken at 24 h of age or later (sources read once); {_POSTS}",
        "views",
        "higher",
        "post",
        3,
        ("avg_post_reach",),
    ),
    Metric(
        "views_gained",
        "views added over all posts, credited to when they happened; mean over the days that readings cover",
        "views/day",
        "higher",
        "channel-day",
        3,
        ("daily_reach",),
    ),
    Metric(
        "views_pace",
        "views that posts gained in a day / what posts of their age usually gain (core/pace.py); mean over days",
        "ratio",
        "higher",
        "channel-day",
        1,
    ),
    Metric(
        "view_half_life",
        "age at which a post has half of the views that it has at 7 days; median over posts",
        "hours",
        "neutral",
        "post",
        3,
    ),
    Metric("err", f"{_ENGAGED} / {_VIEWS_24H}; {_POSTS}", "fraction", "higher", "post", 3, ("er_by_views",)),
    Metric(
        "er_subscribers",
        f"{_ENGAGED} / subscribers at publication; {_POSTS}",
        "fraction",
        "higher",
        "post",
        3,
        ("er_post",),
    ),
    Metric(
        "vtr",
        f"{_VIEWS_24H} / subscribers at publication; {_POSTS}",
        "fraction",
        "higher",
        "post",
        3,
        ("view_rate", "err24"),
    ),
    Metric("virality", f"forwards / views; {_POSTS}", "fraction", "higher", "post", 3, ("forward_rate",)),
    Metric("reaction_rate", f"reactions / views; {_POSTS}", "fraction", "higher", "post", 3),
    Metric("comment_rate", f"comments / views; {_POSTS}", "fraction", "higher", "post", 3),
    Metric(
        "subscribers",
        "the last reading of the subscriber count",
        "subscribers",
        "higher",
        "channel",
        1,
        ("participants_count",),
    ),
    Metric(
        "net_growth",
        "subscribers at the end of a day - at its start; mean over days",
        "subscribers/day",
        "higher",
        "channel-day",
        3,
    ),
    Metric(
        "growth_rate",
        "net growth of a day / subscribers at its start; mean over days",
        "1/day",
        "higher",
        "channel-day",
        3,
    ),
    Metric(
        "posting_rate",
        "posts per day of the channel's own time zone, an album counted once",
        "posts/day",
        "neutral",
        "channel-day",
        1,
        ("posts", "posting_frequency"),
    ),
    Metric(
        "consistency",
        f"1 - median absolute deviation / median of {_VIEWS_24H}, at least 0",
        "fraction",
        "higher",
        "channel",
        5,
    ),
    Metric(
        "citation_in",
        "posts of other stored channels that name this one",
        "count",
        "higher",
        "channel",
        1,
        ("mentions_count",),
    ),
    Metric("citation_out", "posts of this channel that name others", "count", "neutral", "channel", 1),
    Metric(
        "mention_lift",
        "subscribers 24 h after a mention - those at it, less the median daily change of the 14 days before; "
        "median over a source's mentions of the channel",
        "subscribers/24 h",
        "higher",
        "channel",
        1,
    ),
    Metric(
        "influence",
        "PageRank (damping .85) in the graph of mentions x number of channels in it: 1 is the average channel",
        "ratio",
        "higher",
        "channel",
        1,
        ("citation_index",),
    ),
    Metric("data_age", "time since the newest reading or post arrived", "hours", "lower", "channel", 1),
    Metric(
        "share_of_voice",
        "a channel's part of what a set of channels did in a period: of its posts, of views gained, of mentions",
        "fraction",
        "higher",
        "channel",
        2,
    ),
    Metric("cpm", "price of a post / its views at an age x 1000", "price/1000 views", "lower", "post", 1),
    Metric("cpv", "price of a post / its views at an age", "price/view", "lower", "post", 1),
)

METRICS: dict[str, Metric] = {definition.name: definition for definition in _DEFINITIONS}


def metric(name: str) -> Metric:
    """The definition behind a name or alias; NotFound."""
    found = METRICS.get(name) or next((m for m in METRICS.values() if name in m.aliases), None)
    if found is None:
        raise NotFound(f"no metric {name!r}: the dictionary has {', '.join(METRICS)}", metric=name)
    return found


# ---------------------------------------------------------------- posts: arrays of n, in the history's order


def subscribers_at_publication(history: ChannelHistory) -> Floats:
    """The last subscriber reading at or before each post; NaN before the first one."""
    at = np.searchsorted(history.subscriber_ts, history.published_at, side="right") - 1
    if len(history.subscribers) == 0:
        return np.full(history.n, np.nan)
    return np.where(at >= 0, history.subscribers[np.maximum(at, 0)], np.nan)


def engagement(reactions: Floats, forwards: Floats, comments: Floats) -> Floats:
    """Reactions + forwards + comments of what the source offers; NaN for a post of which it offers nothing."""
    parts = np.stack([reactions, forwards, comments])
    return np.where(np.isnan(parts).all(axis=0), np.nan, np.nansum(parts, axis=0))


def ratio(part: Floats, whole: Floats) -> Floats:
    """part / whole; NaN where the whole is not positive or not known (err, er_subscribers, vtr, virality)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def view_half_life(history: ChannelHistory) -> Floats:
    """Age in hours at which each post had half of its views at 7 days; NaN where either is not known.

    Between readings views grow as in `core.accrual`; half reached before a late first reading cannot be dated.
    """
    half = views_at(history, 7 * DAY).values / 2
    rises = segments(history)
    crossing = np.flatnonzero((rises.before < half[rises.post]) & (half[rises.post] <= rises.after))
    posts, first = np.unique(rises.post[crossing], return_index=True)
    at = crossing[first]
    born = history.published_at[posts]
    low, high = growth_scale(rises.start[at] - born), growth_scale(rises.stop[at] - born)
    share = (half[posts] - rises.before[at]) / (rises.after[at] - rises.before[at])
    result = np.full(history.n, np.nan)
    result[posts] = np.expm1(low + share * (high - low))
    return result


def early_share(history: ChannelHistory) -> Floats:
    """Views at 4 h over views at 24 h of each post; NaN where either is not known."""
    return ratio(views_at(history, 4 * HOUR).values, views_at(history, DAY).values)


def cost_per_mille(price: float, views: float) -> float:
    """Price of a thousand views (cpm; a thousandth of it is cpv); NaN without views."""
    return 1000 * price / views if views > 0 else float("nan")


def consistency(views_24h: Floats) -> float:
    """1 - median absolute deviation / median, at least 0; NaN without values or with a median of 0."""
    values = views_24h[~np.isnan(views_24h)]
    middle = float(np.median(values)) if len(values) else 0.0
    if middle <= 0:
        return float("nan")
    return max(0.0, 1.0 - float(np.median(np.abs(values - middle))) / middle)


# ---------------------------------------------------------------- buckets: arrays of b for b + 1 edges


def views_gained(history: ChannelHistory, edges: Ints, max_age_s: float | None = None) -> Floats:
    """Views added in each bucket over all posts, when they happened; NaN where the readings do not cover it."""
    total = gains(history, edges, max_age_s).by_bucket(len(edges) - 1)
    return np.where(covered(history, edges), total, np.nan)


def night_share(history: ChannelHistory, edges: Ints) -> Floats:
    """Share of each day's views that fell between 1 and 6 h after its start; NaN for days that are not covered.

    edges: day boundaries in the channel's zone. Only what posts gained up to 48 h of age counts.
    """
    inner = np.stack([edges[:-1], edges[:-1] + HOUR, edges[:-1] + 6 * HOUR], axis=1).ravel()
    thirds = gains(history, np.append(inner, edges[-1]), 2 * DAY).by_bucket(3 * (len(edges) - 1)).reshape(-1, 3)
    return np.where(covered(history, edges), ratio(thirds[:, 1], thirds.sum(axis=1)), np.nan)


def subscribers_on(history: ChannelHistory, moments: Ints, widest_s: float = 1.5 * DAY) -> Floats:
    """Subscribers at moments, linear between the readings around them; NaN where those are further apart."""
    return counts_at(history.subscriber_ts, history.subscribers, moments, widest_s)


def counts_at(ts: Ints, counts: Floats, moments: Ints, widest_s: float = 1.5 * DAY) -> Floats:
    """Subscriber readings as `subscribers_on` reads them, without a history around them."""
    if len(ts) == 0:
        return np.full(len(moments), np.nan)
    right = np.searchsorted(ts, moments, side="left")
    inside = (right < len(ts)) & ((right > 0) | (ts[np.minimum(right, len(ts) - 1)] == moments))
    r = np.minimum(right, len(ts) - 1)
    left = np.maximum(r - 1, 0)
    near = (ts[r] - ts[left] <= widest_s) | (ts[r] == moments)
    values = np.interp(moments, ts, counts)
    return np.where(inside & near, values, np.nan)


def net_growth(history: ChannelHistory, edges: Ints) -> Floats:
    """Change of the subscriber count over each bucket; NaN where either end is not known."""
    return np.diff(subscribers_on(history, edges))


def growth_rate(history: ChannelHistory, edges: Ints) -> Floats:
    """Net growth over the subscribers at the bucket's start."""
    return ratio(net_growth(history, edges), subscribers_on(history, edges)[:-1])


def forecast_values(history: ChannelHistory, metric: ForecastMetric, edges: Ints) -> Floats:
    """What forecasts of a day are made from and held to: subscribers at its end, or views that all posts added.

    edges: day boundaries in the channel's zone. history: every post, because old ones are read too.
    """
    return subscribers_on(history, edges[1:]) if metric == "subscribers" else views_gained(history, edges)


def posts_published(history: ChannelHistory, edges: Ints) -> Floats:
    """Posts in each bucket, an album once; NaN for buckets that end before the first post."""
    times = history.published_at[album_representatives(history)]
    counts = np.histogram(times, bins=edges)[0].astype(float)
    # np.histogram closes the last bucket on the right; a post on that edge belongs to the next one.
    counts[-1] -= np.count_nonzero(times == edges[-1])
    if len(times):
        counts[edges[1:] <= times[0]] = np.nan
    return counts
