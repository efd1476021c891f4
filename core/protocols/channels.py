"""What the channel domains offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from core.protocols.common import Consumer, Service
from core.schemas.analytics import AnomalyFinding, Circumstances, DataStatus, Overview, PostCurve, PostRow, SeriesPoint
from core.schemas.channel_studies import AdReport, BeforeAfter, ChannelComparison, Mix, Percentiles, Quality, Trend
from core.schemas.competitors import Competition, Discovery, WatchList
from core.schemas.reports import Report, ReportFormat


class AnalyticsService(Service, Protocol):
    """The numbers of a channel."""

    def overview(self, channel: str, days: int = 30, until: int | None = None) -> Overview:
        """A period against the equal period before it; figures without data say why."""
        ...

    def posts(
        self, channel: str, limit: int = 20, order: str = "overperformance", age_h: int = 24
    ) -> tuple[PostRow, ...]:
        """Posts at equal age; order: overperformance, views, er, published_at."""
        ...

    def series(self, channel: str, metric: str, bucket: str = "day") -> tuple[SeriesPoint, ...]:
        """A metric by hour, day, week or month in the channel's zone."""
        ...

    def data_status(self, channel: str) -> DataStatus:
        """What is there and what is missing."""
        ...

    def curve(self, channel: str, post_id: int) -> PostCurve:
        """A post's views by age, beside the channel's usual."""
        ...

    def mix(self, channel: str, days: int = 90, until: int | None = None) -> Mix:
        """Kinds of posts, and what each does to views."""
        ...

    def percentiles(self, channel: str, days: int = 30) -> Percentiles:
        """Among comparable stored channels."""
        ...

    def compare(self, channels: Sequence[str], days: int = 30, until: int | None = None) -> ChannelComparison:
        """Channels side by side."""
        ...

    def ads(self, channel: str, days: int = 90, until: int | None = None, price: float | None = None) -> AdReport:
        """Reach of ad-marked posts; costs where a price is given. NoData where ads or views are not known."""
        ...

    def quality(self, channel: str, days: int = 90, until: int | None = None) -> Quality:
        """Signs of a bought audience, as evidence."""
        ...

    def trend(self, channel: str, metric: str, days: int = 90, until: int | None = None) -> Trend:
        """Slope, trend test and change points of a metric."""
        ...

    def before_after(self, channel: str, metric: str, at: int, days: int = 28) -> BeforeAfter:
        """A metric before and after a moment."""
        ...

    def watch_lists(self) -> tuple[WatchList, ...]:
        """Lists of channels that somebody keeps an eye on."""
        ...

    def watch_list(self, name: str) -> WatchList:
        """One list; NotFound."""
        ...

    def put_watch_list(self, name: str, channels: Sequence[str]) -> WatchList:
        """Make a list, or give it these channels."""
        ...

    def remove_watch_list(self, name: str) -> None:
        """Take a list away; one that is not there is no error."""
        ...

    def discover(self, channel: str, limit: int = 20) -> Discovery:
        """Channels near a channel in the graph of mentions, and stored ones that write about the same."""
        ...

    def competition(
        self,
        channel: str,
        others: Sequence[str] = (),
        watch_list: str | None = None,
        days: int = 30,
        until: int | None = None,
    ) -> Competition:
        """A channel beside others: voice, cadence, figures, gaps. NoData where no other one is stored."""
        ...

    def report(self, channel: str, format: ReportFormat, days: int = 30, until: int | None = None) -> Report:
        """The channel's numbers as a file."""
        ...


class AnomalyService(Consumer, Protocol):
    """Finds, explains, grades and advises."""

    def catch_up(self) -> int:
        """Look at newly arrived days; returns the number of new findings."""
        ...

    def findings(self, channel: str | None = None, since: int | None = None) -> tuple[AnomalyFinding, ...]:
        """Stored findings, newest first; with causes and advice."""
        ...


class Narrator(Protocol):
    """Puts a finding into words. Nobody waits for it: where it fails, the plain words are taken, and it is said."""

    def narrate(self, finding: AnomalyFinding, circumstances: Circumstances) -> tuple[str, ...]:
        """Sentences about a finding that is complete but for them, the most important first."""
        ...
