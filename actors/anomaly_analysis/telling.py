"""Makes a finding of what was detected: taken apart, graded, advised on and put into words.

A step that fails is said in the finding's notes and holds up nothing: neither the finding nor the other channels.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Literal, TypeVar

import numpy as np
import structlog

from actors.anomaly_analysis import assessment, daily, hourly
from actors.anomaly_analysis.analysis import UNEXPLAINED
from actors.anomaly_analysis.detection import FALSE_ALARMS, Episode
from actors.anomaly_analysis.explanation import Days, pace_causes, posting_causes, views_causes
from actors.anomaly_analysis.growth import growth_causes, steepest
from actors.anomaly_analysis.narrative import PlainNarrator
from actors.anomaly_analysis.recommendations import advise
from actors.anomaly_analysis.scales import GROWTH, PACE, POSTING, VIEWS
from core.buckets import day_start
from core.clock import HOUR
from core.history import ChannelHistory, subscribers_at
from core.protocols import Narrator
from core.schemas.analytics import AnomalyFinding, Cause, Circumstances
from core.store.channels import Mention
from core.store.findings import finding_id

COMPARED_DAYS = 28  # ordinary days before an episode that its causes are measured against
UNITS = {VIEWS: "views", GROWTH: "subscribers", POSTING: "posts", PACE: "times the expected views"}
UNGRADED = "high"  # what could not be graded must not pass unseen

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Context:
    """What an episode is judged beside: history from well before it on, days that are not ordinary, mentions."""

    history: ChannelHistory
    away: frozenset[tuple[str, int]]  # (metric, day)
    mentions: Sequence[Mention]


@dataclass(slots=True)
class Steps:
    """Runs the steps of one finding; `failed` has a line for each that raised."""

    finding: str
    failed: list[str] = field(default_factory=list)

    def run(self, step: str, work: Callable[[], T], otherwise: T) -> T:
        """What the step gives, or the other thing where it fails."""
        try:
            return work()
        except Exception as error:  # whatever it is: the finding stands without this step
            where = traceback.format_exc(limit=-2)
            structlog.get_logger(__name__).warning("a step failed", step=step, finding=self.finding, where=where)
            self.failed.append(f"{step} failed: {type(error).__name__}: {error}")
            return otherwise


def episode_finding(context: Context, metric: str, episode: Episode, narrator: Narrator) -> AnomalyFinding:
    """A finding of days away from the usual."""
    history, points = context.history, episode.away
    zone = history.channel.timezone
    start = day_start(zone, date.fromordinal(episode.onset))
    stop = day_start(zone, date.fromordinal(points[-1].day + 1))
    sums = sum(p.value for p in points), sum(p.expected for p in points)
    divisor = len(points) if metric == PACE else 1  # ratios are averaged, counts are summed
    observed, expected = sums[0] / divisor, sums[1] / divisor
    base = subscribers_at(history, start)
    steps = Steps(finding_id(history.channel.id, metric, start))

    def grade() -> str:
        size = base if metric == GROWTH else None
        weight = assessment.impact(metric, episode.direction, *sums, episode.noise, len(points), size)
        return assessment.severity(episode.direction, weight)

    causes = steps.run(
        "decompose",
        lambda: _causes(context, metric, episode, (start, stop), (observed, expected)),
        _unknown(observed - expected),
    )
    finding = AnomalyFinding(
        id=steps.finding,
        channel=history.channel.name,
        metric=metric,
        kind=episode.kind,
        direction=episode.direction,
        severity=steps.run("grade", grade, UNGRADED),
        onset=start,
        ended=None if episode.open else stop,
        observed=observed,
        expected=expected,
        score=episode.score,
        causes=causes,
        advice=steps.run("advise", lambda: advise(episode.direction, causes, UNITS[metric]), ()),
    )
    course: Literal["open", "settled", "over"] = "open" if episode.open else "over"
    told = Circumstances(
        timezone=zone,
        days=len(points),
        course="settled" if episode.settled else course,
        subscribers=base,
        quiet_points=1 / FALSE_ALARMS,
        detail=steps.run("detail", lambda: steepest(history, start, stop), None) if metric == GROWTH else None,
    )
    return _told(finding, told, narrator, steps)


def hour_finding(history: ChannelHistory, hour: hourly.OddHour, expected: float, narrator: Narrator) -> AnomalyFinding:
    """A finding of one hour: something to look at; what lasts is found by the day, and graded."""
    steps = Steps(finding_id(history.channel.id, f"{VIEWS} by the hour", hour.start))
    finding = AnomalyFinding(
        id=steps.finding,
        channel=history.channel.name,
        metric=VIEWS,
        kind="hour",
        direction="up" if hour.observed >= expected else "down",
        severity="low",
        onset=hour.start,
        ended=hour.start + HOUR,
        observed=hour.observed,
        expected=expected,
        score=hour.score,
        causes=steps.run(
            "decompose",
            lambda: hourly.hour_causes(history, hour, expected),
            _unknown(hour.observed - expected),
        ),
    )
    base = subscribers_at(history, hour.start)
    told = Circumstances(history.channel.timezone, 0, "over", base, 1 / hourly.FALSE_HOURS)
    return _told(finding, told, narrator, steps)


def _told(finding: AnomalyFinding, told: Circumstances, narrator: Narrator, steps: Steps) -> AnomalyFinding:
    """With its notes: the narrator's words, the plain ones where it fails, and what failed."""

    def narrate() -> tuple[str, ...]:
        words = narrator.narrate(finding, told)
        if not (isinstance(words, tuple) and words and all(isinstance(sentence, str) for sentence in words)):
            raise TypeError(f"no sentences but {words!r}")
        return words

    notes = steps.run("narrate", narrate, None)
    if notes is None:
        notes = PlainNarrator().narrate(finding, told)
    return replace(finding, notes=(*notes, *steps.failed))


def _unknown(total: float) -> tuple[Cause, ...]:
    return (Cause(UNEXPLAINED, total, "could not be taken apart: the notes say why"),)


def _causes(
    context: Context, metric: str, episode: Episode, span: tuple[int, int], totals: tuple[float, float]
) -> tuple[Cause, ...]:
    history, (observed, expected) = context.history, totals
    if metric == GROWTH:
        return growth_causes(history, context.mentions, *span, observed, expected)
    if metric == PACE:
        return pace_causes(observed - expected)
    first = episode.onset - COMPARED_DAYS
    known = daily.values(history, first, episode.onset - 1, (metric,))[metric].tolist()
    before = tuple(
        day for day, v in enumerate(known, start=first) if not math.isnan(v) and (metric, day) not in context.away
    )
    days = Days(history.channel.timezone, tuple(p.day for p in episode.away), before)
    if metric == VIEWS:
        seed = np.random.default_rng([history.channel.id, episode.onset])
        return views_causes(history, days, observed - expected, seed)
    return posting_causes(history, days, observed - expected)
