"""Reads of a channel what rules need, once a pass, and no further back than they look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import cast

from actors.alerts_fusion.measure import days_read
from actors.alerts_fusion.samples import (
    DATA_AGE,
    ENGAGED_S,
    ENGAGEMENT,
    Samples,
    Source,
    forecast_days,
    needed_before_s,
    samples,
)
from core.buckets import day_start
from core.history import ChannelHistory
from core.schemas.alerts import ON_POSTS, RuleSpec
from core.schemas.channels import Channel
from core.schemas.forecasts import ForecastMetric
from core.settled import day_edges
from core.store.channels import ChannelStore
from core.store.forecasts import ForecastStore


def by_days(spec: RuleSpec) -> bool:
    """Whether a rule is judged once a day, on days that are over."""
    return spec.kind not in ("anomaly", *ON_POSTS) and spec.metric != DATA_AGE


@dataclass
class Reading:
    """A channel's data from the first day that some rules look at; every metric is computed once."""

    source: Source
    first: int  # ordinal of the first day with samples
    last: int
    channels: ChannelStore
    now: int
    _samples: dict[tuple[str, int | None], Samples] = field(default_factory=dict)

    @property
    def history(self) -> ChannelHistory:
        """Posts and readings."""
        return self.source.history

    def of(self, spec: RuleSpec) -> Samples:
        """The metric's values; NoData where the channel cannot have any."""
        assert spec.metric is not None
        horizon = spec.horizon_days if spec.kind == "forecast" else None
        key = (spec.metric, horizon)
        if key not in self._samples:
            self._samples[key] = (
                samples(self.source, spec.metric, self.first, self.last)
                if horizon is None
                else self._beside_forecasts(cast(ForecastMetric, spec.metric), horizon)
            )
        return self._samples[key]

    def _beside_forecasts(self, metric: ForecastMetric, horizon_days: int) -> Samples:
        history, channel = self.history, self.history.channel
        if metric == "views_gained":
            history = self.channels.history(channel, as_of=self.now)  # old posts are read too
        ends = day_edges(channel.timezone, self.first, self.last)[1:].tolist()
        given = ForecastStore(self.channels.database).given(channel.id, metric, horizon_days, ends[0], ends[-1])
        return forecast_days(history, given, metric, self.first, self.last)


def read(
    channels: ChannelStore, channel: Channel, specs: Sequence[RuleSpec], first: int, last: int, now: int
) -> Reading:
    """What is needed to judge the days from `first` to `last` (ordinals) by these rules, as known now."""
    daily = [spec for spec in specs if by_days(spec)]
    begin = max(1, first - max((days_read(spec) for spec in daily), default=0))
    before = max((needed_before_s(str(spec.metric)) for spec in daily), default=0)
    since = day_start(channel.timezone, date.fromordinal(begin)) - before
    history = channels.history(channel, published_from=since, as_of=now)
    names = {spec.metric for spec in daily}
    source = Source(
        history,
        channels.counts_at_age(channel, ENGAGED_S) if names & set(ENGAGEMENT) else None,
        channels.mentions(channel) if names & {"citation_in", "citation_out"} else (),
    )
    return Reading(source, begin, last, channels, now)
