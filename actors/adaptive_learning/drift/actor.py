"""Keeps the reference of each version, follows its errors, and reports what moved."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from actors.adaptive_learning.drift.batch.multivariate import LEAST_ROWS, Rows, compare_rows
from actors.adaptive_learning.drift.report import report
from actors.adaptive_learning.drift.residuals import SHARE, ResidualDetector, is_size
from actors.adaptive_learning.drift.shares import ShareDetector
from actors.adaptive_learning.drift.streams import (
    Detectors,
    errors_of,
    failures_of,
    feed_errors,
    feed_misses,
    holdout_streams,
    misses_of,
    series,
)
from actors.adaptive_learning.drift.univariate import FDR, compare, same_mix
from core.artifacts import ArtifactStore
from core.clock import Clock
from core.codec import from_json, to_json
from core.errors import AnalyticBotError, Broken, InsufficientData, NoData
from core.protocols import VersioningService
from core.schemas.health import Health
from core.schemas.monitoring import DriftReport
from core.store.cursors import Cursors
from core.store.database import Database
from core.store.drift_reports import DriftReportStore
from core.store.ids import derived_id
from core.store.metrics_store import Attempt, MetricStore
from core.store.outcomes import JoinedOutcome, OutcomeStore
from core.store.predictions import PredictionLog
from core.store.references import ReferenceStore
from core.store.series import SeriesStates
from training.layout import REFERENCE
from training.reference import from_arrow

SERVICE, SHARES = "drift", "drift:shares"
CURSOR, ATTEMPTS = "drift:outcomes", "drift:attempts"
PAGE = 2000
States = dict[tuple[str, str], str]  # by service and series, as JSON
T = TypeVar("T")
Row = TypeVar("Row")
#: Newest requests that are compared with the reference, and the fewest (also of reference rows) that are enough.
RECENT, LEAST = 1000, 100


class Drift:
    """Versions are followed from the moment that they have a reference; outcomes and requests before do not count.

    Detector states and the cursors over both logs are committed together, so each row is fed once whoever dies.
    Nothing is kept in memory.
    """

    def __init__(
        self, database: Database, artifacts: ArtifactStore, clock: Clock, versioning: VersioningService
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._clock = clock
        self._versioning = versioning
        self._references = ReferenceStore(database)
        self._reports = DriftReportStore(database)
        self._outcomes = OutcomeStore(database)
        self._predictions = PredictionLog(database)
        self._points = MetricStore(database)
        self._states = SeriesStates(database)
        self._cursors = Cursors(database)
        self._lock = threading.Lock()

    def set_reference(self, model: str, version: int) -> int:
        """Store the reference window of a version and start its detectors; returns the rows kept.

        Again for the same version changes nothing. NotFound (no such version), NoData (its artifact has no window).
        """
        stored = self._references.get(model, version)
        if stored is not None:
            return len(from_arrow(stored).x)
        data = self._artifacts.get(self._versioning.get(model, version).sha256).get(REFERENCE)
        if data is None:
            raise NoData(f"the artifact of {model} v{version} has no {REFERENCE}: train the model again")
        reference = from_arrow(data)
        detectors = {name: ResidualDetector.started(errors) for name, errors in holdout_streams(reference).items()}
        self.catch_up()  # what was joined until now happened before
        with self._lock, self._database.write() as connection:
            now = self._clock.now()
            if self._references.put(connection, model, version, len(reference.x), data, now):
                for name, detector in detectors.items():
                    self._states.save(connection, SERVICE, series(model, version, name), to_json(detector), now)
        return len(reference.x)

    def catch_up(self) -> int:
        """Feed newly joined outcomes and new requests to the detectors; returns how many outcomes were new."""
        with self._lock:
            self._pass(ATTEMPTS, self._asked, self._after_requests)
            return self._pass(CURSOR, lambda begun: self._outcomes.after(begun, PAGE), self._after_outcomes)

    def check(self, model: str, version: int) -> DriftReport:
        """Compare the newest requests with the reference, add what the errors say, and store the report.

        A report that says the same as the one before is not stored again: that one is returned. NoData without a
        reference, InsufficientData with fewer than LEAST rows on either side.
        """
        stored = self._references.get(model, version)
        if stored is None:
            raise NoData(f"{model} v{version} has no reference window: it gets one when it becomes champion")
        self.catch_up()
        reference = from_arrow(stored)
        recent = self._predictions.recent_features(model, version, RECENT)
        for rows, what in ((reference.x, "reference rows"), (recent, "recent requests")):
            if len(rows) < LEAST:
                raise InsufficientData(f"too few {what} of {model} v{version}", needed=LEAST, have=len(rows))
        if recent.shape[1] != len(reference.features):
            raise Broken(
                f"requests to {model} v{version} have {recent.shape[1]} features, its reference "
                f"{len(reference.features)}: the prediction log and the registry do not belong together"
            )
        ages = [i for i, name in enumerate(reference.features) if name.startswith("age_")]
        same = same_mix(reference.x, recent, ages)
        features = compare(reference.features, same, recent)
        together = None
        if min(len(same), len(recent)) >= LEAST_ROWS:
            seed = int(derived_id(model, version, "inputs")[:16], 16)  # the same rows give the same report
            p_values = np.array([feature.p_value for feature in features])
            sides = (_rows(same), _rows(recent))
            together = compare_rows(reference.features, *sides, p_values, FDR, np.random.default_rng(seed))
        sizes = (len(same), len(recent))
        detectors = Detectors(self._detectors(model, version), self._shares(model, version))
        made = report(model, version, self._clock.now(), sizes, features, detectors, together)
        before = self.latest(model, version)
        if before is not None and replace(made, at=before.at) == before:
            return before
        self._reports.put(made)
        return made

    def latest(self, model: str, version: int, before: int | None = None) -> DriftReport | None:
        """The last stored report, or the last one made before a moment."""
        return self._reports.latest(model, version, before)

    def health(self) -> Health:
        """Read the backlog and decode every detector's state."""
        try:
            waiting = self._outcomes.last() - self._cursors.at(CURSOR)
            stored = self._states.all(SERVICE)
            detectors = {name: from_json(ResidualDetector, text) for name, text in stored.items()}
            shares = [from_json(ShareDetector, text) for text in self._states.all(SHARES).values()]
        except AnalyticBotError as error:
            return Health(SERVICE, "broken", str(error), os.getpid())
        details = {
            "outcomes_waiting": max(waiting, 0),
            "detectors": len(detectors),
            "still_learning": sum(d.needs > 0 for name, d in detectors.items() if not is_size(name)),
            "shares": len(shares),
        }
        return Health(SERVICE, "ok", f"decoded {len(detectors)} detectors", os.getpid(), details)

    def _pass(
        self,
        cursor: str,
        read: Callable[[int], tuple[Sequence[Row], int]],
        fed: Callable[[Sequence[Row]], States],
    ) -> int:
        """Read a log to its end, page by page; how many rows."""
        rows = 0
        while True:
            begun = self._cursors.at(cursor)
            page, last = read(begun)
            if not page:
                return rows
            changed = fed(page)
            with self._database.write() as connection:
                if self._cursors.take(connection, cursor) != begun:
                    continue  # somebody else fed them
                now = self._clock.now()
                for (service, name), state in sorted(changed.items()):
                    self._states.save(connection, service, name, state, now)
                self._cursors.move(connection, cursor, last)
            rows += len(page)

    def _asked(self, begun: int) -> tuple[Sequence[Attempt], int]:
        page = self._points.attempts(begun, PAGE)
        return page, page[-1].seq if page else begun

    def _after_outcomes(self, page: Sequence[JoinedOutcome]) -> States:
        followed = frozenset(self._references.versions())
        misses = misses_of(page, followed)
        changed: States = {}
        for name, detector, part in self._stored(SERVICE, errors_of(page, followed), ResidualDetector):
            detector = detector or ResidualDetector(rate=SHARE)
            feed_errors(detector, part)
            changed[SERVICE, name] = to_json(detector)
        for name, share, part in self._stored(SHARES, misses, ShareDetector):
            share = share or ShareDetector("missed")
            feed_misses(share, part)
            changed[SHARES, name] = to_json(share)
        return changed

    def _after_requests(self, page: Sequence[Attempt]) -> States:
        followed = frozenset(self._references.versions())
        failures = failures_of(page, followed, cache(self._points.canary_of))
        changed: States = {}
        for name, share, part in self._stored(SHARES, failures, ShareDetector):
            share = share or ShareDetector("failed")
            share.feed_many([failed for failed, _ in part], [at for _, at in part])
            changed[SHARES, name] = to_json(share)
        return changed

    def _stored(self, service: str, parts: Mapping[str, Row], kind: type[T]) -> list[tuple[str, T | None, Row]]:
        """Series that a page belongs to, with their states so far."""
        states = self._states.some(service, tuple(parts))
        return [(name, from_json(kind, states[name]) if name in states else None, part) for name, part in parts.items()]

    def _detectors(self, model: str, version: int) -> Mapping[str, ResidualDetector]:
        return self._of_version(SERVICE, ResidualDetector, model, version)

    def _shares(self, model: str, version: int) -> Mapping[str, ShareDetector]:
        return self._of_version(SHARES, ShareDetector, model, version)

    def _of_version(self, service: str, kind: type[T], model: str, version: int) -> dict[str, T]:
        prefix = series(model, version, "")
        return {
            name.removeprefix(prefix): from_json(kind, text)
            for name, text in self._states.all(service).items()
            if name.startswith(prefix)
        }


def _rows(x: NDArray[np.float32]) -> Rows:
    return Rows(x.astype(np.float64), np.zeros((len(x), 0), dtype=object))
