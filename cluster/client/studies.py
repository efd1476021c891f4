"""The closer looks' part of both clients."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.client import study_calls
from cluster.client.transport import AsyncSender, Sender
from core.schemas.analytics import PostCurve
from core.schemas.channel_studies import AdReport, BeforeAfter, Mix, Percentiles, Quality, Trend
from core.schemas.competitors import Competition, Discovery, WatchList
from core.schemas.reports import ReportFormat


class ChannelStudies:
    """Closer looks at one channel."""

    def __init__(self, send: Sender, name: str) -> None:
        self._send, self.name = send, name

    def curve(self, post_id: int) -> PostCurve:
        """Every reading of a post, and its views at fixed ages beside the channel's usual; NotFound."""
        return self._send(study_calls.curve(self.name, post_id))

    def mix(self, days: int = 90, until: int | None = None) -> Mix:
        """Kinds of posts, and what each does to views at 24 h."""
        return self._send(study_calls.mix(self.name, days, until))

    def percentiles(self, days: int = 30) -> Percentiles:
        """Among comparable stored channels."""
        return self._send(study_calls.percentiles(self.name, days))

    def ads(self, days: int = 90, until: int | None = None, *, price: float | None = None) -> AdReport:
        """What ad-marked posts reach; costs where the price of a post is given. NoData where ads are not known."""
        return self._send(study_calls.ads(self.name, days, until, price))

    def quality(self, days: int = 90, until: int | None = None) -> Quality:
        """Signs of a bought audience with their figures; evidence, not a verdict."""
        return self._send(study_calls.quality(self.name, days, until))

    def trend(self, metric: str, days: int = 90, until: int | None = None) -> Trend:
        """Slope, trend test and changes of level of a metric's days."""
        return self._send(study_calls.trend(self.name, metric, days, until))

    def before_after(self, metric: str, at: int, days: int = 28) -> BeforeAfter:
        """A metric before and after a moment (epoch seconds)."""
        return self._send(study_calls.before_after(self.name, metric, at, days))

    def report(self, format: ReportFormat = "html", days: int = 30, until: int | None = None) -> bytes:
        """The channel's numbers as a file: html, pdf, xlsx, json, csv or parquet."""
        return self._send(study_calls.report(self.name, format, days, until))

    def competition(
        self, others: Sequence[str] = (), *, watch_list: str | None = None, days: int = 30, until: int | None = None
    ) -> Competition:
        """Beside others (those of a watch list, or the nearest): voice, cadence, figures, gaps."""
        return self._send(study_calls.competition(self.name, others, watch_list, days, until))

    def candidates(self, limit: int = 20) -> Discovery:
        """Channels near it in the graph of mentions."""
        return self._send(study_calls.candidates(self.name, limit))


class WatchLists:
    """Channels that somebody keeps an eye on."""

    def __init__(self, send: Sender) -> None:
        self._send = send

    def lists(self) -> tuple[WatchList, ...]:
        """All lists by name."""
        return self._send(study_calls.watch_lists())

    def get(self, name: str) -> WatchList:
        """One list; NotFound."""
        return self._send(study_calls.watch_list(name))

    def put(self, name: str, channels: Sequence[str]) -> WatchList:
        """Make a list, or give it these channels; they need not be stored."""
        return self._send(study_calls.put_watch_list(name, channels))

    def remove(self, name: str) -> None:
        """Take a list away; one that is not there is no error."""
        self._send(study_calls.remove_watch_list(name))


class AsyncChannelStudies:
    """Like ChannelStudies; every method is awaited."""

    def __init__(self, send: AsyncSender, name: str) -> None:
        self._send, self.name = send, name

    async def curve(self, post_id: int) -> PostCurve:
        """Every reading of a post, and its views at fixed ages beside the channel's usual; NotFound."""
        return await self._send(study_calls.curve(self.name, post_id))

    async def mix(self, days: int = 90, until: int | None = None) -> Mix:
        """Kinds of posts, and what each does to views at 24 h."""
        return await self._send(study_calls.mix(self.name, days, until))

    async def percentiles(self, days: int = 30) -> Percentiles:
        """Among comparable stored channels."""
        return await self._send(study_calls.percentiles(self.name, days))

    async def ads(self, days: int = 90, until: int | None = None, *, price: float | None = None) -> AdReport:
        """What ad-marked posts reach; costs where the price of a post is given. NoData where ads are not known."""
        return await self._send(study_calls.ads(self.name, days, until, price))

    async def quality(self, days: int = 90, until: int | None = None) -> Quality:
        """Signs of a bought audience with their figures; evidence, not a verdict."""
        return await self._send(study_calls.quality(self.name, days, until))

    async def trend(self, metric: str, days: int = 90, until: int | None = None) -> Trend:
        """Slope, trend test and changes of level of a metric's days."""
        return await self._send(study_calls.trend(self.name, metric, days, until))

    async def before_after(self, metric: str, at: int, days: int = 28) -> BeforeAfter:
        """A metric before and after a moment (epoch seconds)."""
        return await self._send(study_calls.before_after(self.name, metric, at, days))

    async def report(self, format: ReportFormat = "html", days: int = 30, until: int | None = None) -> bytes:
        """The channel's numbers as a file: html, pdf, xlsx, json, csv or parquet."""
        return await self._send(study_calls.report(self.name, format, days, until))

    async def competition(
        self, others: Sequence[str] = (), *, watch_list: str | None = None, days: int = 30, until: int | None = None
    ) -> Competition:
        """Beside others (those of a watch list, or the nearest): voice, cadence, figures, gaps."""
        return await self._send(study_calls.competition(self.name, others, watch_list, days, until))

    async def candidates(self, limit: int = 20) -> Discovery:
        """Channels near it in the graph of mentions."""
        return await self._send(study_calls.candidates(self.name, limit))


class AsyncWatchLists:
    """Like WatchLists; every method is awaited."""

    def __init__(self, send: AsyncSender) -> None:
        self._send = send

    async def lists(self) -> tuple[WatchList, ...]:
        """All lists by name."""
        return await self._send(study_calls.watch_lists())

    async def get(self, name: str) -> WatchList:
        """One list; NotFound."""
        return await self._send(study_calls.watch_list(name))

    async def put(self, name: str, channels: Sequence[str]) -> WatchList:
        """Make a list, or give it these channels; they need not be stored."""
        return await self._send(study_calls.put_watch_list(name, channels))

    async def remove(self, name: str) -> None:
        """Take a list away; one that is not there is no error."""
        await self._send(study_calls.remove_watch_list(name))
