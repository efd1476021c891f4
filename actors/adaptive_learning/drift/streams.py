"""Which streams a version in service is followed by, and what each has shown so far.

errors   by target and known age, and by size of the answers within it (the groups of channels)
missed   outcomes outside their 80 % interval, by target and known age
failed   requests without an answer
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from actors.adaptive_learning.drift.residuals import ResidualDetector, parts_of, size_of
from actors.adaptive_learning.drift.shares import ShareDetector
from actors.adaptive_learning.monitoring.requests import CanaryOf, executions
from core.history import Floats
from core.schemas.monitoring import StreamDrift
from core.store.metrics_store import Attempt
from core.store.outcomes import JoinedOutcome
from training.reference import Reference

REQUESTS = "requests"
Versions = frozenset[tuple[str, int]]


@dataclass(frozen=True)
class Detectors:
    """Those of one version, by stream: errors, and shares (REQUESTS, or a target at an age)."""

    errors: Mapping[str, ResidualDetector] = field(default_factory=dict)
    shares: Mapping[str, ShareDetector] = field(default_factory=dict)


def holdout_streams(reference: Reference) -> dict[str, Floats]:
    """Holdout errors by stream, in order of publication; without ages they belong to none."""
    found: dict[str, Floats] = {}
    for target, errors in reference.residuals.items():
        ages = reference.ages.get(target)
        if ages is not None:
            found |= {_stream(target, int(age)): errors[ages == age] for age in np.unique(ages)}
    return found


def series(model: str, version: int, stream: str) -> str:
    """Name under which a stream's state is kept."""
    return f"{model}:{version}:{stream}"


def errors_of(page: Iterable[JoinedOutcome], followed: Versions) -> dict[str, list[JoinedOutcome]]:
    """Outcomes by series of errors: each in its whole stream and in that of its size."""
    found: dict[str, list[JoinedOutcome]] = {}
    for outcome in _foreseen(page, followed):
        name = _stream(outcome.target, outcome.known_age_h)
        for stream in (name, name + size_of(outcome.answer.q50)):
            found.setdefault(series(outcome.model, outcome.version, stream), []).append(outcome)
    return found


def misses_of(page: Iterable[JoinedOutcome], followed: Versions) -> dict[str, list[JoinedOutcome]]:
    """Outcomes by series of misses."""
    found: dict[str, list[JoinedOutcome]] = {}
    for outcome in _foreseen(page, followed):
        name = series(outcome.model, outcome.version, _stream(outcome.target, outcome.known_age_h))
        found.setdefault(name, []).append(outcome)
    return found


def failures_of(page: Iterable[Attempt], followed: Versions, canary_of: CanaryOf) -> dict[str, list[tuple[bool, int]]]:
    """(failed, at) of requests by series."""
    found: dict[str, list[tuple[bool, int]]] = {}
    for attempt in page:
        for version, _, failed in executions(attempt, canary_of):
            if (attempt.model, version) in followed:
                found.setdefault(series(attempt.model, version, REQUESTS), []).append((failed, attempt.at))
    return found


def feed_errors(detector: ResidualDetector, outcomes: Sequence[JoinedOutcome]) -> None:
    """Outcomes of one series."""
    detector.feed_many([o.log_error for o in outcomes], [o.known_at for o in outcomes], [*map(_post, outcomes)])


def feed_misses(detector: ShareDetector, outcomes: Sequence[JoinedOutcome]) -> None:
    """Outcomes of one series."""
    detector.feed_posts([not o.inside for o in outcomes], [o.known_at for o in outcomes], [*map(_post, outcomes)])


def shown(detectors: Detectors) -> tuple[StreamDrift, ...]:
    """Every stream: those with alarms first, the widest shift before the others."""
    found = [_of_errors(name, detector) for name, detector in detectors.errors.items()]
    found += [_of_share(name, detector) for name, detector in detectors.shares.items()]
    return tuple(sorted(found, key=lambda s: (-abs(s.effect or 0.0), s.watched, s.stream, s.group)))


def _of_errors(name: str, detector: ResidualDetector) -> StreamDrift:
    stream, group = parts_of(name)
    sums = detector.alarmed
    return StreamDrift(
        stream=stream,
        group=group,
        watched="errors",
        n=detector.n,
        needs=detector.needs,
        alarms=detector.alarms,
        kind=detector.kind,
        last_alarm_at=detector.last_alarm_at,
        onset_estimate=detector.onset,
        before=None if sums is None else sums.mean_before,
        after=None if sums is None else sums.mean_after,
        effect=None if sums is None else sums.effect,
    )


def _of_share(name: str, detector: ShareDetector) -> StreamDrift:
    return StreamDrift(
        stream=name,
        group="",
        watched=detector.watched,
        n=detector.n,
        needs=detector.needs,
        alarms=detector.alarms,
        kind="share" if detector.alarms else None,
        last_alarm_at=detector.last_alarm_at,
        onset_estimate=detector.onset,
        before=detector.before,
        after=detector.after,
        effect=detector.effect,
    )


def _foreseen(page: Iterable[JoinedOutcome], followed: Versions) -> Iterable[JoinedOutcome]:
    return (o for o in page if (o.model, o.version) in followed and o.foreseen)


def _post(outcome: JoinedOutcome) -> str:
    return f"{outcome.channel_id}/{outcome.post_id}"


def _stream(target: str, known_age_h: int) -> str:
    return f"{target}@{known_age_h}"
