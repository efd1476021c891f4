"""The anomaly service: follows arrived data, judges each day once when it is complete, and keeps what it finds.

Two detectors share the work. `detection` watches the daily series: weeks of points, a weekday rhythm, episodes with an
expected value that can be taken apart. `surprise` watches the hourly views: hundreds of points, a rhythm of the day
that needs no model, and shapes that no expected value describes.
"""

from __future__ import annotations

import math
import os
import threading
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from actors.anomaly_analysis import assessment, daily, hourly, narrative
from actors.anomaly_analysis.detection import DetectorState, Episode, step
from actors.anomaly_analysis.explanation import Days, pace_causes, posting_causes, views_causes
from actors.anomaly_analysis.growth import growth_causes, steepest
from actors.anomaly_analysis.recommendations import advise
from actors.anomaly_analysis.scales import GROWTH, PACE, SCALES, VIEWS
from actors.anomaly_analysis.surprise import SurpriseState, from_text, to_text
from core.buckets import day_start, local_date, shown
from core.clock import HOUR, Clock
from core.codec import from_json, to_json
from core.history import ChannelHistory, subscribers_at
from core.schemas.analytics import AnomalyFinding, Cause
from core.schemas.channels import Channel
from core.schemas.health import Health
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.events import Outbox
from core.store.findings import AnomalyStore, finding_id
from core.store.series import SeriesStates
from core.store.shards import Shard, take_over

SERVICE = "anomaly_analysis"
COMPARED_DAYS = 28  # ordinary days before an episode that its causes are measured against
_EVENTS_AT_ONCE = 500
_FIRST_POSTS = 64  # posts read at first; doubled until they reach back far enough


@dataclass(slots=True)
class Watch:
    """What is kept of a channel between calls: the last day judged, and the state of each watched series."""

    judged: int | None = None  # ordinal of the date
    states: dict[str, DetectorState] = field(default_factory=dict)
    hours: str | None = None  # state of the hourly views, as `surprise.to_text` writes it


@dataclass(slots=True)
class Judged:
    """What the completed days of a channel led to, before it is stored."""

    channel: Channel
    watch: Watch
    findings: list[AnomalyFinding]
    told: set[int]  # days of findings of the views
    hours: hourly.Hours


