"""The anomaly service: follows arrived data, judges each day once when it is complete, and keeps what it finds.

Two detectors share the work. `detection` watches the daily series: weeks of points, a weekday rhythm, episodes with an
expected value that can be taken apart. `surprise` watches the hourly views: hundreds of points, a rhythm of the day
that needs no model, and shapes that no expected value describes.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from datetime import date

from actors.anomaly_analysis import daily, hourly, telling
from actors.anomaly_analysis.detection import DetectorState, Episode, step
from actors.anomaly_analysis.narrative import PlainNarrator
from actors.anomaly_analysis.scales import GROWTH, PACE, SCALES, VIEWS
from actors.anomaly_analysis.surprise import SurpriseState, from_text, to_text
from core.buckets import day_start, local_date
from core.clock import Clock
from core.codec import from_json, to_json
from core.history import ChannelHistory
from core.protocols import Narrator
from core.schemas.analytics import AnomalyFinding
from core.schemas.channels import Channel
from core.schemas.health import Health
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.events import Outbox
from core.store.findings import AnomalyStore
from core.store.series import SeriesStates
from core.store.shards import Shard, take_over

SERVICE = "anomaly_analysis"
_EVENTS_AT_ONCE = 500
_LEAST_POSTS = 64  # newest posts that are read however old they are: a channel that fell silent has a last one


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
    call does the same work again with the same result. narrator: puts findings into words, plain ones unless given.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        tenant: str = "default",
        shard: int = 0,
        shards: int = 1,
        narrator: Narrator | None = None,
    ) -> None:
        self.database, self.clock, self.tenant = database, clock, tenant
        self.shard = Shard(shard, shards)
        self.consumer = self.shard.consumer(SERVICE)
        self.channels = ChannelStore(database, tenant)
        self.outbox = Outbox(database, tenant)
        self.states = SeriesStates(database)
        self.store = AnomalyStore(database, tenant)
        self.narrator = narrator or PlainNarrator()
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
        """The history with all posts from a day on and the newest ones (from the beginning without a day)."""
        if since_day is None:
            return self.channels.history(channel, as_of=now)
        since = day_start(channel.timezone, date.fromordinal(max(1, since_day)))
        newest = self.channels.published_nth(channel, _LEAST_POSTS, as_of=now)
        return self.channels.history(channel, published_from=min(since, newest), as_of=now)

    def _explained(self, channel: Channel, now: int, episodes: dict[tuple[str, int], Episode]) -> list[AnomalyFinding]:
        if not episodes:
            return []
        oldest = min(onset for _, onset in episodes)
        history = self._history(channel, now, oldest - telling.COMPARED_DAYS - 17)
        away = frozenset((metric, p.day) for (metric, _), e in episodes.items() for p in e.away)
        mentions = self.channels.mentions(channel) if any(metric == GROWTH for metric, _ in episodes) else ()
        context = telling.Context(history, away, mentions)
        return [
            telling.episode_finding(context, metric, episode, self.narrator)
            for (metric, _), episode in episodes.items()
        ]

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
                found.append(telling.hour_finding(history, hour, expected, self.narrator))
        return found
