"""Counts what versions answered and how right they were, each row of the logs once, and keeps the sums."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from functools import cache

from actors.adaptive_learning.monitoring import quality, requests
from actors.adaptive_learning.monitoring.degradation import Sample, compare
from core.clock import DAY, Clock
from core.errors import AnalyticBotError, InvalidInput
from core.schemas.health import Health
from core.schemas.monitoring import Degradation, VersionMetrics
from core.store.cursors import Cursors
from core.store.database import Database
from core.store.metrics_store import MetricStore, Point, Sum
from core.store.outcomes import OutcomeStore

ATTEMPTS, OUTCOMES = "monitoring:attempts", "monitoring:outcomes"
PAGE = 5000
#: Rise of the mean error, as a share of itself, that does not matter.
MARGIN = 0.10
_SUMS = (quality.ABS, quality.SQUARE, quality.COVERED)


class Monitoring:
    """Reads new rows of the prediction log and new outcomes when asked, and adds them to sums in time buckets.

    Sums and cursors are committed together; a cursor that somebody else moved meanwhile makes the page be read again.
    Nothing is kept in memory.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._points = MetricStore(database)
        self._outcomes = OutcomeStore(database)
        self._cursors = Cursors(database)
        self._lock = threading.Lock()

    def summary(self, model: str, version: int) -> VersionMetrics:
        """Requests, errors, latency (within 2.5 %) and quality of a version since it began to answer.

        A version that never answered has zeros and no figures.
        """
        self.catch_up()
        totals = self._points.totals(model, version)
        return VersionMetrics(
            model=model,
            version=version,
            requests=requests.count(totals, requests.REQUESTS),
            errors=requests.count(totals, requests.ERRORS),
            latency_ms_p50=requests.latency_quantile(totals, 0.5),
            latency_ms_p95=requests.latency_quantile(totals, 0.95),
            matured=requests.count(totals, quality.MATURED),
            quality=quality.quality_of(totals),
        )

    def degradation(self, model: str, version: int, recent_days: int = 7) -> tuple[Degradation, ...]:
        """Mean |log error| and coverage of the recent days against all days before, by target and known age.

        Slices with too few outcomes on either side say so. InvalidInput unless recent_days is 1 or more.
        """
        if recent_days < 1:
            raise InvalidInput(f"recent_days must be 1 or more, not {recent_days}", field="recent_days")
        self.catch_up()
        since = (self._clock.now() // DAY - recent_days + 1) * DAY
        series = {metric: self._points.series(model, version, metric) for metric in _SUMS}
        found: list[Degradation] = []
        for segment in series[quality.ABS]:
            halves = {metric: _halves(series[metric][segment], since) for metric in _SUMS}
            errors = [
                Sample.of_sums(values.n, values.total, squares.total)
                for values, squares in zip(halves[quality.ABS], halves[quality.SQUARE], strict=True)
            ]
            # A hit is 0 or 1, so its square is itself.
            hits = [Sample.of_sums(values.n, values.total, values.total) for values in halves[quality.COVERED]]
            found.append(compare("mae_log", segment, errors[0], errors[1], MARGIN))
            found.append(compare("coverage", segment, hits[0], hits[1], MARGIN))
        return tuple(found)

    def catch_up(self) -> int:
        """Count the rows written since the last time; returns how many."""
        with self._lock:
            return _all(self._attempts) + _all(self._joined)

    def health(self) -> Health:
        """Count what is new."""
        try:
            rows = self.catch_up()
        except AnalyticBotError as error:
            return Health("monitoring", "broken", str(error), os.getpid())
        details = {"attempts": self._cursors.at(ATTEMPTS), "outcomes": self._cursors.at(OUTCOMES)}
        return Health("monitoring", "ok", f"counted {rows} new rows", os.getpid(), details)

    def _attempts(self) -> int:
        begun = self._cursors.at(ATTEMPTS)
        rows = self._points.attempts(begun, PAGE)
        if rows:
            canary_of = cache(self._points.canary_of)
            self._commit(ATTEMPTS, begun, rows[-1].seq, requests.sums_of(rows, canary_of))
        return len(rows)

    def _joined(self) -> int:
        begun = self._cursors.at(OUTCOMES)
        rows, last = self._outcomes.after(begun, PAGE)
        if rows:
            self._commit(OUTCOMES, begun, last, quality.sums_of(rows))
        return len(rows)

    def _commit(self, cursor: str, begun: int, last: int, parts: Iterable[tuple[Point, Sum]]) -> None:
        sums: dict[Point, Sum] = {}
        for point, part in parts:
            before = sums.get(point, Sum(0, 0.0))
            sums[point] = Sum(before.n + part.n, before.total + part.total)
        with self._database.write() as connection:
            if self._cursors.take(connection, cursor) == begun:  # else the rows were counted by somebody else
                self._points.add(connection, sums)
                self._cursors.move(connection, cursor, last)


def _all(page: Callable[[], int]) -> int:
    rows = 0
    while got := page():
        rows += got
    return rows


def _halves(buckets: dict[int, Sum], since: int) -> tuple[Sum, Sum]:
    def of(chosen: list[Sum]) -> Sum:
        return Sum(sum(s.n for s in chosen), sum(s.total for s in chosen))

    return of([s for at, s in buckets.items() if at < since]), of([s for at, s in buckets.items() if at >= since])
