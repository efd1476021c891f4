"""What ad-marked posts reach at 12, 24 and 48 hours, beside the posts around them, and what that costs at a price."""

from __future__ import annotations

import numpy as np

from actors.analytics_fusion import source
from actors.analytics_fusion.mix import mix
from core import metrics
from core.accrual import album_representatives
from core.clock import HOUR
from core.errors import InvalidInput, NoData
from core.history import ATTRIBUTES, ChannelHistory, Floats, views_at
from core.intervals import estimate, lacking
from core.schemas.channel_studies import AdPost, AdReport, Estimate

AGES_H = (12, 24, 48)
NEIGHBOURS = 20  # posts without the mark that a usual is the median of
LEAST = 3
_SEED = 20_014


def efficiency(history: ChannelHistory, since: int, until: int, price: float | None = None) -> AdReport:
    """Ad-marked posts of [since, until); price: of one post, in any currency.

    NoData where the source does not say which posts are ads, or has no views over time; InvalidInput for a price
    that is not positive.
    """
    if price is not None and not 0 < price < 1e12:
        raise InvalidInput(f"price {price}: more than 0", field="price")
    marks = history.attributes[:, ATTRIBUTES.index("is_ad")]
    if not history.n or np.isnan(marks).all():
        raise NoData(f"which posts of {history.channel.name!r} are ads is not known from this source")
    why = source.no_views(history)
    if why is not None:
        raise NoData(why)
    counted = album_representatives(history)
    reach = {age: views_at(history, age * HOUR).values for age in AGES_H}
    ads = np.flatnonzero(counted & (marks == 1) & (history.published_at >= since) & (history.published_at < until))
    ratio = reach[24][ads] / _usual(reach[24], ads, np.flatnonzero(counted & (marks == 0)))
    rng = np.random.default_rng(_SEED)
    means = {age: estimate(reach[age][ads], metrics.METRICS[f"views_{age}h"].minimum, "ads", rng) for age in AGES_H}
    effects = {(row.dimension, row.value): row.effect for row in mix(history, since, until).rows}
    against = effects.get(("ad", "yes"), lacking(len(ads), "no ad-marked post in the period"))
    posts = tuple(
        AdPost(
            post_id=int(history.post_ids[i]),
            published_at=int(history.published_at[i]),
            reach_12h=_number(reach[12][i]),
            reach_24h=_number(reach[24][i]),
            reach_48h=_number(reach[48][i]),
            against_usual=_number(share),
            cpm_24h=_cpm(price, reach[24][i]),
            cpm_48h=_cpm(price, reach[48][i]),
        )
        for i, share in zip(ads.tolist(), ratio.tolist(), strict=True)
    )
    return AdReport(
        channel=history.channel.name,
        since=since,
        until=until,
        reach_12h=means[12],
        reach_24h=means[24],
        reach_48h=means[48],
        against_others=against,
        cpm_24h=_costs(price, means[24], 1000),
        cpm_48h=_costs(price, means[48], 1000),
        cpv_24h=_costs(price, means[24], 1),
        posts=posts,
        notes=(
            "an ad is a post that carries the mark its source demands: unmarked ads count as other posts",
            "price per new subscriber and clicks are not offered: the data do not say who came from where",
        ),
    )


def _usual(
    views: Floats, ads: np.ndarray[tuple[int], np.dtype[np.int64]], others: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> Floats:
    """The median of the nearest posts without the mark, half before and half after; NaN without three."""
    others = others[~np.isnan(views[others])]
    result = np.full(len(ads), np.nan)
    for k, place in enumerate(np.searchsorted(others, ads).tolist()):
        near = others[max(0, place - NEIGHBOURS // 2) : place + NEIGHBOURS // 2]
        if len(near) >= LEAST and (usual := float(np.median(views[near]))) > 0:
            result[k] = usual
    return result


def _costs(price: float | None, reach: Estimate, views: int) -> Estimate:
    """What so many views cost at the mean reach; the interval is that of the reach, turned over."""
    if price is None:
        return lacking(reach.n, "no price given")
    if reach.value is None or reach.low is None or reach.high is None or reach.low <= 0:
        return lacking(reach.n, reach.missing or "the reach cannot be told from 0")
    cost = [metrics.cost_per_mille(price, at) * views / 1000 for at in (reach.value, reach.high, reach.low)]
    return Estimate(cost[0], cost[1], cost[2], reach.n)


def _cpm(price: float | None, views: float) -> float | None:
    return None if price is None else _number(metrics.cost_per_mille(price, views))


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
