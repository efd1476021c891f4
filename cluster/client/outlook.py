"""When, with whom and what if: that part of both clients."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.client import outlook_calls
from cluster.client.transport import AsyncSender, Sender
from core.schemas.links import CrossChannel, Influence, MentionLifts
from core.schemas.scenarios import Scenario
from core.schemas.timing import BestTimes, Context, Seasonality


class ChannelOutlook:
    """Times, scenarios and mentions of one channel."""

    def __init__(self, send: Sender, name: str) -> None:
        self._send, self.name = send, name

    def best_times(self, days: int = 180) -> BestTimes:
        """What hour and weekday do to views; none is named where the time does nothing beyond chance."""
        return self._send(outlook_calls.best_times(self.name, days))

    def seasonality(self, days: int = 180) -> Seasonality:
        """Daily and weekly rhythm of views, and the half-life of posts."""
        return self._send(outlook_calls.seasonality(self.name, days))

    def context(self, days: int = 180) -> Context:
        """Factors of the configured calendar, each cited; NotConfigured without one."""
        return self._send(outlook_calls.context(self.name, days))

    def scenario(
        self,
        *,
        posts_per_day: float | None = None,
        hour: int | None = None,
        text_len: int | None = None,
        media: str | None = None,
    ) -> Scenario:
        """What would change if it published otherwise."""
        return self._send(outlook_calls.scenario(self.name, posts_per_day, hour, text_len, media))

    def influence(self, limit: int = 100) -> Influence:
        """Who names it and whom it names."""
        return self._send(outlook_calls.influence(self.name, limit))

    def mention_lift(self) -> MentionLifts:
        """Subscribers that each source's mentions bring, beside other moments."""
        return self._send(outlook_calls.mention_lift(self.name))


class Links:
    """What binds channels."""

    def __init__(self, send: Sender) -> None:
        self._send = send

    def cross_channel(
        self, metric: str = "net_growth", channels: Sequence[str] = (), days: int = 180, lags: int = 7
    ) -> CrossChannel:
        """Which channels' days follow which others', beyond chance; no channels: all stored ones."""
        return self._send(outlook_calls.cross_channel(metric, channels, days, lags))

    def influence(self, limit: int = 100) -> Influence:
        """The graph of mentions and its ranks."""
        return self._send(outlook_calls.influence(None, limit))

    def mention_lift(self) -> MentionLifts:
        """Mention lift of all links."""
        return self._send(outlook_calls.mention_lift(None))


class AsyncChannelOutlook:
    """Like ChannelOutlook; every method is awaited."""

    def __init__(self, send: AsyncSender, name: str) -> None:
        self._send, self.name = send, name

    async def best_times(self, days: int = 180) -> BestTimes:
        """What hour and weekday do to views; none is named where the time does nothing beyond chance."""
        return await self._send(outlook_calls.best_times(self.name, days))

    async def seasonality(self, days: int = 180) -> Seasonality:
        """Daily and weekly rhythm of views, and the half-life of posts."""
        return await self._send(outlook_calls.seasonality(self.name, days))

    async def context(self, days: int = 180) -> Context:
        """Factors of the configured calendar, each cited; NotConfigured without one."""
        return await self._send(outlook_calls.context(self.name, days))

    async def scenario(
        self,
        *,
        posts_per_day: float | None = None,
        hour: int | None = None,
        text_len: int | None = None,
        media: str | None = None,
    ) -> Scenario:
        """What would change if it published otherwise."""
        return await self._send(outlook_calls.scenario(self.name, posts_per_day, hour, text_len, media))

    async def influence(self, limit: int = 100) -> Influence:
        """Who names it and whom it names."""
        return await self._send(outlook_calls.influence(self.name, limit))

    async def mention_lift(self) -> MentionLifts:
        """Subscribers that each source's mentions bring, beside other moments."""
        return await self._send(outlook_calls.mention_lift(self.name))


class AsyncLinks:
    """Like Links; every method is awaited."""

    def __init__(self, send: AsyncSender) -> None:
        self._send = send

    async def cross_channel(
        self, metric: str = "net_growth", channels: Sequence[str] = (), days: int = 180, lags: int = 7
    ) -> CrossChannel:
        """Which channels' days follow which others', beyond chance; no channels: all stored ones."""
        return await self._send(outlook_calls.cross_channel(metric, channels, days, lags))

    async def influence(self, limit: int = 100) -> Influence:
        """The graph of mentions and its ranks."""
        return await self._send(outlook_calls.influence(None, limit))

    async def mention_lift(self) -> MentionLifts:
        """Mention lift of all links."""
        return await self._send(outlook_calls.mention_lift(None))
