"""Requests, failures and latency of versions as sums and sketches by time and segment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product

from actors.adaptive_learning.monitoring import segments
from core.clock import DAY
from core.sketch import LatencySketch
from core.store.metrics_store import Attempt, Place, Point, Sum

REQUESTS, ERRORS = "requests", "errors"
#: As the asker met it: one for each request, total 1 where it got no answer.
UNSERVED = "unserved"
#: One for each answer, total 1 where it took longer than the objective.
SLOW = "slow"
#: The same for answers that another version gave first a try: their time is a request's, not a version's.
SLOW_RESCUED = "slow_rescued"
#: Seconds of a bucket of what objectives are judged by.
STEP = 300

CanaryOf = Callable[[str, int, int], int | None]


def sums_of(attempts: Iterable[Attempt], canary_of: CanaryOf, slow_ms: float) -> Iterator[tuple[Point, Sum]]:
    """What rows of the prediction log add to the stored sums: 5-minute buckets over all, daily ones of a segment."""
    for attempt in attempts:
        for version, arm, failed in executions(attempt, canary_of):
            yield from _counted(attempt, version, arm, failed=failed)
        if attempt.arm == "rescued" and not attempt.answered:
            continue
        bucket = attempt.at // STEP * STEP
        unserved = Point(attempt.model, attempt.version, segments.ALL, UNSERVED, bucket)
        yield unserved, Sum(1, float(not attempt.answered))
        if attempt.answered:
            metric = SLOW_RESCUED if attempt.arm == "rescued" else SLOW
            point = Point(attempt.model, attempt.version, slow_segment(slow_ms), metric, bucket)
            yield point, Sum(1, float(attempt.latency_ms > slow_ms))


def executions(attempt: Attempt, canary_of: CanaryOf) -> Iterator[tuple[int, str, bool]]:
    """The versions that an attempt asked: (version, arm, whether it failed).

    A rescued row is a request and a failure of the version on trial (`canary_of(model, epoch, stable)`), and a
    request of the version that helped out, unless that failed too: it then has a row of its own.
    """
    if attempt.arm == "rescued":
        canary = canary_of(attempt.model, attempt.epoch, attempt.version)
        if canary is not None:
            yield canary, "canary", True
        if not attempt.answered:
            return
    yield attempt.version, attempt.arm, not attempt.answered


def sketches_of(attempts: Iterable[Attempt]) -> dict[Place, LatencySketch]:
    """Latencies of answers, in daily buckets.

    A rescued answer is left out: most of its time is the failed attempt's.
    """
    found: dict[Place, LatencySketch] = {}
    for attempt in attempts:
        if not attempt.answered or attempt.arm == "rescued":
            continue
        parts = segments.of_request(attempt.arm, attempt.usual, attempt.known_age_h)
        for segment in (segments.ALL, *parts):
            place = Place(attempt.model, attempt.version, segment, attempt.at // DAY * DAY)
            found.setdefault(place, LatencySketch()).add(attempt.latency_ms)
    return found


def slow_segment(slow_ms: float) -> str:
    """Where answers slower than an objective are counted: another objective begins to count anew."""
    return f"{slow_ms:g}ms"


def count(totals: Mapping[tuple[str, str], Sum], metric: str, segment: str = segments.ALL) -> int:
    """Observations of a metric."""
    return totals[segment, metric].n if (segment, metric) in totals else 0


def _counted(attempt: Attempt, version: int, arm: str, *, failed: bool) -> Iterator[tuple[Point, Sum]]:
    of_row = "canary" if arm == "canary" else attempt.arm
    parts = segments.of_request(of_row, attempt.usual, attempt.known_age_h)
    for segment, width in ((segments.ALL, STEP), *product(parts, (DAY,))):
        at = attempt.at // width * width
        yield Point(attempt.model, version, segment, REQUESTS, at), Sum(1, 1.0)
        if failed:
            yield Point(attempt.model, version, segment, ERRORS, at), Sum(1, 1.0)
