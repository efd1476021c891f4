"""A rule on stored history before it is let loose: how often it would have raised an alert, and when."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import numpy as np

from actors.alerts_fusion import machine, wording
from actors.alerts_fusion.lifecycle import POST_OPEN_S
from actors.alerts_fusion.machine import RuleState
from actors.alerts_fusion.measure import measured, verdict
from actors.alerts_fusion.posts import Seen
from actors.alerts_fusion.samples import Samples
from core.buckets import day_start
from core.clock import DAY, HOUR
from core.history import ChannelHistory, Ints
from core.schemas.alerts import ChannelBacktest, PastAlert, RuleSpec
from core.schemas.analytics import AnomalyFinding

#: alerts about posts that a backtest spells out in a channel
MOST_LISTED = 100


def by_days(spec: RuleSpec, samples: Samples, channel: str, timezone: str, first: int, last: int) -> ChannelBacktest:
    """Each day of a channel through the same judgement and the same machine as in service.

    Days were settled when they were judged; later corrections of stored readings are in.
    """
    state, alerts = RuleState(), list[PastAlert]()
    known = unknown = 0
    for day in range(first, last + 1):
        found = measured(spec, samples, day)
        judged = verdict(spec, found)
        known, unknown = known + (judged != "unknown"), unknown + (judged == "unknown")
        since = day_start(timezone, date.fromordinal(day - spec.window_days + 1))
        until = day_start(timezone, date.fromordinal(day + 1))
        step = machine.step(state, spec, judged, until)
        if step == "raise":
            reason = wording.value_reason(spec, samples.metric.unit, found, since, until, timezone)
            alerts.append(PastAlert(until, None, found.value, found.reference, reason))
        elif step == "resolve":
            alerts[-1] = replace(alerts[-1], resolved_at=until)
    return ChannelBacktest(
        channel=channel,
        since=day_start(timezone, date.fromordinal(first)),
        until=day_start(timezone, date.fromordinal(last + 1)),
        judged=known,
        unknown=unknown,
        alerts=tuple(alerts),
        per_30_days=None if known == 0 else len(alerts) * 30 / known,
    )


def of_data_age(spec: RuleSpec, history: ChannelHistory, since: int, until: int) -> ChannelBacktest:
    """Spans between readings and posts that are longer than the threshold in hours."""
    channel, timezone = history.channel.name, history.channel.timezone
    times = _arrivals(history)
    times = times[times <= until]
    if len(times) == 0 or spec.threshold is None:
        return ChannelBacktest(channel, None, None, 0, 0, missing="no data stored")
    limit, alerts, rest_until = int(spec.threshold * HOUR), list[PastAlert](), -math.inf
    ends = np.append(times[1:], until)
    for start, end in zip(times.tolist(), ends.tolist(), strict=True):
        at = max(start + limit, since)
        if end > at and end - start > limit and at >= rest_until:
            reason = wording.age_reason(spec, (at - start) / HOUR, start, timezone)
            over = end if end in times else None
            alerts.append(PastAlert(at, over, (at - start) / HOUR, None, reason))
            rest_until = end + spec.cool_down_s
    begun = max(since, int(times[0]))
    days = max(0, -(-(until - begun) // DAY))
    per_30 = len(alerts) * 30 / days if days else None
    return ChannelBacktest(channel, begun, until, days, 0, tuple(alerts), per_30)


def of_posts(seen: Sequence[Seen], channel: str, since: int, until: int, judged: int, unknown: int) -> ChannelBacktest:
    """Posts that a rule would have told, as if each had arrived when it was published; the newest are listed."""
    days = max(1, (until - since) // DAY)
    ordered = sorted(seen, key=lambda one: (one.at, one.post_id))
    alerts = [PastAlert(o.at, o.at + POST_OPEN_S, o.value, o.reference, o.reason) for o in ordered[-MOST_LISTED:]]
    return ChannelBacktest(
        channel,
        since,
        until,
        judged,
        unknown,
        tuple(alerts),
        None if judged == 0 else len(ordered) * 30 / days,
        unlisted=len(ordered) - len(alerts),
    )


def of_findings(
    spec: RuleSpec, findings: Sequence[AnomalyFinding], channel: str, timezone: str, since: int, until: int
) -> ChannelBacktest:
    """Stored findings that the rule would have told, those of one time as one alert."""
    alerts: list[PastAlert] = []
    rest_until: float = -math.inf
    for f in sorted(findings, key=lambda f: (f.onset, f.id)):
        if not since <= f.onset < until or f.onset < rest_until:
            continue
        reason = wording.finding_reason((f,), timezone)
        alerts.append(PastAlert(f.onset, f.ended, f.observed, f.expected, reason))
        rest_until = math.inf if f.ended is None else f.ended + spec.cool_down_s
    days = max(1, (until - since) // DAY)
    return ChannelBacktest(channel, since, until, days, 0, tuple(alerts), len(alerts) * 30 / days)


def _arrivals(history: ChannelHistory) -> Ints:
    return np.unique(np.concatenate([history.published_at, history.reading_ts, history.subscriber_ts]))
