"""Judges the rules of one channel: what was raised, goes on, or ended since the last time. Reads, never writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from actors.alerts_fusion import machine, posts, wording
from actors.alerts_fusion.live import FRESH_S
from actors.alerts_fusion.machine import RuleState
from actors.alerts_fusion.measure import Measured, measured, verdict
from actors.alerts_fusion.reading import Reading, by_days, read
from actors.alerts_fusion.samples import DATA_AGE
from core import metrics
from core.buckets import day_start, local_date
from core.clock import DAY, HOUR
from core.errors import NoData
from core.schemas.alerts import ON_POSTS, SEVERITIES, RuleSpec
from core.schemas.analytics import AnomalyFinding
from core.schemas.channels import Channel, Event
from core.settled import last_settled
from core.store.alert_rules import StoredRule
from core.store.channels import ChannelStore

#: days that are judged after a while in which nobody was there; what is older is history, for a backtest
CATCH_UP_DAYS = 7
#: findings that began longer before their rule are not told
BEFORE_RULE_S = 3 * DAY
ANOMALY_DAYS = 14


@dataclass(frozen=True, slots=True)
class Happened:
    """One step of one rule in one channel."""

    rule: StoredRule
    step: machine.Step
    since: int
    until: int
    reason: str
    unit: str
    metric: str
    found: Measured
    findings: tuple[str, ...] = ()


def meant(rule: StoredRule, channel: Channel, lists: dict[str, tuple[str, ...]]) -> bool:
    """Whether a rule is for a channel. lists: channels of the watch lists, by name."""
    if rule.spec.kind in ON_POSTS:
        return posts.looks_at(rule.spec, channel.name, lists)
    return rule.channel_id in (None, channel.id)


def day_due(channel: Channel, states: Mapping[str, RuleState], rules: Sequence[StoredRule], now: int) -> bool:
    """Whether a day that some rule has not judged is over."""
    for rule in rules:
        last = states[rule.id].last_day
        if by_days(rule.spec) and (last is None or day_start(channel.timezone, date.fromordinal(last + 2)) <= now):
            return True
    return False


def judge_days(
    channels: ChannelStore,
    channel: Channel,
    rules: Sequence[StoredRule],
    states: Mapping[str, RuleState],
    now: int,
) -> list[Happened]:
    """Every settled day that a rule has not judged, the last 7 at most; a new rule begins with the last one."""
    daily = [rule for rule in rules if by_days(rule.spec)]
    first = local_date(channel.timezone, now).toordinal() - CATCH_UP_DAYS
    reading = read(channels, channel, [rule.spec for rule in daily], first, first + CATCH_UP_DAYS - 1, now)
    last = last_settled(reading.history, first, now)
    happened: list[Happened] = []
    for rule in daily:
        state = states[rule.id]
        begin = last if state.last_day is None else max(state.last_day + 1, first)
        if last < begin or last < first:
            continue
        happened += _days(channel, rule, state, reading, range(begin, last + 1))
        state.last_day = last
    return happened


def _days(channel: Channel, rule: StoredRule, state: RuleState, reading: Reading, days: range) -> list[Happened]:
    spec = rule.spec
    try:
        values = reading.of(spec)
    except NoData:
        return []  # a rule for every channel meets one that cannot have its metric
    happened = []
    for day in days:
        found = measured(spec, values, day)
        since = day_start(channel.timezone, date.fromordinal(day - spec.window_days + 1))
        until = day_start(channel.timezone, date.fromordinal(day + 1))
        step = machine.step(state, spec, verdict(spec, found), until)
        if step == "none":
            continue
        unit = values.metric.unit
        reason = wording.value_reason(spec, unit, found, since, until, channel.timezone)
        happened.append(Happened(rule, step, since, until, reason, unit, values.metric.name, found))
    return happened


def judge_age(channel: Channel, rule: StoredRule, state: RuleState, now: int) -> list[Happened]:
    """How old the newest data is now."""
    if state.last_data is None or rule.spec.metric != DATA_AGE:
        return []
    hours = (now - state.last_data) / HOUR
    found = Measured(hours, 1, measure=hours)
    step = machine.step(state, rule.spec, verdict(rule.spec, found), now)
    if step == "none":
        return []
    reason = wording.age_reason(rule.spec, hours, state.last_data, channel.timezone)
    if step == "resolve":
        reason = f"data arrives again: the newest is {hours:.1f} h old"
    unit = metrics.METRICS[DATA_AGE].unit
    return [Happened(rule, step, state.last_data, now, reason, unit, DATA_AGE, found)]


def matching(spec: RuleSpec, findings: Sequence[AnomalyFinding]) -> list[AnomalyFinding]:
    """Findings that a rule is for."""
    least = SEVERITIES.index(spec.least_severity)
    wanted = {"below": "down", "above": "up"}.get(spec.direction)
    return [
        f
        for f in findings
        if _rank(f.severity) >= least and spec.metric in (None, f.metric) and wanted in (None, f.direction)
    ]


def judge_findings(
    channel: Channel,
    rule: StoredRule,
    state: RuleState,
    findings: Sequence[AnomalyFinding],
    told: Sequence[str],
    now: int,
) -> list[Happened]:
    """New findings raise an alert or join the one that is open; it ends when all of them have.

    told: ids of the findings of the open alert.
    """
    spec, by_id = rule.spec, {f.id: f for f in findings}
    fresh = [
        f for f in matching(spec, findings) if f.id not in state.seen and f.onset >= rule.created_at - BEFORE_RULE_S
    ]
    going = [*told, *(f.id for f in fresh)]
    over = all(i not in by_id or by_id[i].ended is not None for i in going)
    if state.firing:
        if not fresh and over:
            machine.end(state, spec, now)
            return [_found(rule, "resolve", [by_id[i] for i in told if i in by_id], channel, now)]
        if not fresh:
            return []
        machine.remember(state, [f.id for f in fresh])
        return [_found(rule, "hold", fresh, channel, now)]
    if not fresh:
        return []
    if now < state.rest_until:
        # What is over before the rest is will not be told; what lasts will.
        machine.remember(state, [f.id for f in fresh if f.ended is not None])
        return []
    machine.remember(state, [f.id for f in fresh])
    state.firing = True
    return [_found(rule, "raise", fresh, channel, now)]


def _found(
    rule: StoredRule, step: machine.Step, findings: Sequence[AnomalyFinding], channel: Channel, now: int
) -> Happened:
    first = min(findings, key=lambda f: f.onset) if findings else None
    names = list(dict.fromkeys(f.metric for f in findings))
    figures = Measured(None, 0) if first is None else Measured(first.observed, len(findings), first.expected)
    reason = wording.finding_reason(tuple(findings), channel.timezone) or "what was found has ended"
    return Happened(
        rule=rule,
        step=step,
        since=now if first is None else first.onset,
        until=now,
        reason=reason,
        unit=metrics.METRICS[names[0]].unit if names and names[0] in metrics.METRICS else "",
        metric=", ".join(names) or "anomaly",
        found=figures,
        findings=tuple(f.id for f in findings),
    )


def _rank(severity: str) -> int:
    return next((i for i, name in enumerate(SEVERITIES) if name == severity), -1)


def judge_posts(
    channels: ChannelStore, channel: Channel, rules: Sequence[StoredRule], events: Sequence[Event], now: int
) -> dict[str, list[posts.Seen]]:
    """Posts that arrived, or were read again, and that rules on posts are for; rule to posts.

    Only posts that arrived while they were fresh count, so that imported history is told by nobody; and of an absence
    only the last days. A rule hears of what arrives after it was made.
    """
    mine = [e for e in events if e.channel_id == channel.id and e.at > now - CATCH_UP_DAYS * DAY]
    arrived = {i for e in mine for i in e.data.posts}
    told_of = [(i, e.at) for e in mine for i in (*e.data.posts, *e.data.read)]
    last, first = dict(told_of), dict(reversed(told_of))
    # A first import tells of all that a channel ever posted: only what may be fresh is read.
    since = min(first.values(), default=now) - FRESH_S
    stored = channels.posts.published(channel, sorted(last), since=since, until=now + 1)
    fresh = [post for post in stored if post.published_at > first[post.post_id] - FRESH_S]
    found: dict[str, list[posts.Seen]] = {}
    history = None
    for rule in rules:
        if rule.spec.overperforms is None:
            meant = [p for p in fresh if p.post_id in arrived and first[p.post_id] > rule.created_at]
        else:
            meant = [p for p in fresh if last[p.post_id] > rule.created_at]
        if meant and rule.spec.overperforms is not None:
            history = history or channels.history(channel, published_from=now - posts.HISTORY_S, as_of=now)
            texts = {post.post_id: post.draft.text for post in meant if post.draft.text is not None}
            over, _, _ = posts.overperforming(rule.spec, history, texts, {post.post_id for post in meant})
            # What was so before there was a rule is old news.
            found[rule.id] = [one for one in over if one.at > rule.created_at]
        elif meant:
            found[rule.id] = posts.published(rule.spec, channel, meant)
    return {rule_id: seen for rule_id, seen in found.items() if seen}
