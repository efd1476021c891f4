"""Causes of an episode in the growth of subscribers: mentions by others, own ad posts; the rest is unexplained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from actors.anomaly_analysis.analysis import UNEXPLAINED
from actors.anomaly_analysis.recommendations import MENTIONS, OWN_ADS
from core.buckets import shown
from core.clock import DAY, HOUR
from core.history import ATTRIBUTES, ChannelHistory, Floats
from core.metrics import subscribers_on
from core.schemas.analytics import Cause
from core.store.channels import Mention

EFFECT_S = DAY  # subscribers that come or go within this time are taken to follow from a mention or ad


def growth_causes(
    history: ChannelHistory, mentions: Sequence[Mention], start: int, stop: int, observed: float, expected: float
) -> tuple[Cause, ...]:
    """Split observed - expected subscribers of [start, stop) over what could have brought or driven them.

    The growth beyond the usual in the day after each mention of the channel (own ad post) goes to it; moments that
    follow both go to the mentions. Growth against the direction of the episode is not attributed.
    """
    total = observed - expected
    name = history.channel.name
    mentioned = [m.published_at for m in mentions if m.target == name and start - EFFECT_S < m.published_at < stop]
    ads = _ad_posts(history, start, stop)
    usual_per_s = expected / (stop - start)
    by_mentions = _excess(history, _spans(mentioned, start, stop), usual_per_s)
    both = _excess(history, _spans([*mentioned, *(ads or [])], start, stop), usual_per_s)
    parts = [(MENTIONS, by_mentions, len(mentioned), "mentions"), (OWN_ADS, both - by_mentions, len(ads or []), "ads")]
    causes = [
        Cause(factor, share, f"{n} {noun} in the window; what came or left within a day of them")
        for factor, share, n, noun in parts
        if n and share * total > 0 and abs(share) <= abs(total)
    ]
    rest = total - sum(cause.share for cause in causes)
    return (*causes, Cause(UNEXPLAINED, rest, _told(len(mentioned), ads, bool(causes))))


def steepest(history: ChannelHistory, start: int, stop: int) -> str | None:
    """Where in [start, stop) most of the change happened, for a person; None with fewer than three readings there."""
    inside = (history.subscriber_ts >= start) & (history.subscriber_ts <= stop)
    ts, counts = history.subscriber_ts[inside], history.subscribers[inside]
    if len(ts) < 3:
        return None
    steps = np.diff(counts)
    top = int(np.argmax(np.abs(steps)))
    zone = history.channel.timezone
    span = f"{shown(int(ts[top]), zone)} and {shown(int(ts[top + 1]), zone)}"
    return f"steepest between {span}: {steps[top]:+,.0f} subscribers in {(ts[top + 1] - ts[top]) / HOUR:.1f} h"


def _ad_posts(history: ChannelHistory, start: int, stop: int) -> list[int] | None:
    """Times of own ad posts that could matter; None: the source does not mark any post as ad or not."""
    marks: Floats = history.attributes[:, ATTRIBUTES.index("is_ad")]
    near = (history.published_at > start - EFFECT_S) & (history.published_at < stop)
    if near.any() and np.isnan(marks[near]).all():
        return None
    return [int(t) for t in history.published_at[near & (marks == 1)]]


def _spans(moments: Sequence[int], start: int, stop: int) -> list[tuple[int, int]]:
    """Union of the effect times, inside [start, stop)."""
    spans: list[tuple[int, int]] = []
    for moment in sorted(moments):
        begin, end = max(moment, start), min(moment + EFFECT_S, stop)
        if spans and begin <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        elif begin < end:
            spans.append((begin, end))
    return spans


def _excess(history: ChannelHistory, spans: list[tuple[int, int]], usual_per_s: float) -> float:
    found = 0.0
    for begin, end in spans:
        change = float(np.diff(subscribers_on(history, np.array([begin, end])))[0])
        found += 0.0 if np.isnan(change) else change - usual_per_s * (end - begin)
    return found


def _told(mentions: int, ads: list[int] | None, partly: bool) -> str:
    marked = "ad posts are not marked by this source" if ads is None else f"{len(ads)} own ad posts"
    facts = f"{mentions} mentions by stored channels, {marked}"
    if partly:
        return f"beyond what mentions and ads explain ({facts})"
    return f"no mention or ad explains it ({facts} in the window and the day before)"
