"""Decides as other tools' published rules would: when each of them rolls a recorded trace back.

Written anew from documentation. Where a document gives an example rather than a default, the example is the rule;
beside it stands a quicker setting of the same rule, so that none is judged by slow settings alone. A rule returns the
second at which it rolls back, or None. All look at the canary alone, except those that say "compared".

flagger        docs.flagger.app, "How it works", "Metrics Analysis": every 60 s, success rate of the last minute >= 99 %
               and p99 <= 500 ms; no requests fail the check too; rolled back at the 5th failed check, whenever the
               others were (the documented examples have 5 and 10).
argo           argo-rollouts.readthedocs.io, "Analysis": interval 5 m, success rate >= .95, failed at the 3rd such
               measurement. No requests: inconclusive, which pauses and is not counted as a roll-back.
argo 1m        the same with interval 60 s, success rate >= .99 and p99 <= 500 ms.
kayenta        spinnaker.io, "How canary judgment works", and Argo's "Mann-Whitney Analysis": compared by step of 60 s,
               one judgement an hour; 98 % interval of the Hodges-Lehmann shift beyond 25 % of the estimate and a mean
               ratio above 1 make a metric "High"; groups errors and latency (p99), 50 each; below marginal (75): fail.
kayenta 10s    the same by steps of 10 s, the last 50 of them (the least number advised), judged every minute.
alarm          docs.aws.amazon.com/sagemaker, "Auto-Rollback Configuration and Monitoring": mean errors above 1 % in 2
               of 2 periods of 600 s, or mean latency above 100 ms in 2 of 2 of 300 s; missing data do not breach.
alarm 3/5      the same thresholds, 3 of the last 5 minutes ("M out of N", Amazon CloudWatch; Vertex AI alerts alike).
z peeked       two-proportion z-test, pooled (any textbook), on all requests so far at every tick, compared; p < .05
               two-sided, shared between errors and answers slower than stable's p99.
z corrected    the same once a minute, .05 shared among all looks that the trace has room for (Bonferroni).
labels so far  the labels that both versions have by now, stable's older ones among them, compared every minute by
               Welch's z, p < .05 two-sided: what a dashboard of "loss by version" shows.
labels cohort  the same of posts that were born since the canary came.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import norm

from bench._traces import EDGES_MS, MINUTE, Arm, Bools, Floats, Ints, Trace

Rule = Callable[[Trace], int | None]

_SLOWEST_MS = 500.0
_MEAN_MS = 100.0


def _first(times: Ints, hit: Bools) -> int | None:
    found = np.flatnonzero(hit)
    return int(times[found[0]]) if len(found) else None


def _windows(arm: Arm, name: str, seconds: int) -> tuple[Ints, Ints]:
    """Executions and events of consecutive windows; what is left over at the end is dropped."""
    whole = len(arm.n) // seconds * seconds
    shape = (-1, seconds)
    return arm.n[:whole].reshape(shape).sum(axis=1), arm.events[name][:whole].reshape(shape).sum(axis=1)


def _rate(n: Ints, events: Ints) -> Floats:
    """NaN where nothing was executed."""
    rate: Floats = np.divide(events, n, out=np.full(len(n), np.nan), where=n > 0)
    return rate


def quantile_ms(buckets: Ints, q: float) -> Floats:
    """A quantile of each row of histograms, log-linear within a bucket; NaN for an empty one."""
    edges = np.array([EDGES_MS[0] / 1.2, *EDGES_MS, EDGES_MS[-1] * 1.2])
    total, below = buckets.sum(axis=1), np.cumsum(buckets, axis=1)
    wanted = q * total
    place = (below < wanted[:, None]).sum(axis=1).clip(max=buckets.shape[1] - 1)
    rows = np.arange(len(buckets))
    inside = buckets[rows, place]
    part = np.divide(wanted - (below[rows, place] - inside), inside, out=np.zeros(len(rows)), where=inside > 0)
    found: Floats = edges[place] * (edges[place + 1] / edges[place]) ** part
    found[total == 0] = np.nan
    return found


def mean_ms(buckets: Ints) -> Floats:
    """The mean of each row of histograms, every bucket at its geometric middle; NaN for an empty one."""
    edges = np.array([EDGES_MS[0] / 1.2, *EDGES_MS, EDGES_MS[-1] * 1.2])
    total = buckets.sum(axis=1)
    weighed = buckets @ np.sqrt(edges[:-1] * edges[1:])
    mean: Floats = np.divide(weighed, total, out=np.full(len(total), np.nan), where=total > 0)
    return mean


def _merged(latency: Ints, minutes: int) -> Ints:
    whole = len(latency) // minutes * minutes
    merged: Ints = latency[:whole].reshape(-1, minutes, latency.shape[1]).sum(axis=1)
    return merged


def flagger(trace: Trace) -> int | None:
    """The fifth failed check."""
    bad_latency = ~(quantile_ms(trace.canary.latency, 0.99) <= _SLOWEST_MS)
    bad_errors = ~(_rate(*_windows(trace.canary, "errors", MINUTE)) <= 0.01)
    return _nth(bad_errors | bad_latency, 5, MINUTE)


def _nth(failed: Bools, n: int, interval: int) -> int | None:
    times = (np.arange(len(failed)) + 1) * interval
    return _first(times, np.cumsum(failed) >= n)


def argo(trace: Trace) -> int | None:
    """The third measurement below 95 %."""
    return _nth(_rate(*_windows(trace.canary, "errors", 5 * MINUTE)) > 0.05, 3, 5 * MINUTE)


def argo_1m(trace: Trace) -> int | None:
    """The third minute below 99 % or slower than 500 ms."""
    slow = quantile_ms(trace.canary.latency, 0.99) > _SLOWEST_MS
    return _nth((_rate(*_windows(trace.canary, "errors", MINUTE)) > 0.01) | slow, 3, MINUTE)


def alarm(trace: Trace) -> int | None:
    """Two periods one after the other."""
    errors = _rate(*_windows(trace.canary, "errors", 10 * MINUTE)) > 0.01
    slow = mean_ms(_merged(trace.canary.latency, 5)) > _MEAN_MS
    found = (_m_of_n(errors, 2, 2, 10 * MINUTE), _m_of_n(slow, 2, 2, 5 * MINUTE))
    return min((t for t in found if t is not None), default=None)


def alarm_3_of_5(trace: Trace) -> int | None:
    """Three of five minutes."""
    errors = _rate(*_windows(trace.canary, "errors", MINUTE)) > 0.01
    slow = mean_ms(trace.canary.latency) > _MEAN_MS
    found = (_m_of_n(errors, 3, 5, MINUTE), _m_of_n(slow, 3, 5, MINUTE))
    return min((t for t in found if t is not None), default=None)


def _m_of_n(breaching: Bools, m: int, n: int, period: int) -> int | None:
    total: Ints = np.concatenate((np.zeros(n, dtype=np.int64), np.cumsum(breaching)))
    return _first((np.arange(len(breaching)) + 1) * period, total[n:] - total[:-n] >= m)


_Z98 = float(norm.ppf(0.99))


def high(canary: Floats, stable: Floats) -> bool:
    """Whether the Mann-Whitney classifier calls the canary's series "High"; NaNs are removed first."""
    canary, stable = canary[~np.isnan(canary)], stable[~np.isnan(stable)]
    m, n = len(canary), len(stable)
    if m == 0 or n == 0:
        return False
    shifts = np.sort((canary[:, None] - stable[None, :]).ravel())
    rank = int(m * n / 2 - _Z98 * np.sqrt(m * n * (m + n + 1) / 12))
    if rank < 1 or shifts[rank - 1] <= 0.25 * abs(float(np.median(shifts))):
        return False
    return not stable.mean() > 0 or bool(canary.mean() / stable.mean() > 1.0)


