"""Puts the figures of a version together from its stored sums and sketches."""

from __future__ import annotations

from collections.abc import Mapping

from actors.adaptive_learning.monitoring import inputs, quality, requests, segments
from core.clock import HOUR
from core.schemas.monitoring import Hour, SegmentMetrics, VersionMetrics
from core.sketch import LatencySketch
from core.store.metrics_store import Sum

Totals = Mapping[tuple[str, str], Sum]
Sketches = Mapping[str, LatencySketch]
#: Hours of which the requests are told one by one.
HOURS = 24
_NONE = LatencySketch()


def summarised(
    model: str, version: int, totals: Totals, sketches: Sketches, recent: Mapping[str, Mapping[int, Sum]], now: int
) -> VersionMetrics:
    """All figures. recent: REQUESTS and ERRORS of at least the last HOURS hours, by metric and bucket."""
    latency = sketches.get(segments.ALL, _NONE)
    asked, failed = requests.count(totals, requests.REQUESTS), requests.count(totals, requests.ERRORS)
    hours = _hours(recent, asked, now) if asked else ()
    return VersionMetrics(
        model=model,
        version=version,
        requests=asked,
        errors=failed,
        latency_ms_p50=latency.quantile(0.5),
        latency_ms_p95=latency.quantile(0.95),
        matured=requests.count(totals, quality.MATURED),
        quality=quality.quality_of(totals),
        latency_ms_p99=latency.quantile(0.99),
        error_rate=failed / asked if asked else None,
        requests_per_hour=sum(hour.requests for hour in hours) / len(hours) if hours else None,
        hours=hours,
        segments=tuple(
            _segment(segment, totals, sketches)
            for segment, metric in sorted(totals)
            if metric == requests.REQUESTS and segment != segments.ALL
        ),
        missing=inputs.missing_of(totals),
    )


def _hours(recent: Mapping[str, Mapping[int, Sum]], of_all_time: int, now: int) -> tuple[Hour, ...]:
    """Requests hour by hour, quiet ones included, from the first of all on where that is among them."""
    asked, failed = (_by_hour(recent[metric]) for metric in (requests.REQUESTS, requests.ERRORS))
    last = now // HOUR * HOUR
    first = last - (HOURS - 1) * HOUR
    if sum(asked.values()) == of_all_time:
        first = max(first, min(asked))
    return tuple(Hour(at, asked.get(at, 0), failed.get(at, 0)) for at in range(first, last + HOUR, HOUR))


def _by_hour(buckets: Mapping[int, Sum]) -> dict[int, int]:
    found: dict[int, int] = {}
    for at, part in buckets.items():
        found[at // HOUR * HOUR] = found.get(at // HOUR * HOUR, 0) + part.n
    return found


def _segment(segment: str, totals: Totals, sketches: Sketches) -> SegmentMetrics:
    latency = sketches.get(segment, _NONE)
    error, covered = totals.get((segment, quality.PART_ABS)), totals.get((segment, quality.PART_COVERED))
    return SegmentMetrics(
        segment=segment,
        requests=requests.count(totals, requests.REQUESTS, segment),
        errors=requests.count(totals, requests.ERRORS, segment),
        latency_ms_p50=latency.quantile(0.5),
        latency_ms_p95=latency.quantile(0.95),
        outcomes=0 if error is None else error.n,
        mae_log=None if error is None else error.mean,
        coverage=None if covered is None else covered.mean,
    )
