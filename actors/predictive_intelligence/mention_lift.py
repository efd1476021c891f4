"""What mentions bring: subscribers of the next 24 hours beyond the usual, beside other moments of the same channel.

Lift of a moment t: (N(t + 24 h) - N(t)) minus the median of the daily changes of the 14 days before t. Growth comes in
jumps and spells for many reasons, so a median of lifts means something only beside the placebo: the same moments moved
together by every number of hours, round and round through the target's time away from all known mentions. Moving
them together keeps what lies between them, and so how alike the growth of neighbouring days is: moments drawn one by
one would find something in every cluster of mentions. The median, because a mean is decided by whether one mention met
an ad. Nothing is drawn at random, so nothing depends on a seed.
Several mentions by one source are pooled; those within 24 hours of each other share their subscribers, and count once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from core.clock import DAY, HOUR
from core.errors import NoData
from core.history import ChannelHistory, Floats, Ints
from core.metrics import subscribers_on
from core.schemas.links import Lift, MentionLift, MentionLifts
from core.store.channels import Mention

DAYS_BEFORE = 14
_LEAST_BEFORE = 10  # of them must be known
LEAST_MOMENTS = 28 * 24  # hours away from mentions
LEVEL = 0.05  # of one link; q allows for all of them
_AWAY_S = 48 * HOUR
NOTES = (
    "a mention that comes with other news of the target shares its lift with them",
    "placebo moments lie at least 48 h from every known mention of the target; what channels that are not stored "
    "mention is not known",
)


def mention_lifts(
    histories: Mapping[str, ChannelHistory], mentions: Sequence[Mention], channel: str | None = None
) -> MentionLifts:
    """Every source of the target `channel` (None: every stored pair), most certain first.

    histories: stored channels by name; what is not among them as a target is left out. NoData where nothing names a
    stored channel with subscriber readings.
    """
    by_target: dict[str, list[Mention]] = defaultdict(list)
    for m in mentions:
        if m.source != m.target and m.target in histories and channel in (None, m.target):
            by_target[m.target].append(m)
    if not by_target:
        about = "a stored channel" if channel is None else repr(channel)
        raise NoData(f"no post of another stored channel names {about}", channel=channel)
    targets = [_Target.of(histories[name], named) for name, named in sorted(by_target.items())]
    if not any(len(target.history.subscribers) for target in targets):
        raise NoData("subscribers unavailable from this source: what a mention brings cannot be known", channel=channel)
    links = [
        _link(source, target, [m for m in target.mentions if m.source == source])
        for target in targets
        for source in sorted({m.source for m in target.mentions})
    ]
    return _summed(channel, _adjusted(links), targets)


def lift_at(history: ChannelHistory, moments: Ints) -> tuple[Floats, Floats]:
    """Lift and usual daily change at each moment (m each), NaN where subscribers around it are not known."""
    back = np.arange(1, -DAYS_BEFORE - 1, -1) * DAY  # a day on, the moment itself, and back
    counts = subscribers_on(history, (moments[:, None] + back).ravel()).reshape(len(moments), len(back))
    changes = counts[:, :-1] - counts[:, 1:]
    before = changes[:, 1:]
    enough = (~np.isnan(before)).sum(axis=1) >= _LEAST_BEFORE
    usual = np.full(len(moments), np.nan)
    if enough.any():
        usual[enough] = np.nanmedian(before[enough], axis=1)
    return changes[:, 0] - usual, usual


@dataclass(frozen=True, slots=True)
class _Target:
    """A channel that is named, and the lifts of its other moments."""

    history: ChannelHistory
    mentions: tuple[Mention, ...]  # in order of time
    placebo: Floats

    @classmethod
    def of(cls, history: ChannelHistory, mentions: Sequence[Mention]) -> _Target:
        ordered = tuple(sorted(mentions, key=lambda m: (m.published_at, m.source, m.post_id)))
        if len(history.subscriber_ts) == 0:
            return cls(history, ordered, np.zeros(0))
        hours = np.arange(int(history.subscriber_ts[0]), int(history.subscriber_ts[-1]) - DAY + 1, HOUR)
        named = np.array([m.published_at for m in ordered])
        after = np.searchsorted(named, hours)
        near = np.minimum(
            np.abs(hours - named[np.maximum(after - 1, 0)]), np.abs(hours - named[np.minimum(after, len(named) - 1)])
        )
        lifts, _ = lift_at(history, hours[near > _AWAY_S])
        return cls(history, ordered, lifts[~np.isnan(lifts)])


def _link(source: str, target: _Target, mentions: Sequence[Mention]) -> MentionLift:
    """One source's mentions of a target; q is not known yet."""
    apart: list[Mention] = []
    for m in mentions:
        if not apart or m.published_at - apart[-1].published_at >= DAY:
            apart.append(m)
    values, usual = lift_at(target.history, np.array([m.published_at for m in apart]))
    known = ~np.isnan(values)
    lifts = tuple(
        Lift(m.post_id, m.published_at, float(value), float(u), _sharing(m, target.mentions))
        for m, value, u, there in zip(apart, values, usual, known, strict=True)
        if there
    )
    name = target.history.channel.name
    unknown = len(apart) - len(lifts)
    median = float(np.median(values[known])) if lifts else None
    moments = len(target.placebo)
    link = MentionLift(
        source, name, len(lifts), unknown, median, None, None, None, moments, None, None, "unknown", lifts
    )
    if median is None:
        return replace(link, missing=f"needs subscriber readings of {DAYS_BEFORE} days before a mention to 24 h after")
    if moments < LEAST_MOMENTS:
        return replace(link, missing=f"needs {LEAST_MOMENTS} hours away from mentions with a known lift, has {moments}")
    since_first = np.array([lift.at - lifts[0].at for lift in lifts]) // HOUR
    moved = (since_first + np.arange(moments)[:, None]) % moments
    medians = np.median(target.placebo[moved], axis=1)
    # As a prediction interval: the placebo's own middle is only known from so many days, fewer where days are alike.
    middle = float(np.median(medians))
    medians = middle + (medians - middle) * np.sqrt(1 + len(lifts) / _independent_days(target.placebo))
    low, high = (float(q) for q in np.quantile(medians, [0.025, 0.975]))
    tail = min(np.count_nonzero(medians >= median), np.count_nonzero(medians <= median))
    # Windows of 24 h that begin an hour apart are all but the same: moments count as days.
    p = min(1.0, 2 * (1 + float(tail) / 24) / (1 + moments / 24))
    return replace(link, placebo_low=low, placebo_median=middle, placebo_high=high, p=p)