def kayenta(trace: Trace) -> int | None:
    """One judgement an hour, by minutes."""
    latency = tuple(quantile_ms(arm.latency, 0.99) for arm in (trace.canary, trace.stable))
    errors = tuple(_rate(*_windows(arm, "errors", MINUTE)) for arm in (trace.canary, trace.stable))
    for end in range(MINUTE, len(errors[0]) + 1, MINUTE):
        begin = end - MINUTE
        if any(high(c[begin:end], s[begin:end]) for c, s in (errors, latency)):
            return end * MINUTE
    return None


def kayenta_10s(trace: Trace) -> int | None:
    """Fifty steps of ten seconds, judged every minute; latency by the minutes among them."""
    latency = tuple(quantile_ms(arm.latency, 0.99) for arm in (trace.canary, trace.stable))
    errors = tuple(_rate(*_windows(arm, "errors", 10)) for arm in (trace.canary, trace.stable))
    for end in range(9, trace.ticks // MINUTE + 1):
        steps = slice(end * 6 - 50, end * 6)
        minutes = slice(max(0, end - 50), end)
        if high(errors[0][steps], errors[1][steps]) or high(latency[0][minutes], latency[1][minutes]):
            return end * MINUTE
    return None


def _z(trace: Trace, name: str, at: Ints) -> Floats:
    """The pooled z at some ticks, on everything before them; -inf where it is not defined."""
    n_c, n_s = np.cumsum(trace.canary.n)[at], np.cumsum(trace.stable.n)[at]
    e_c, e_s = np.cumsum(trace.canary.events[name])[at], np.cumsum(trace.stable.events[name])[at]
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = (e_c + e_s) / (n_c + n_s)
        z = (e_c / n_c - e_s / n_s) / np.sqrt(pooled * (1 - pooled) * (1 / n_c + 1 / n_s))
    return np.where(np.isfinite(z), z, -np.inf)


def _z_test(trace: Trace, every: int, alpha: float) -> int | None:
    at = np.arange(every, trace.ticks + 1, every) - 1
    z = np.maximum(_z(trace, "errors", at), _z(trace, "slow_p99", at))
    return _first(at + 1, z > norm.ppf(1 - alpha / 4))


def z_peeked(trace: Trace) -> int | None:
    """Every tick at .05."""
    return _z_test(trace, 1, 0.05)


def z_corrected(trace: Trace) -> int | None:
    """Every minute at .05 shared among all looks."""
    return _z_test(trace, MINUTE, 0.05 / max(1, trace.ticks // MINUTE))


def labels_so_far(trace: Trace) -> int | None:
    """All labels that are there."""
    return _welch(trace, since=None)


def labels_cohort(trace: Trace) -> int | None:
    """Labels of posts of the same period."""
    return _welch(trace, since=0)


def _welch(trace: Trace, since: int | None) -> int | None:
    kept = [label for label in trace.labels if since is None or label.born >= since]
    tick = np.array([label.tick for label in kept])
    loss, canary = np.array([label.loss for label in kept]), np.array([label.canary for label in kept], dtype=bool)
    at = np.arange(MINUTE, trace.ticks + 1, MINUTE)
    upto = np.searchsorted(tick, at)
    means, errors, counts = [], [], []
    for arm in (canary, ~canary):
        n, total, squares = (np.append(0, np.cumsum(arm * x))[upto] for x in (np.ones(len(loss)), loss, loss**2))
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = total / n
            errors.append((squares / n - mean**2) / (n - 1))
        means.append(mean)
        counts.append(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (means[0] - means[1]) / np.sqrt(errors[0] + errors[1])
    # Fewer than ten labels of a version are no sample that a normal approximation is used for.
    return _first(at, (np.minimum(counts[0], counts[1]) >= 10) & (z > norm.ppf(0.975)))


COUNTING: dict[str, Rule] = {
    "flagger": flagger,
    "argo": argo,
    "argo 1m": argo_1m,
    "kayenta": kayenta,
    "kayenta 10s": kayenta_10s,
    "alarm": alarm,
    "alarm 3/5": alarm_3_of_5,
    "z peeked": z_peeked,
    "z corrected": z_corrected,
}
LABELLING: dict[str, Rule] = {"labels so far": labels_so_far, "labels cohort": labels_cohort}
