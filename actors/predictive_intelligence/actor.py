"""The service that looks ahead: reads a channel once a data version, answers from the cache, keeps what it has said."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import get_args

from cachetools import LRUCache

from actors.predictive_intelligence import forecasts, ledger, reading
from actors.predictive_intelligence.studies import SERVICE, Studies
from core.buckets import local_date
from core.cache import Cache
from core.clock import DAY, HOUR, Clock
from core.errors import InvalidInput
from core.protocols.intelligence import Foreteller
from core.schemas.channels import Channel
from core.schemas.forecasts import FORECAST_METRICS, HORIZONS_DAYS, MOST_DAYS, Forecast, ForecastMetric, Ledger
from core.schemas.health import Health
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.forecasts import ForecastStore
from training.forecasting import growth
from training.forecasting.growth import GrowthPool


class Intelligence(Studies):
    """Implements `core.protocols.IntelligenceService`; keeps nothing but caches, so any number may run side by side."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        tenant: str = "default",
        cache: Cache | None = None,
        calendar: Path | None = None,
        foreteller: Foreteller | None = None,
    ) -> None:
        kept = Cache() if cache is None else cache
        super().__init__(ChannelStore(database, tenant), clock, kept, calendar, foreteller)
        self.given = ForecastStore(database)
        self._pools: LRUCache[tuple[int, tuple[int, ...]], GrowthPool] = LRUCache(8)
        self._scored: LRUCache[int, tuple[int, int]] = LRUCache(4096)  # data version and hour of the last look
        self._lock = threading.Lock()

    def health(self) -> Health:
        """Read the list of channels, and which of them have forecasts that are due."""
        found, now = self.channels.channels(), self.clock.now()
        due = len(self.given.channels_due(now) & {channel.id for channel in found})
        did = f"read {len(found)} channels, {due} of them with forecasts that are due"
        return Health(SERVICE, "ok", did, os.getpid(), {"channels": len(found), "due": due})

    # ---------------------------------------------------------------- forecasts

    def forecast(self, channel: str, metric: ForecastMetric = "subscribers", days: int = 30) -> Forecast:
        """The days ahead of the last complete one, at HORIZONS_DAYS up to `days` and at `days` itself.

        The first forecast from a day is kept in the ledger and held to what comes. NotFound for an unknown channel,
        InvalidInput for an unknown metric or days outside 1 to 365, NoData and InsufficientData.
        """
        _check(metric)
        if not 1 <= days <= MOST_DAYS:
            raise InvalidInput(f"{days} days: between 1 and {MOST_DAYS}", field="days")
        horizons = tuple(sorted({days, *(h for h in HORIZONS_DAYS if h <= days)}))
        found, now = self.channels.channel(channel), self.clock.now()
        today = local_date(found.timezone, now)

        def compute() -> Forecast:
            history = self.channels.history(found)
            known = reading.daily(history, metric, now)
            if metric == "subscribers":
                until = min(now, int(history.subscriber_ts.max(initial=0)))
                said = forecasts.subscribers(found, known, horizons, self._pool(horizons, until))
            else:
                said = forecasts.views(found, known, horizons)
            self.given.add(found.id, said, now)  # before the answer can be kept: what is repeated has been stored
            return forecasts.dated(said, now)

        made = self._answer(Forecast, found, f"forecast:{metric}:{days}:{today}", compute)
        self._score(found, now)
        return replace(made, past=ledger.accuracy(self.given.entries(found.id, metric)))

    def ledger(self, channel: str, metric: ForecastMetric = "subscribers", limit: int = 100) -> Ledger:
        """Forecasts that were given, newest first, beside what came; points that are due are scored first."""
        _check(metric)
        if not 1 <= limit <= 1000:
            raise InvalidInput(f"limit {limit}: between 1 and 1000", field="limit")
        found, now = self.channels.channel(channel), self.clock.now()
        self._score(found, now)
        entries = self.given.entries(found.id, metric)
        unmeasured = sum(entry.scored_at is not None and entry.actual is None for entry in entries)
        pending = sum(entry.point.at > now for entry in entries)
        return Ledger(channel, metric, ledger.accuracy(entries), entries[:limit], pending, unmeasured)

    def score_due(self) -> int:
        """Hold all forecasts that are due to what came; returns how many points were settled."""
        now = self.clock.now()
        waiting = self.given.channels_due(now)
        return sum(self._score(channel, now) for channel in self.channels.channels() if channel.id in waiting)

    def _pool(self, horizons: tuple[int, ...], until: int) -> GrowthPool:
        """What the channels had shown about growth by a moment, learned once for each of its days."""
        with self._lock:
            key = (until // DAY, horizons)
            if key not in self._pools:
                self._pools[key] = growth.learn(reading.pool(self.channels, until), horizons)
            return self._pools[key]

    def _score(self, channel: Channel, now: int) -> int:
        """Points that wait for a measurement are looked at again when data came, and once an hour to give them up."""
        seen = (channel.data_version, now // HOUR)
        with self._lock:
            if self._scored.get(channel.id) == seen:
                return 0
        due = self.given.due(channel.id, now)
        settled = ledger.settled(self.channels.history(channel), due, now) if due else {}
        self.given.score(channel.id, settled, now)
        with self._lock:
            self._scored[channel.id] = seen
        return len(settled)


def _check(metric: str) -> None:
    if metric not in get_args(ForecastMetric):
        raise InvalidInput(f"no forecast of {metric!r}: use one of {', '.join(FORECAST_METRICS)}", field="metric")