def _independent_days(lifts: Floats) -> float:
    """Days that hourly lifts are worth, by the rank correlation from one day to the next (order one)."""
    ranks = stats.rankdata(lifts)
    alike = float(np.clip(np.corrcoef(ranks[:-24], ranks[24:])[0, 1], 0.0, 0.8)) if np.ptp(ranks) else 0.0
    return len(lifts) / 24 * (1 - alike) / (1 + alike)


def _sharing(mention: Mention, others: Sequence[Mention]) -> tuple[str, ...]:
    return tuple(
        sorted(
            {
                m.source
                for m in others
                if m.source != mention.source and abs(m.published_at - mention.published_at) < DAY
            }
        )
    )


def _adjusted(links: Sequence[MentionLift]) -> list[MentionLift]:
    """With q over all links that have a p, and what that says."""
    tested = [link for link in links if link.p is not None]
    if not tested:
        return list(links)
    adjusted = stats.false_discovery_control([link.p for link in tested], method="bh")
    by_pair = {(link.source, link.target): float(q) for link, q in zip(tested, adjusted, strict=True)}
    return [_read(link, by_pair[link.source, link.target]) if link.p is not None else link for link in links]


def _read(link: MentionLift, q: float) -> MentionLift:
    if link.p is None or link.p > LEVEL or link.median is None or link.placebo_median is None:
        return replace(link, q=q, reading="within")
    return replace(link, q=q, reading="above" if link.median > link.placebo_median else "below")


def _summed(channel: str | None, links: Sequence[MentionLift], targets: Sequence[_Target]) -> MentionLifts:
    """All lifts together beside those of the targets' other moments, each target weighted by its mentions."""
    lifts = np.array([lift.lift for link in links for lift in link.lifts])
    number: Counter[str] = Counter()
    for link in links:
        number[link.target] += link.n
    shares = [(number[t.history.channel.name], float((t.placebo > 0).mean())) for t in targets if len(t.placebo)]
    weight = sum(n for n, _ in shares)
    notes = list(NOTES)
    judged = [link for link in links if link.p is not None]
    within = sum(link.reading == "within" for link in judged)
    if judged:
        notes[:0] = [
            f"{within} of {len(judged)} links bring what other moments of the target do too",
            "of links that bring nothing one in 20 is told as above or below: q allows for their number",
        ]
    return MentionLifts(
        channel,
        tuple(sorted(links, key=lambda link: (2.0 if link.q is None else link.q, link.source, link.target))),
        len(lifts),
        float((lifts > 0).mean()) if len(lifts) else None,
        sum(n * share for n, share in shares) / weight if weight else None,
        float(np.median(lifts)) if len(lifts) else None,
        tuple(notes),
    )
