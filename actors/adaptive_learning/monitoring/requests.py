"""Requests, failures and latency of versions as sums; quantiles from a histogram with a stated error."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

from core.clock import DAY, HOUR
from core.store.metrics_store import Attempt, Point, Sum

REQUESTS, ERRORS, LATENCY = "requests", "errors", "latency"
#: Width of a latency bin: a quantile is off by at most half of it, 2.5 %.
GROWTH = 1.05
_FASTEST_MS = 0.01

CanaryOf = Callable[[str, int, int], int | None]


def sums_of(attempts: Iterable[Attempt], canary_of: CanaryOf) -> Iterator[tuple[Point, Sum]]:
    """What rows of the prediction log add to the stored sums, in hourly (latency: daily) buckets.

    A rescued row is a request and a failure of the version on trial (`canary_of(model, epoch, stable)`), and a
    request of the version that helped out, unless that failed too: it then has a row of its own.
    """
    for attempt in attempts:
        hour = attempt.at // HOUR * HOUR
        if attempt.arm == "rescued":
            canary = canary_of(attempt.model, attempt.epoch, attempt.version)
            if canary is not None:
                yield Point(attempt.model, canary, "", REQUESTS, hour), Sum(1, 1.0)
                yield Point(attempt.model, canary, "", ERRORS, hour), Sum(1, 1.0)
            if not attempt.answered:
                continue
        yield Point(attempt.model, attempt.version, "", REQUESTS, hour), Sum(1, 1.0)
        if not attempt.answered:
            yield Point(attempt.model, attempt.version, "", ERRORS, hour), Sum(1, 1.0)
        elif attempt.arm != "rescued":  # whose time is mostly the failed attempt's
            bin_ = Point(attempt.model, attempt.version, _bin(attempt.latency_ms), LATENCY, attempt.at // DAY * DAY)
            yield bin_, Sum(1, attempt.latency_ms)


def count(totals: Mapping[tuple[str, str], Sum], metric: str) -> int:
    """Observations of a metric that has no segments."""
    return totals[("", metric)].n if ("", metric) in totals else 0


def latency_quantile(totals: Mapping[tuple[str, str], Sum], share: float) -> float | None:
    """Milliseconds that a share of the answers stayed below, within 2.5 %; None without answers."""
    bins = sorted((int(segment), found.n) for (segment, metric), found in totals.items() if metric == LATENCY)
    wanted = share * sum(n for _, n in bins)
    seen = 0
    for place, n in bins:
        seen += n
        if seen >= wanted:
            return _FASTEST_MS * math.pow(GROWTH, place + 0.5)
    return None


def _bin(latency_ms: float) -> str:
    return str(math.floor(math.log(max(latency_ms, _FASTEST_MS) / _FASTEST_MS) / math.log(GROWTH)))
