"""Questions of time, links between channels, scenarios and context, over the store; answers kept by data version."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from actors.predictive_intelligence.context import Calendar, context, parsed
from actors.predictive_intelligence.cross_channel import LAGS, MOST_CHANNELS, cross_channel
from actors.predictive_intelligence.influence import influence
from actors.predictive_intelligence.mention_lift import mention_lifts
from actors.predictive_intelligence.scenarios import scenario
from actors.predictive_intelligence.seasonality import seasonality
from actors.predictive_intelligence.temporal import best_times
from core.buckets import day_start, local_date
from core.cache import Cache
from core.clock import DAY, Clock
from core.errors import InsufficientData, InvalidInput, NotConfigured, NotFound
from core.history import ChannelHistory
from core.protocols.intelligence import Foreteller
from core.schemas.channels import Channel
from core.schemas.links import CrossChannel, Influence, MentionLifts
from core.schemas.predictions import Quantiles, Target
from core.schemas.scenarios import PlannedPost, Scenario, ScenarioSpec
from core.schemas.timing import BestTimes, Context, Seasonality
from core.store.channels import ChannelStore

SERVICE = "predictive_intelligence"
MOST_DAYS = 3650
MOST_LISTED = 500

T = TypeVar("T")


class Studies:
    """The part of the domain that looks at what was, to say when, with whom, and what if.

    calendar: the configured file of days; foreteller: the model in service. Without one of them what needs it is
    NotConfigured.
    """

    def __init__(
        self,
        channels: ChannelStore,
        clock: Clock,
        cache: Cache,
        calendar: Path | None = None,
        foreteller: Foreteller | None = None,
    ) -> None:
        self.channels, self.clock, self.cache = channels, clock, cache
        self._calendar_file, self._foreteller = calendar, foreteller

    # ---------------------------------------------------------------- one channel

    def best_times(self, channel: str, days: int = 180) -> BestTimes:
        """What hour and weekday do to views at equal age, content held equal; NoData, InsufficientData."""
        found, since, until = self._span(channel, days)
        calendar, stamp = self._calendar()

        def compute() -> BestTimes:
            holidays = {day for event in calendar.events for day in event.days} if calendar else set()
            return best_times(self.channels.history(found), since, until, holidays)

        return self._answer(BestTimes, found, f"best_times:{since}:{until}:{stamp}", compute)

    def seasonality(self, channel: str, days: int = 180) -> Seasonality:
        """Daily and weekly rhythm of the views gained, and the half-life of posts; NoData."""
        found, since, until = self._span(channel, days)

        def compute() -> Seasonality:
            return seasonality(self.channels.history(found), since, until)

        return self._answer(Seasonality, found, f"seasonality:{since}:{until}", compute)

    def context(self, channel: str, days: int = 180) -> Context:
        """Factors of the configured calendar with their citations and measured effects; NotConfigured."""
        found, since, until = self._span(channel, days)
        calendar, stamp = self._calendar()

        def compute() -> Context:
            return context(self.channels.history(found), calendar, since, until)

        return self._answer(Context, found, f"context:{since}:{until}:{stamp}", compute)

    def scenario(
        self,
        channel: str,
        posts_per_day: float | None = None,
        hour: int | None = None,
        text_len: int | None = None,
        media: str | None = None,
    ) -> Scenario:
        """The channel's last 28 days planned anew, as they were and otherwise, foretold by the model in service.

        NotConfigured where no model can be asked, NoData, InsufficientData, InvalidInput.
        """
        if self._foreteller is None:
            raise NotConfigured("scenarios ask the model in service, and this process has none: start the application")
        foreteller = self._foreteller
        found = self.channels.channel(channel)
        history = self.channels.history(found)
        target: Target = "views_final" if history.single_reading else "views_24h"

        def predictor(posts: Sequence[PlannedPost]) -> Sequence[Quantiles]:
            return [answer[target] for answer in foreteller.foretell(channel, tuple(posts))]

        spec = ScenarioSpec(posts_per_day, hour, text_len, media)
        return scenario(history, spec, predictor, target, self.clock.now())

    # ---------------------------------------------------------------- channels together

    def cross_channel(
        self, metric: str = "net_growth", channels: Sequence[str] = (), days: int = 180, lags: int = LAGS
    ) -> CrossChannel:
        """Which channels' days follow which others', of those named or of all stored ones; InsufficientData."""
        _days(days)
        stored = {each.name: each for each in self.channels.channels()}
        names = tuple(dict.fromkeys(channels)) or tuple(sorted(stored))
        for name in names:
            if name not in stored:
                raise NotFound(f"no channel {name!r}: import its data, or see the list of channels", channel=name)
        if len(names) > MOST_CHANNELS:
            raise InvalidInput(f"{len(names)} channels: name at most {MOST_CHANNELS}", field="channels")
        until = day_start("UTC", local_date("UTC", self.clock.now()))

        def compute() -> CrossChannel:
            if len(names) < 2:
                raise InsufficientData("channels to compare", needed=2, have=len(names))
            # Growth needs no posts: the newest one is the least that a history can be read with.
            posts = 1 if metric == "net_growth" else None
            histories = [self.channels.history(stored[name], last_posts=posts) for name in names]
            return cross_channel(histories, metric, until - days * DAY, until, lags)

        return self._together(CrossChannel, f"cross:{metric}:{','.join(names)}:{days}:{lags}:{until}", compute)

    def influence(self, channel: str | None = None, limit: int = 100) -> Influence:
        """Who names whom, with the posts, and whom the graph of mentions leads to; NoData."""
        if not 1 <= limit <= MOST_LISTED:
            raise InvalidInput(f"limit {limit}: between 1 and {MOST_LISTED}", field="limit")

        def compute() -> Influence:
            stored = {each.name for each in self.channels.channels()}
            return influence(self.channels.all_mentions(), stored, channel, limit)

        return self._together(Influence, f"influence:{channel}:{limit}", compute)

    def mention_lift(self, channel: str | None = None) -> MentionLifts:
        """What mentions bring a stored channel (None: all of them), beside its other moments; NoData."""
        if channel is not None:
            self.channels.channel(channel)

        def compute() -> MentionLifts:
            mentions = self.channels.all_mentions()
            named = {m.target for m in mentions if channel in (None, m.target)}
            histories: dict[str, ChannelHistory] = {
                each.name: self.channels.history(each, last_posts=1)
                for each in self.channels.channels()
                if each.name in named
            }
            return mention_lifts(histories, mentions, channel)

        return self._together(MentionLifts, f"mention_lift:{channel}", compute)

    # ---------------------------------------------------------------- parts

    def _span(self, channel: str, days: int) -> tuple[Channel, int, int]:
        """The channel, and the last complete days of its zone."""
        _days(days)
        found = self.channels.channel(channel)
        until = day_start(found.timezone, local_date(found.timezone, self.clock.now()))
        return found, until - days * DAY, until

    def _calendar(self) -> tuple[Calendar | None, str]:
        """The configured calendar and what tells its versions apart."""
        file = self._calendar_file
        if file is None:
            return None, ""
        try:
            text, changed = file.read_text(encoding="utf-8-sig"), file.stat().st_mtime_ns
        except (OSError, UnicodeDecodeError) as error:
            raise NotConfigured(f"the calendar {file.name} cannot be read: {error}", field="calendar") from error
        return parsed(text, file.name), str(changed)

    def _answer(self, kind: type[T], channel: Channel, question: str, compute: Callable[[], T]) -> T:
        return self.cache.fetch(kind, f"{SERVICE}:{channel.id}:{question}", channel.data_version, compute)

    def _together(self, kind: type[T], question: str, compute: Callable[[], T]) -> T:
        """An answer that rests on all channels: it holds while none of them has new data."""
        versions = sum(channel.data_version for channel in self.channels.channels())
        return self.cache.fetch(kind, f"{SERVICE}:{self.channels.tenant}:{question}", versions, compute)


def _days(days: int) -> None:
    if not 1 <= days <= MOST_DAYS:
        raise InvalidInput(f"{days} days: between 1 and {MOST_DAYS}", field="days")
