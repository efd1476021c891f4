"""The analytics service: reads a channel once a data version, and answers from the cache until data arrives."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import numpy as np

from actors.analytics_fusion import ads as ads_
from actors.analytics_fusion import cohort as cohort_
from actors.analytics_fusion import comparison as comparison_
from actors.analytics_fusion import mix as mix_
from actors.analytics_fusion import overview as overview_
from actors.analytics_fusion import posts as posts_
from actors.analytics_fusion import quality as quality_
from actors.analytics_fusion import series as series_
from actors.analytics_fusion import status as status_
from actors.analytics_fusion import trend as trend_
from actors.analytics_fusion.competition import picture
from actors.analytics_fusion.competition.discovery import discover, with_topics
from actors.analytics_fusion.competition.topics import Topics
from actors.analytics_fusion.overview import Period
from actors.analytics_fusion.peers import Peers
from actors.analytics_fusion.reading import Reader
from actors.analytics_fusion.report import making
from actors.analytics_fusion.source import Counts
from core.buckets import day_start, local_date
from core.cache import Cache, CacheStats
from core.clock import DAY, HOUR, Clock
from core.errors import InsufficientData, InvalidInput
from core.history import ChannelHistory
from core.metrics import metric as metric_of
from core.schemas.analytics import DataStatus, Overview, PostCurve, PostRow, SeriesPoint
from core.schemas.channel_studies import (
    AdReport,
    BeforeAfter,
    ChannelComparison,
    Mix,
    Percentiles,
    Quality,
    Trend,
)
from core.schemas.channels import Channel
from core.schemas.competitors import Competition, Discovery, WatchList
from core.schemas.health import Health
from core.schemas.reports import ChannelReport, Report, ReportFormat, Series
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.events import Outbox
from core.store.levels import LevelStore
from core.store.watch_lists import WatchListStore

SERVICE = "analytics_fusion"
MOST_DAYS = 3650
COHORT_DAYS = 30  # period of the figures that peers are chosen and compared by
NEAREST = 5  # competitors where nobody says which
_EXCERPT = 120

T = TypeVar("T")


class Analytics:
    """Implements `core.protocols.AnalyticsService`; keeps nothing but caches, so any number may run side by side."""

    def __init__(self, database: Database, clock: Clock, tenant: str = "default", cache: Cache | None = None) -> None:
        self.database, self.clock, self.tenant = database, clock, tenant
        self.channels = ChannelStore(database, tenant)
        self.cache = Cache() if cache is None else cache
        self._reader = Reader(self.channels, Outbox(database, tenant))
        self._peers = Peers(self.channels, LevelStore(database, tenant), clock)
        self._topics = Topics(self.channels)
        self._lists = WatchListStore(database, tenant)

    def health(self) -> Health:
        """Read the list of channels and one channel's data version, as every question does."""
        found = self.channels.channels()
        version = self.channels.version(found[0].id) if found else None
        did = f"read {len(found)} channels" + (f" and the data version of {found[0].name} ({version})" if found else "")
        stats = self.cache.stats()
        details = {"channels": len(found), "cache_hit_rate": stats.hit_rate, "cached": stats.size}
        return Health(SERVICE, "ok", did, os.getpid(), details)

    def cache_stats(self) -> CacheStats:
        """Hits and misses of the answers kept, since this process began."""
        return self.cache.stats()

    def overview(self, channel: str, days: int = 30, until: int | None = None) -> Overview:
        """The last `days` complete days of the channel's zone that end by `until` (default: now), beside those before.

        NotFound for an unknown channel, InvalidInput for a length outside 1 to 3650 days.
        """
        _days(days)
        found = self.channels.channel(channel)
        period = _period(found.timezone, days, self._until(until))

        def compute() -> Overview:
            history, counts = self._data(found)
            return overview_.overview(history, counts, self.channels.mentions(found), period)

        return self._answer(Overview, found, f"overview:{period.before[0]}:{period.now[-1]}", compute)

    def posts(
        self, channel: str, limit: int = 20, order: str = "overperformance", age_h: int = 24
    ) -> tuple[PostRow, ...]:
        """Posts at equal age with the beginning of their text; order: overperformance, views, er, published_at."""
        found = self.channels.channel(channel)

        def compute() -> tuple[PostRow, ...]:
            rows = posts_.table(*self._data(found), limit, order, age_h)
            texts = self.channels.posts.texts(found, [row.post_id for row in rows])
            return tuple(replace(row, excerpt=_excerpt(texts.get(row.post_id))) for row in rows)

        return self._answer(tuple[PostRow, ...], found, f"posts:{limit}:{order}:{age_h}", compute)

    def series(self, channel: str, metric: str, bucket: str = "day") -> tuple[SeriesPoint, ...]:
        """A metric by hour, day, week or month in the channel's zone; None in buckets that nobody watched."""
        found = self.channels.channel(channel)

        def compute() -> tuple[SeriesPoint, ...]:
            return series_.series(*self._data(found), metric, bucket)

        return self._answer(tuple[SeriesPoint, ...], found, f"series:{metric}:{bucket}", compute)

    def data_status(self, channel: str) -> DataStatus:
        """What is there and what is missing."""
        found = self.channels.channel(channel)

        def compute() -> DataStatus:
            return status_.data_status(*self._data(found), self.channels.totals(found))

        return self._answer(DataStatus, found, "data_status", compute)

    def curve(self, channel: str, post_id: int) -> PostCurve:
        """Every reading of a post, and its views at fixed ages beside the channel's usual; NotFound."""
        found = self.channels.channel(channel)

        def compute() -> PostCurve:
            return posts_.curve(self._data(found)[0], post_id)

        return self._answer(PostCurve, found, f"curve:{post_id}", compute)

    def mix(self, channel: str, days: int = 90, until: int | None = None) -> Mix:
        """Kinds of posts, their shares, and what each does to views at 24 h."""
        found = self.channels.channel(channel)
        since, end = self._span(found, days, until)

        def compute() -> Mix:
            return mix_.mix(self._data(found)[0], since, end)

        return self._answer(Mix, found, f"mix:{since}:{end}", compute)

    def ads(self, channel: str, days: int = 90, until: int | None = None, price: float | None = None) -> AdReport:
        """Reach of ad-marked posts at 12, 24 and 48 h; cost per view where the price of a post is given."""
        found = self.channels.channel(channel)
        since, end = self._span(found, days, until)

        def compute() -> AdReport:
            return ads_.efficiency(self._data(found)[0], since, end, price)

        return self._answer(AdReport, found, f"ads:{since}:{end}:{price}", compute)

    def trend(self, channel: str, metric: str, days: int = 90, until: int | None = None) -> Trend:
        """Slope, trend test and change points of a metric's daily values."""
        found = self.channels.channel(channel)
        since, end = self._span(found, days, until)

        def compute() -> Trend:
            return trend_.trend(*self._data(found), metric, since, end)

        return self._answer(Trend, found, f"trend:{metric}:{since}:{end}", compute)

    def before_after(self, channel: str, metric: str, at: int, days: int = 28) -> BeforeAfter:
        """A metric's days before a moment beside as many from its day on."""
        found = self.channels.channel(channel)
        _days(days)

        def compute() -> BeforeAfter:
            return trend_.before_after(*self._data(found), metric, at, days)

        return self._answer(BeforeAfter, found, f"before_after:{metric}:{at}:{days}", compute)

    def quality(self, channel: str, days: int = 90, until: int | None = None) -> Quality:
        """Signs of bought subscribers or views with their figures; evidence, not a verdict."""
        found = self.channels.channel(channel)
        _days(days)
        edges = _period(found.timezone, days, self._until(until)).now

        def compute() -> Quality:
            own, others, _ = self._peers.members(found, COHORT_DAYS, self.overview)
            peers = [m.figures["vtr"] for m in cohort_.choose(own, others)[1] if "vtr" in m.figures]
            return quality_.quality(*self._data(found), self.channels.mentions(found), edges, peers)

        return self._together(Quality, f"quality:{found.id}:{edges[0]}:{edges[-1]}", compute)

    def percentiles(self, channel: str, days: int = 30) -> Percentiles:
        """The figures of the last `days` days among stored channels of the size and category."""
        found = self.channels.channel(channel)
        overview = self.overview(channel, days)

        def compute() -> Percentiles:
            own, others, notes = self._peers.members(found, days, self.overview)
            return cohort_.percentiles(overview, own, others, notes)

        return self._together(Percentiles, f"percentiles:{found.id}:{days}:{overview.until}", compute)

    def keep_levels(self, days: int, overviews: Sequence[tuple[Channel, Overview]]) -> None:
        """Store the figures of channels for the cohorts of `days` days; older figures never replace newer ones."""
        self._peers.keep(days, overviews)

    def compare(self, channels: Sequence[str], days: int = 30, until: int | None = None) -> ChannelComparison:
        """Channels side by side, each over its own last `days` days; between 2 and 20 of them."""
        wanted = tuple(dict.fromkeys(channels))
        if not 2 <= len(wanted) <= comparison_.MOST:
            raise InvalidInput(f"{len(wanted)} channels: between 2 and {comparison_.MOST}", field="channels")
        return comparison_.compare([self.overview(name, days, until) for name in wanted], days)

    # ---------------------------------------------------------------- competitors

    def watch_lists(self) -> tuple[WatchList, ...]:
        """All lists by name."""
        return self._lists.all()

    def watch_list(self, name: str) -> WatchList:
        """One list; NotFound."""
        return self._lists.get(name)

    def put_watch_list(self, name: str, channels: Sequence[str]) -> WatchList:
        """Make a list, or give it these channels; they need not be stored."""
        return self._lists.put(name, channels, self.clock.now())

    def remove_watch_list(self, name: str) -> None:
        """Take a list away."""
        self._lists.remove(name)

    def discover(self, channel: str, limit: int = 20) -> Discovery:
        """Channels that mentions lead to from a channel, which need not be stored, and stored ones of its topics."""
        if not 1 <= limit <= 200:
            raise InvalidInput(f"limit {limit}: between 1 and 200", field="limit")

        def compute() -> Discovery:
            stored = {each.name for each in self.channels.channels()}
            found = discover(channel, self.channels.all_mentions(), stored)
            try:
                found = with_topics(found, self._topics.alike(channel))
            except InsufficientData as gap:
                found = replace(found, notes=(*found.notes, gap.message))
            return replace(found, candidates=found.candidates[:limit])

        return self._together(Discovery, f"discover:{channel}:{limit}", compute)

    def competition(
        self,
        channel: str,
        others: Sequence[str] = (),
        watch_list: str | None = None,
        days: int = 30,
        until: int | None = None,
    ) -> Competition:
        """A channel beside others: those named, those of a watch list, or else the nearest in the graph of mentions.

        Channels that are not stored are left aside, and a note names them. NoData where no other one is stored.
        """
        found = self.channels.channel(channel)
        _days(days)
        end = self._until(until)
        wanted = list(others) + list(() if watch_list is None else self._lists.get(watch_list).channels)
        if not wanted:
            wanted = [each.channel for each in self.discover(channel, 50).candidates if each.stored][:NEAREST]

        def compute() -> Competition:
            return picture.competition(found, wanted, days, end, self)

        # A day of one of them ends on some quarter of an hour.
        asked = f"{','.join(wanted)}:{days}:{end // (HOUR // 4)}"
        return self._together(Competition, f"competition:{found.id}:{asked}", compute)

    # ---------------------------------------------------------------- reports

    def report(self, channel: str, format: ReportFormat, days: int = 30, until: int | None = None) -> Report:
        """The channel's numbers of a period as a file: json, csv, parquet, html, pdf or xlsx."""
        making.check(format)
        found = self.channels.channel(channel)
        overview = self.overview(channel, days, until)
        span = min(days * 3, MOST_DAYS)  # what is compared over time needs more than a month

        def drawn(metric: str) -> Series:
            since = overview.until - span * DAY
            points = tuple(p for p in self.series(channel, metric) if since <= p.ts < overview.until)
            return Series(metric, metric_of(metric).unit, points)

        whole = ChannelReport(
            channel=channel,
            timezone=found.timezone,
            made_at=self.clock.now(),
            overview=overview,
            status=self.data_status(channel),
            series=tuple(drawn(metric) for metric in making.DRAWN),
            trends=tuple(self.trend(channel, metric, span, overview.until) for metric in making.DRAWN),
            posts=self.posts(channel, making.POSTS),
            mix=self.mix(channel, span, overview.until),
            quality=self.quality(channel, span, overview.until),
        )
        return making.written(whole, format)

    # ---------------------------------------------------------------- parts

    def period(self, channel: Channel, days: int, until: int) -> Period:
        """The last `days` complete days of a channel's zone, and those before."""
        return _period(channel.timezone, days, until)

    def history(self, channel: Channel) -> ChannelHistory:
        """The channel's arrays."""
        return self._data(channel)[0]

    def _until(self, until: int | None) -> int:
        return self.clock.now() if until is None else until

    def _span(self, channel: Channel, days: int, until: int | None) -> tuple[int, int]:
        _days(days)
        edges = _period(channel.timezone, days, self._until(until)).now
        return int(edges[0]), int(edges[-1])

    def _answer(self, kind: type[T], channel: Channel, question: str, compute: Callable[[], T]) -> T:
        return self.cache.fetch(kind, f"{SERVICE}:{channel.id}:{question}", channel.data_version, compute)

    def _together(self, kind: type[T], question: str, compute: Callable[[], T]) -> T:
        """An answer that rests on all channels: it holds while none of them has new data."""
        versions = sum(channel.data_version for channel in self.channels.channels())
        return self.cache.fetch(kind, f"{SERVICE}:{self.tenant}:{question}", versions, compute)

    def _data(self, channel: Channel) -> tuple[ChannelHistory, Counts]:
        data = self._reader.data(channel)
        return data.history, data.counts


def _days(days: int) -> None:
    if not 1 <= days <= MOST_DAYS:
        raise InvalidInput(f"{days} days: between 1 and {MOST_DAYS}", field="days")


def _period(timezone: str, days: int, until: int) -> Period:
    last = local_date(timezone, until)
    edges = [day_start(timezone, last - timedelta(days=back)) for back in range(2 * days, -1, -1)]
    return Period(np.array(edges[: days + 1], dtype=np.int64), np.array(edges[days:], dtype=np.int64))


def _excerpt(text: str | None) -> str | None:
    if text is None:
        return None
    line = " ".join(text.split())
    return line if len(line) <= _EXCERPT else line[: _EXCERPT - 1].rstrip() + "…"
