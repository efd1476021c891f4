"""Tries a rule on what is stored: whether a channel's data can answer it, and what it would have raised."""

from __future__ import annotations

from dataclasses import dataclass

from actors.alerts_fusion import backtest, validation, watch
from actors.alerts_fusion.measure import days_needed
from actors.alerts_fusion.reading import read
from actors.alerts_fusion.samples import DATA_AGE
from core.buckets import local_date
from core.clock import DAY
from core.errors import InsufficientData, NoData
from core.protocols import AnomalyService
from core.schemas.alerts import ChannelBacktest, RuleSpec
from core.schemas.channels import Channel
from core.settled import first_day, last_settled
from core.store.channels import ChannelStore


@dataclass(frozen=True)
class Trial:
    """Reads only."""

    channels: ChannelStore
    anomaly: AnomalyService

    def meant(self, spec: RuleSpec) -> tuple[Channel, ...]:
        """The channels that a rule is for; NotFound."""
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
        return backtest.by_days(spec, values, channel.name, zone, first, min(last, int(values.day[-1])))
