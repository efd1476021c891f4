"""Tries a rule on what is stored: whether a channel's data can answer it, and what it would have raised."""

from __future__ import annotations

from dataclasses import dataclass

from actors.alerts_fusion import backtest, posts, validation, watch
from actors.alerts_fusion.live import LEAST_USUAL, USUAL_DAYS
from actors.alerts_fusion.measure import days_needed
from actors.alerts_fusion.reading import read
from actors.alerts_fusion.samples import DATA_AGE
from core.buckets import local_date
from core.clock import DAY
from core.errors import InsufficientData, NoData
from core.protocols import AnomalyService
from core.schemas.alerts import ON_POSTS, ChannelBacktest, RuleSpec
from core.schemas.channels import Channel
from core.settled import first_day, last_settled
from core.store.channels import ChannelStore
from core.store.watch_lists import WatchListStore


@dataclass(frozen=True)
class Trial:
    """Reads only."""

    channels: ChannelStore
    anomaly: AnomalyService
    lists: WatchListStore

    def meant(self, spec: RuleSpec) -> tuple[Channel, ...]:
        """The channels that a rule is for; NotFound, NoData for a watch list of which no channel is stored."""
        if spec.watch_list is not None:
            names = self.lists.get(spec.watch_list).channels
            stored = tuple(channel for channel in self.channels.channels() if channel.name in names)
            if not stored:
                raise NoData(f"no channel of the watch list {spec.watch_list!r} is stored: import one first")
            return stored
        if spec.channels:
            return tuple(self.channels.channel(name) for name in spec.channels)
        return self.channels.channels() if spec.channel is None else (self.channels.channel(spec.channel),)

    def gap(self, spec: RuleSpec, channel: Channel, now: int) -> InsufficientData | None:
        """What a channel lacks for a rule; None: nothing."""
        if spec.kind == "anomaly":
            return None
        newest = self.channels.newest(channel, now)
        if newest is None:
            return NoData(f"no data stored of {channel.name}", channel=channel.name)
        if spec.metric == DATA_AGE:
            return None
        if spec.kind in ON_POSTS:
            return self._gap_of_posts(spec, channel, newest, now)
        last = local_date(channel.timezone, newest).toordinal()
        try:
            # Days further back than the rule needs are read too: the last ones may have holes.
            values = read(self.channels, channel, [spec], last - days_needed(spec), last, now).of(spec)
            validation.enough(spec, values, channel.name)
        except InsufficientData as gap:
            return gap
        return None

    def past(self, spec: RuleSpec, channel: Channel, days: int, now: int) -> ChannelBacktest:
        """The last days of a channel's stored history through the rule; `missing` says why they cannot be judged."""
        zone = channel.timezone
        newest = self.channels.newest(channel, now)
        if newest is None:
            return ChannelBacktest(channel.name, None, None, 0, 0, missing=f"no data stored of {channel.name}")
        if spec.kind == "anomaly":
            findings = watch.matching(spec, self.anomaly.findings(channel.name, now - days * DAY))
            return backtest.of_findings(spec, findings, channel.name, zone, now - days * DAY, now)
        if spec.kind in ON_POSTS:
            return self._past_posts(spec, channel, newest + 1 - days * DAY, newest + 1, now)
        if spec.metric == DATA_AGE:
            history = self.channels.history(channel, published_from=newest - (days + 30) * DAY, as_of=now)
            return backtest.of_data_age(spec, history, newest - days * DAY, newest)
        until = local_date(zone, newest).toordinal()
        try:
            reading = read(self.channels, channel, [spec], until - days, until, now)
            values = reading.of(spec)
            validation.enough(spec, values, channel.name)
        except InsufficientData as gap:
            return ChannelBacktest(channel.name, None, None, 0, 0, missing=gap.message)
        start = first_day(reading.history)
        first = max(until - days, until if start is None else start)
        last = last_settled(reading.history, first, now)
        if spec.kind == "forecast" and not any(first <= day <= last for day in values.foretold):
            missing = f"no forecast was given yet for {spec.metric} of {channel.name}, {spec.horizon_days} days ahead"
            return ChannelBacktest(channel.name, None, None, 0, 0, missing=missing)
        return backtest.by_days(spec, values, channel.name, zone, first, min(last, int(values.day[-1])))

    def _gap_of_posts(self, spec: RuleSpec, channel: Channel, newest: int, now: int) -> InsufficientData | None:
        if spec.kind == "keyword" and not self.channels.posts.has_texts(channel):
            return NoData(f"texts of posts unavailable from this source ({channel.name})", channel=channel.name)
        if spec.overperforms is None:
            return None
        history = self.channels.history(channel, published_from=newest - (USUAL_DAYS + 10) * DAY, as_of=now)
        if len(history.reading_ts) == 0 or history.single_reading:
            why = "views unavailable" if len(history.reading_ts) == 0 else "one reading a post: views at equal age"
            return NoData(f"{why} from this source ({channel.name})", channel=channel.name)
        if history.n <= LEAST_USUAL:
            what = f"the usual views of {channel.name} rest on too few posts"
            return InsufficientData(what, needed=LEAST_USUAL + 1, have=history.n, field="overperforms")
        return None

    def _past_posts(self, spec: RuleSpec, channel: Channel, since: int, until: int, now: int) -> ChannelBacktest:
        gap = self._gap_of_posts(spec, channel, until - 1, now)
        if gap is not None:
            return ChannelBacktest(channel.name, None, None, 0, 0, missing=gap.message)
        stored = self.channels.posts.published(channel, since=since, until=until)
        begun = max(since, self.channels.totals(channel).first_post or since)
        if spec.overperforms is None:
            judged = len(stored) if spec.kind != "keyword" else sum(post.draft.text is not None for post in stored)
            seen = posts.published(spec, channel, stored)
            return backtest.of_posts(seen, channel.name, begun, until, judged, len(stored) - judged)
        history = self.channels.history(channel, published_from=since - USUAL_DAYS * DAY, as_of=now)
        texts = {post.post_id: post.draft.text for post in stored if post.draft.text is not None}
        over, judged, unknown = posts.overperforming(spec, history, texts, {post.post_id for post in stored})
        return backtest.of_posts(over, channel.name, begun, until, judged, unknown)