class AnomalyAnalysis:
    """Implements `core.protocols.AnomalyService`; one shard takes the channels whose id falls to it.

    States, findings and the offset of one batch of events are committed together: killed at any moment, the next
    call does the same work again with the same result.
    """

    def __init__(
        self, database: Database, clock: Clock, tenant: str = "default", shard: int = 0, shards: int = 1
    ) -> None:
        self.database, self.clock, self.tenant = database, clock, tenant
        self.shard = Shard(shard, shards)
        self.consumer = self.shard.consumer(SERVICE)
        self.channels = ChannelStore(database, tenant)
        self.outbox = Outbox(database, tenant)
        self.states = SeriesStates(database)
        self.store = AnomalyStore(database, tenant)
        self._lock, self._took_over = threading.Lock(), False

    def health(self) -> Health:
        """Read the offset and the newest event: how far behind is this shard?"""
        offset, last = self.outbox.offset(self.consumer), self.outbox.last()
        did = f"read the offset of {self.consumer} ({offset}) and the newest event ({last})"
        return Health(SERVICE, "ok", did, os.getpid(), {"offset": offset, "last": last, "behind": last - offset})

    def findings(self, channel: str | None = None, since: int | None = None) -> tuple[AnomalyFinding, ...]:
        """Stored findings, newest first; NotFound for a channel that does not exist."""
        if channel is not None:
            self.channels.channel(channel)
        return self.store.findings(channel, since)

    def catch_up(self) -> int:
        """Judge the days that newly arrived data completes; returns the number of new findings."""
        with self._lock:
            if not self._took_over:
                take_over(self.outbox, SERVICE, self.shard)
                self._took_over = True
            found, more = 0, True
            while more:
                new, more = self._batch()
                found += new
            return found

    def _batch(self) -> tuple[int, bool]:
        offset = self.outbox.offset(self.consumer)
        events = self.outbox.after(offset, _EVENTS_AT_ONCE)
        if not events:
            return 0, False
        now = self.clock.now()
        touched = {event.channel_id for event in events if self.shard.has(event.channel_id)}
        known = {c.id: c for c in self.channels.channels()} if touched else {}
        states = self.states.some(SERVICE, [str(i) for i in sorted(touched)])
        judged = [self._judge(known[i], states.get(str(i)), now) for i in sorted(touched) if i in known]
        taken = [one for one in judged if one is not None]
        self._watch_hours(taken, now)
        new = 0
        with self.database.write() as connection:
            for one in taken:
                self.states.save(connection, SERVICE, str(one.channel.id), to_json(one.watch), now)
                new += self.store.save(connection, one.channel.id, one.findings, now)
            self.outbox.advance(connection, self.consumer, events[-1].seq)
        return new, len(events) == _EVENTS_AT_ONCE

    def _judge(self, channel: Channel, stored: str | None, now: int) -> Judged | None:
        """Take the newly completed days of a channel; None: there was nothing to do."""
        watch = Watch() if stored is None else from_json(Watch, stored)
        first = None if watch.judged is None else watch.judged + 1
        if first is not None and day_start(channel.timezone, date.fromordinal(first + 1)) > now:
            return None  # the next day is not over: no need to read anything
        history = self._history(channel, now, None if first is None else first - daily.DAYS_NEEDED)
        first = daily.first_day(history) if first is None else first
        if first is None:
            return None
        last = daily.last_settled(history, first, now)
        if last < first:
            return None
        episodes: dict[tuple[str, int], Episode] = {}
        for metric, values in daily.values(history, first, last).items():
            state = watch.states.setdefault(metric, DetectorState())
            for day, value in enumerate(values.tolist(), start=first):
                for episode in step(state, SCALES[metric], day, value):
                    episodes[metric, episode.onset] = episode
        watch.judged = last
        told = {p.day for (metric, _), e in episodes.items() if metric in (VIEWS, PACE) for p in e.away}
        findings = self._explained(channel, now, episodes)
        return Judged(channel, watch, findings, told, hourly.hours_of(history, first, last))

    def _watch_hours(self, taken: list[Judged], now: int) -> None:
        """The hours of all channels at once; adds to their watches and findings."""
        states = [SurpriseState() if one.watch.hours is None else from_text(one.watch.hours) for one in taken]
        odd, states = hourly.odd_hours(states, [one.hours for one in taken])
        for one, state, found in zip(taken, states, odd, strict=True):
            one.watch.hours = to_text(state)
            one.findings += self._odd(one.channel, now, found, one.told)

    def _history(self, channel: Channel, now: int, since_day: int | None) -> ChannelHistory:
        """The history with all posts from a day on (from the beginning without one)."""
        if since_day is None:
            return self.channels.history(channel, as_of=now)
        since, posts = day_start(channel.timezone, date.fromordinal(max(1, since_day))), _FIRST_POSTS
        while True:
            history = self.channels.history(channel, last_posts=posts, as_of=now)
            if history.n < posts or history.published_at[0] < since:
                return history
            posts *= 2

    def _explained(self, channel: Channel, now: int, episodes: dict[tuple[str, int], Episode]) -> list[AnomalyFinding]:
        if not episodes:
            return []
        oldest = min(onset for _, onset in episodes)
        history = self._history(channel, now, oldest - COMPARED_DAYS - 17)
        away = {(metric, p.day) for (metric, _), e in episodes.items() for p in e.away}
        return [self._finding(history, metric, episode, away) for (metric, _), episode in episodes.items()]

    def _odd(self, channel: Channel, now: int, odd: list[hourly.OddHour], told: set[int]) -> list[AnomalyFinding]:
        """Findings of hours, except on days that a daily finding of the views tells about already."""
        left = [h for h in odd if local_date(channel.timezone, h.start).toordinal() not in told]
        if not left:
            return []
        oldest = local_date(channel.timezone, left[0].start).toordinal()
        history = self._history(channel, now, oldest - hourly.COMPARED_DAYS - 9)
        found = []
        for hour in left:
            expected = hourly.usual(history, hour.start)
            if expected is not None:
                found.append(self._odd_hour(history, hour, expected))
        return found

    def _odd_hour(self, history: ChannelHistory, hour: hourly.OddHour, expected: float) -> AnomalyFinding:
        channel = history.channel
        return AnomalyFinding(
            id=finding_id(channel.id, f"{VIEWS} by the hour", hour.start),
            channel=channel.name,
            metric=VIEWS,
            kind="hour",
            direction="up" if hour.observed >= expected else "down",
            severity="low",  # one hour is something to look at; what lasts is found by the day, and graded
            onset=hour.start,
            ended=hour.start + HOUR,
            observed=hour.observed,
            expected=expected,
            score=hour.score,
            causes=hourly.hour_causes(history, hour, expected),
            notes=(
                narrative.odd_hour(hour.observed, expected, shown(hour.start, channel.timezone)),
                narrative.hourly_budget(hourly.FALSE_HOURS),
            ),
        )

    def _finding(
        self, history: ChannelHistory, metric: str, episode: Episode, away: set[tuple[str, int]]
    ) -> AnomalyFinding:
        channel, points = history.channel, episode.away
        start = day_start(channel.timezone, date.fromordinal(episode.onset))
        stop = day_start(channel.timezone, date.fromordinal(points[-1].day + 1))
        observed, expected = sum(p.value for p in points), sum(p.expected for p in points)
        base = subscribers_at(history, start)
        weight = assessment.impact(
            metric,
            episode.direction,
            observed,
            expected,
            episode.noise,
            len(points),
            base if metric == GROWTH else None,
        )
        divisor = len(points) if metric == PACE else 1  # ratios are averaged, counts are summed
        totals = (observed / divisor, expected / divisor)
        causes = self._causes(history, metric, episode, away, (start, stop), totals)
        notes = [
            narrative.headline(metric, observed, expected, len(points), shown(start, channel.timezone), base),
            narrative.course(episode.open, episode.settled, episode.kind),
            steepest(history, start, stop) if metric == GROWTH else None,
            narrative.budget(),
        ]
        return AnomalyFinding(
            id=finding_id(channel.id, metric, start),
            channel=channel.name,
            metric=metric,
            kind=episode.kind,
            direction=episode.direction,
            severity=assessment.severity(episode.direction, weight),
            onset=start,
            ended=None if episode.open else stop,
            observed=totals[0],
            expected=totals[1],
            score=episode.score,
            causes=causes,
            advice=advise(episode.direction, causes, narrative.UNITS[metric]),
            notes=tuple(note for note in notes if note is not None),
        )

    def _causes(
        self,
        history: ChannelHistory,
        metric: str,
        episode: Episode,
        away: set[tuple[str, int]],
        span: tuple[int, int],
        totals: tuple[float, float],
    ) -> tuple[Cause, ...]:
        observed, expected = totals
        if metric == GROWTH:
            mentions = self.channels.mentions(history.channel)
            return growth_causes(history, mentions, *span, observed, expected)
        if metric == PACE:
            return pace_causes(observed - expected)
        first = episode.onset - COMPARED_DAYS
        known = daily.values(history, first, episode.onset - 1, (metric,))[metric].tolist()
        before = tuple(
            day for day, v in enumerate(known, start=first) if not math.isnan(v) and (metric, day) not in away
        )
        days = Days(history.channel.timezone, tuple(p.day for p in episode.away), before)
        if metric == VIEWS:
            seed = np.random.default_rng([history.channel.id, episode.onset])
            return views_causes(history, days, observed - expected, seed)
        return posting_causes(history, days, observed - expected)
