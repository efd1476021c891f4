"""Counts what versions answered and how right they were, each row of the logs once, and keeps the sums."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import chain

from actors.adaptive_learning.monitoring import inputs, quality, requests, segments, slo
from actors.adaptive_learning.monitoring.alerts import changes
from actors.adaptive_learning.monitoring.degradation import FLOORS, MARGIN, Sample, compare
from actors.adaptive_learning.monitoring.levels import levels_of
from actors.adaptive_learning.monitoring.summary import HOURS, summarised
from core.clock import DAY, HOUR, Clock
from core.errors import AnalyticBotError, InvalidInput
from core.schemas.health import Health
from core.schemas.monitoring import (
    AlertChange,
    BoundStatus,
    Degradation,
    SeriesLevels,
    SloReport,
    SloStatus,
    VersionMetrics,
)
from core.settings import SloSettings
from core.sketch import LatencySketch
from core.store.alerts import AlertLog
from core.store.cursors import Cursors
from core.store.database import Database
from core.store.metrics_store import MetricStore, Place, Point, Sum
from core.store.outcomes import OutcomeStore

ATTEMPTS, OUTCOMES = "monitoring:attempts", "monitoring:outcomes"
PAGE = 5000
_SUMS = (quality.ABS, quality.SQUARE, quality.COVERED)


class Monitoring:
    """Reads new rows of the prediction log and new outcomes when asked, and adds them to what it keeps by time bucket.

    Sums, sketches and cursors are committed together; a cursor that somebody else moved meanwhile makes the page be
    read again. Nothing is kept in memory.
    """

    def __init__(self, database: Database, clock: Clock, promised: SloSettings | None = None) -> None:
        self._database = database
        self._clock = clock
        self._points = MetricStore(database)
        self._outcomes = OutcomeStore(database)
        self._cursors = Cursors(database)
        self._alerts = AlertLog(database)
        self._lock = threading.Lock()
        self._promised = promised or SloSettings()

    def summary(self, model: str, version: int) -> VersionMetrics:
        """Requests, errors, latency (within 1 %), missing inputs and quality of a version since it began to answer.

        A version that never answered has zeros and no figures.
        """
        self.catch_up()
        now = self._clock.now()
        since = now // HOUR * HOUR - (HOURS - 1) * HOUR
        counted = (requests.REQUESTS, requests.ERRORS)
        recent = self._points.buckets(model, version, counted, since, segments.ALL)
        totals, sketches = self._points.totals(model, version), self._points.sketches(model, version)
        return summarised(model, version, totals, sketches, recent, now)

    def degradation(self, model: str, version: int, recent_days: int = 7) -> tuple[Degradation, ...]:
        """Errors, coverage, failures, slow answers and missing inputs of the recent days against all days before.

        Each in its own direction, with a severity where it got worse; mean |log error| and coverage by target and known
        age. Where there is too little on either side, that is said. InvalidInput unless recent_days is 1 or more.
        """
        if recent_days < 1:
            raise InvalidInput(f"recent_days must be 1 or more, not {recent_days}", field="recent_days")
        self.catch_up()
        since = (self._clock.now() // DAY - recent_days + 1) * DAY
        return (*self._outcomes_worse(model, version, since), *self._requests_worse(model, version, since))

    def levels(self, model: str, version: int | None = None) -> tuple[SeriesLevels, ...]:
        """When each figure changed, from what to what: errors, coverage and missing inputs by day, failures and slow
        answers by hour. version None: of the model, whichever version answered. A series too short says so.
        """
        self.catch_up()
        figures = (("mae_log", quality.ABS), ("coverage", quality.COVERED))
        daily = [
            (name, segment, buckets)
            for name, metric in figures
            for segment, buckets in self._points.series(model, version, metric).items()
        ]
        rates = self._rates(model, version)
        found = [levels_of(*series, DAY) for series in daily]
        return (*found, *(levels_of(*series, DAY if series[0] == "missing_rate" else HOUR) for series in rates))

    def slo(self, model: str, version: int | None = None) -> SloReport:
        """Objectives, what is left of their error budgets, and alerts; what has too few events says so.

        version None: as askers met the model, whichever version answered; a request that a canary failed and the stable
        version answered was answered. A version's own: what it failed, whoever helped out.
        """
        self.catch_up()
        now = self._clock.now()
        events, outcomes = self._events(model, version, now), self._bounds(model, version, now)
        return SloReport(
            model, version, now, self._promised.period_days, events, outcomes, slo.alerts(events, outcomes)
        )

    def watch(self, model: str) -> tuple[AlertChange, ...]:
        """Judge the model's objectives and store which alerts began or ended since the last time; what was new."""
        report = self.slo(model)
        return self._alerts.settle(model, lambda open_alerts: changes(model, open_alerts, report))

    def alerts(self, model: str, limit: int = 50) -> tuple[AlertChange, ...]:
        """Alerts that began or ended, newest first; InvalidInput unless limit is 1 or more."""
        if limit < 1:
            raise InvalidInput(f"limit must be 1 or more, not {limit}", field="limit")
        return self._alerts.latest(model, limit)

    def _outcomes_worse(self, model: str, version: int, since: int) -> list[Degradation]:
        series = {metric: self._points.series(model, version, metric) for metric in _SUMS}
        found: list[Degradation] = []
        for segment in series[quality.ABS]:
            halves = {metric: _halves(series[metric][segment], since) for metric in _SUMS}
            errors = [
                Sample.of_sums(values.n, values.total, squares.total)
                for values, squares in zip(halves[quality.ABS], halves[quality.SQUARE], strict=True)
            ]
            found.append(compare("mae_log", segment, errors[0], errors[1], MARGIN))
            hits = [_shares(values) for values in halves[quality.COVERED]]
            found.append(compare("coverage", segment, hits[0], hits[1], MARGIN))
        return found

    def _requests_worse(self, model: str, version: int, since: int) -> list[Degradation]:
        found = []
        for metric, segment, buckets in self._rates(model, version):
            before, now = (_shares(half) for half in _halves(buckets, since))
            found.append(compare(metric, segment, before, now, MARGIN, FLOORS[metric]))
        return found

    def _rates(self, model: str, version: int | None) -> list[tuple[str, str, Mapping[int, Sum]]]:
        """Shares of requests: (metric, segment, buckets)."""
        asked = self._points.series(model, version, requests.REQUESTS).get(segments.ALL, {})
        failed = self._points.series(model, version, requests.ERRORS).get(segments.ALL, {})
        rates: list[tuple[str, str, Mapping[int, Sum]]] = []
        if asked:
            rates.append(("error_rate", segments.ALL, _failing(asked, failed)))
        slow = self._points.series(model, version, requests.SLOW).get(self._slow)
        if slow:
            rates.append(("slow_rate", segments.ALL, slow))
        missing = self._points.series(model, version, inputs.MISSING)
        rates += [("missing_rate", name, of) for name, of in missing.items() if any(s.total for s in of.values())]
        return rates

    def _events(self, model: str, version: int | None, now: int) -> tuple[SloStatus, ...]:
        promised = self._promised
        period_s = promised.period_days * DAY
        since = now - max(period_s, slo.WINDOWS[-1].long_s) - requests.STEP
        if version is None:
            served = self._points.buckets(model, None, (requests.UNSERVED,), since, segments.ALL)[requests.UNSERVED]
        else:
            counted = (requests.REQUESTS, requests.ERRORS)
            parts = self._points.buckets(model, version, counted, since, segments.ALL)
            served = _failing(parts[requests.REQUESTS], parts[requests.ERRORS])
        timed = (requests.SLOW, requests.SLOW_RESCUED) if version is None else (requests.SLOW,)
        slow = _added(self._points.buckets(model, version, timed, since, self._slow).values())
        rest = {"period_s": period_s, "least": promised.least}
        answered, fast = "the request got an answer", f"the answer took at most {promised.latency_ms:g} ms"
        return (
            slo.judge_events("availability", answered, served, promised.availability, now, **rest),
            slo.judge_events("latency", fast, slow, promised.latency, now, **rest),
        )

    def _bounds(self, model: str, version: int | None, now: int) -> tuple[BoundStatus, ...]:
        promised = self._promised
        since = (now // DAY - slo.LONG_DAYS) * DAY
        days = self._points.buckets(model, version, _SUMS, since)
        hits = slo.day_samples(days[quality.COVERED], days[quality.COVERED], now)
        errors = slo.day_samples(days[quality.ABS], days[quality.SQUARE], now)
        inside, far = "share of outcomes inside the 80 % interval", "mean |log(measured) - log(predicted median)|"
        coverage = (promised.coverage_low, promised.coverage_high)
        return (
            slo.judge_bounds("coverage", inside, hits, coverage, promised.least),
            slo.judge_bounds("error", far, errors, (None, promised.error), promised.least),
        )

    @property
    def _slow(self) -> str:
        return requests.slow_segment(self._promised.latency_ms)

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
            canary_of, inputs_of = cache(self._points.canary_of), cache(self._points.inputs_of)
            sums = requests.sums_of(rows, canary_of, self._promised.latency_ms)
            parts = chain(sums, inputs.sums_of(rows, inputs_of))
            self._commit(ATTEMPTS, begun, rows[-1].seq, parts, requests.sketches_of(rows))
        return len(rows)

    def _joined(self) -> int:
        begun = self._cursors.at(OUTCOMES)
        rows, last = self._outcomes.after(begun, PAGE)
        if rows:
            self._commit(OUTCOMES, begun, last, quality.sums_of(rows), {})
        return len(rows)

    def _commit(
        self,
        cursor: str,
        begun: int,
        last: int,
        parts: Iterable[tuple[Point, Sum]],
        sketches: Mapping[Place, LatencySketch],
    ) -> None:
        sums: dict[Point, Sum] = {}
        for point, part in parts:
            before = sums.get(point, Sum(0, 0.0))
            sums[point] = Sum(before.n + part.n, before.total + part.total)
        with self._database.write() as connection:
            if self._cursors.take(connection, cursor) == begun:  # else the rows were counted by somebody else
                self._points.add(connection, sums)
                self._points.add_sketches(connection, sketches)
                self._cursors.move(connection, cursor, last)


def _all(page: Callable[[], int]) -> int:
    rows = 0
    while got := page():
        rows += got
    return rows


def _shares(part: Sum) -> Sample:
    """Of events that are 0 or 1, whose squares are themselves."""
    return Sample.of_sums(part.n, part.total, part.total)


def _failing(asked: Mapping[int, Sum], failed: Mapping[int, Sum]) -> dict[int, Sum]:
    return {at: Sum(part.n, float(failed[at].n if at in failed else 0)) for at, part in asked.items()}


def _added(parts: Iterable[Mapping[int, Sum]]) -> dict[int, Sum]:
    found: dict[int, Sum] = {}
    for buckets in parts:
        for at, part in buckets.items():
            before = found.get(at, Sum(0, 0.0))
            found[at] = Sum(before.n + part.n, before.total + part.total)
    return found


def _halves(buckets: Mapping[int, Sum], since: int) -> tuple[Sum, Sum]:
    def of(chosen: list[Sum]) -> Sum:
        return Sum(sum(s.n for s in chosen), sum(s.total for s in chosen))

    return of([s for at, s in buckets.items() if at < since]), of([s for at, s in buckets.items() if at >= since])
