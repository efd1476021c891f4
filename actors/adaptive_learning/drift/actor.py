"""Keeps the reference of each version, follows its errors, and reports what moved."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from actors.adaptive_learning.drift.batch.multivariate import LEAST_ROWS, Rows, compare_rows
from actors.adaptive_learning.drift.report import report
from actors.adaptive_learning.drift.residuals import SHARE, ResidualDetector, is_size, size_of
from actors.adaptive_learning.drift.univariate import FDR, compare, same_mix
from core.artifacts import ArtifactStore
from core.clock import Clock
from core.codec import from_json, to_json
from core.errors import AnalyticBotError, Broken, InsufficientData, NoData
from core.history import Floats
from core.protocols import VersioningService
from core.schemas.health import Health
from core.schemas.monitoring import DriftReport
from core.store.cursors import Cursors
from core.store.database import Database
from core.store.drift_reports import DriftReportStore
from core.store.ids import derived_id
from core.store.outcomes import JoinedOutcome, OutcomeStore
from core.store.predictions import PredictionLog
from core.store.references import ReferenceStore
from core.store.series import SeriesStates
from training.model import REFERENCE
from training.reference import Reference, from_arrow

SERVICE = "drift"
CURSOR = "drift:outcomes"
PAGE = 2000
#: Newest requests that are compared with the reference, and the fewest (also of reference rows) that are enough.
RECENT, LEAST = 1000, 100


class Drift:
    """Errors are followed from the moment that a version has a reference; outcomes joined before do not count.

    Detector states and the cursor over outcomes are committed together, so each outcome is fed once whoever dies.
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
        detectors = {name: ResidualDetector.started(errors) for name, errors in _streams(reference).items()}
        self.catch_up()  # what was joined until now happened before
        with self._lock, self._database.write() as connection:
            now = self._clock.now()
            if self._references.put(connection, model, version, len(reference.x), data, now):
                for name, detector in detectors.items():
                    self._states.save(connection, SERVICE, _series(model, version, name), to_json(detector), now)
        return len(reference.x)

    def catch_up(self) -> int:
        """Feed newly joined outcomes to the detectors; returns how many were new."""
        fed = 0
        with self._lock:
            while True:
                begun = self._cursors.at(CURSOR)
                page, last = self._outcomes.after(begun, PAGE)
                if not page:
                    return fed
                changed = self._fed(page)
                with self._database.write() as connection:
                    if self._cursors.take(connection, CURSOR) != begun:
                        continue  # somebody else fed them
                    now = self._clock.now()
                    for series, detector in sorted(changed.items()):
                        self._states.save(connection, SERVICE, series, to_json(detector), now)
                    self._cursors.move(connection, CURSOR, last)
                fed += len(page)

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
        detectors = self._detectors(model, version)
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
            detectors = {series: from_json(ResidualDetector, text) for series, text in stored.items()}
        except AnalyticBotError as error:
            return Health(SERVICE, "broken", str(error), os.getpid())
        details = {
            "outcomes_waiting": max(waiting, 0),
            "detectors": len(detectors),
            "still_learning": sum(d.needs > 0 for series, d in detectors.items() if not is_size(series)),
        }
        return Health(SERVICE, "ok", f"decoded {len(detectors)} detectors", os.getpid(), details)

    def _fed(self, page: tuple[JoinedOutcome, ...]) -> dict[str, ResidualDetector]:
        """Detectors that a page of outcomes changed, by series."""
        followed = set(self._references.versions())
        by_series: dict[str, list[JoinedOutcome]] = {}
        for outcome in page:
            if (outcome.model, outcome.version) not in followed or not outcome.foreseen:
                continue
            name = _stream(outcome.target, outcome.known_age_h)
            for stream in (name, name + size_of(outcome.answer.q50)):
                by_series.setdefault(_series(outcome.model, outcome.version, stream), []).append(outcome)
        stored = self._states.some(SERVICE, tuple(by_series))
        changed: dict[str, ResidualDetector] = {}
        for series, outcomes in by_series.items():
            text = stored.get(series)
            detector = ResidualDetector(rate=SHARE) if text is None else from_json(ResidualDetector, text)
            detector.feed_many(
                [outcome.log_error for outcome in outcomes],
                [outcome.known_at for outcome in outcomes],
                [f"{outcome.channel_id}/{outcome.post_id}" for outcome in outcomes],
            )
            changed[series] = detector
        return changed

    def _detectors(self, model: str, version: int) -> Mapping[str, ResidualDetector]:
        prefix = _series(model, version, "")
        stored = self._states.all(SERVICE)
        return {
            series.removeprefix(prefix): from_json(ResidualDetector, text)
            for series, text in stored.items()
            if series.startswith(prefix)
        }


def _streams(reference: Reference) -> dict[str, Floats]:
    """Holdout errors by stream, in order of publication; without ages they belong to none."""
    found: dict[str, Floats] = {}
    for target, errors in reference.residuals.items():
        ages = reference.ages.get(target)
        if ages is not None:
            found |= {_stream(target, int(age)): errors[ages == age] for age in np.unique(ages)}
    return found


def _rows(x: NDArray[np.float32]) -> Rows:
    return Rows(x.astype(np.float64), np.zeros((len(x), 0), dtype=object))


def _stream(target: str, known_age_h: int) -> str:
    return f"{target}@{known_age_h}"


def _series(model: str, version: int, stream: str) -> str:
    return f"{model}:{version}:{stream}"
