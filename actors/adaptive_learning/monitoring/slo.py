"""Whether promises are kept: error budgets with burn rates over several windows, and bounds on what outcomes show.

Burn rate 1 spends the budget of the period exactly. A rule fires while the budget burns at least its factor too fast
over a long window (enough is spent to matter) and over a short one (it has not stopped): multiwindow, multi-burn-rate
alerts after Beyer et al., The Site Reliability Workbook (2018), ch. 5. Few events say nothing: one failure among ten
requests is no burn of 20.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from actors.adaptive_learning.monitoring.degradation import Sample
from actors.adaptive_learning.monitoring.requests import STEP
from core.clock import DAY, HOUR
from core.schemas.monitoring import AlertSeverity, BoundStatus, BurnRule, SloAlert, SloStatus
from core.store.metrics_store import Sum

Buckets = Mapping[int, Sum]  # n events, of which `total` were bad


@dataclass(frozen=True, slots=True)
class Window:
    """When a budget burns too fast, and whom that concerns."""

    severity: AlertSeverity
    factor: float
    long_s: int
    short_s: int


#: For a budget of 30 days: 2 % of it in an hour, 5 % in six, 10 % in three days.
WINDOWS = (
    Window("page", 14.4, HOUR, 5 * 60),
    Window("page", 6.0, 6 * HOUR, 30 * 60),
    Window("ticket", 1.0, 3 * DAY, 6 * HOUR),
)
#: Days of outcomes behind a verdict on a mean: enough of them, and whether it is still so.
LONG_DAYS, SHORT_DAYS = 14, 3
#: Outside bounds this many times as wide round their middle (one bound alone: this many times it) it is urgent.
URGENT = 2.0
_Z = 2.576  # 99 %


def judge_events(
    name: Literal["availability", "latency"],
    what: str,
    buckets: Buckets,
    objective: float,
    now: int,
    *,
    period_s: int,
    least: int,
) -> SloStatus:
    """An objective on single events. buckets: of STEP seconds; objective: share of good events, below 1.

    Windows are whole buckets, the one of `now` and those before: up to STEP longer than they say.
    """
    budget = 1.0 - objective
    whole = _within(buckets, now, period_s)
    left = 1.0 - whole.total / (whole.n * budget) if whole.n >= least else None
    return SloStatus(
        name=name,
        objective=objective,
        what=what,
        n=whole.n,
        bad=round(whole.total),
        figure=1.0 - whole.mean if whole.n else None,
        budget_left=left,
        needed=least,
        rules=tuple(_rule(window, buckets, budget, now, least) for window in WINDOWS),
    )


def judge_bounds(
    name: Literal["coverage", "error"],
    what: str,
    samples: tuple[Sample, Sample],
    bounds: tuple[float | None, float | None],
    least: int,
) -> BoundStatus:
    """An objective on a mean. samples: of the long and the short window; bounds: low and high, either may be None."""
    long, recent = samples
    intervals = [_share(s) if name == "coverage" else _mean(s) for s in samples]
    state: Literal["met", "page", "ticket", "insufficient"]
    if long.n < least or recent.n < least:
        state = "insufficient"
    elif all(_outside(interval, _widened(bounds)) for interval in intervals):
        state = "page"
    elif all(_outside(interval, bounds) for interval in intervals):
        state = "ticket"
    else:
        state = "met"
    low, high = intervals[0]
    return BoundStatus(
        name=name,
        low=bounds[0],
        high=bounds[1],
        what=what,
        n=long.n,
        recent_n=recent.n,
        figure=long.mean if long.n else None,
        figure_low=low if long.n else None,
        figure_high=high if long.n else None,
        needed=least,
        state=state,
    )


def alerts(events: Sequence[SloStatus], outcomes: Sequence[BoundStatus]) -> tuple[SloAlert, ...]:
    """What fires, pages first; for each objective only the most urgent rule, and of those the fastest burn."""
    found: list[SloAlert] = []
    for status in events:
        firing = [rule for rule in status.rules if rule.state == "firing"]
        if firing:
            found.append(SloAlert(status.name, firing[0].severity, burning(status, firing[0])))
    found += [SloAlert(b.name, b.state, missed(b)) for b in outcomes if b.state == "page" or b.state == "ticket"]
    return tuple(sorted(found, key=lambda alert: alert.severity != "page"))


def day_samples(values: Buckets, squares: Buckets, now: int) -> tuple[Sample, Sample]:
    """Values in daily buckets as samples of the long and of the short window, today included."""
    found = []
    for days in (LONG_DAYS, SHORT_DAYS):
        since = (now // DAY - days + 1) * DAY
        value, square = (_sum(s for at, s in b.items() if since <= at <= now) for b in (values, squares))
        found.append(Sample.of_sums(value.n, value.total, square.total))
    return found[0], found[1]


def _rule(window: Window, buckets: Buckets, budget: float, now: int, least: int) -> BurnRule:
    long, short = (_within(buckets, now, length) for length in (window.long_s, window.short_s))
    burns = [part.mean / budget if part.n else None for part in (long, short)]
    state: Literal["firing", "quiet", "insufficient"]
    if long.n < least or burns[0] is None:
        burns, state = [None, None], "insufficient"
    elif burns[0] < window.factor:
        state = "quiet"
    elif burns[1] is None:  # nobody asked lately: whether it has stopped is not known
        state = "insufficient"
    else:
        state = "firing" if burns[1] >= window.factor else "quiet"
    return BurnRule(
        window.severity, window.factor, window.long_s, window.short_s, long.n, short.n, burns[0], burns[1], state
    )


def _within(buckets: Buckets, now: int, length: int) -> Sum:
    since = now // STEP * STEP - length
    return _sum(part for at, part in buckets.items() if since <= at <= now)


def _sum(parts: Iterable[Sum]) -> Sum:
    n, total = 0, 0.0
    for part in parts:
        n, total = n + part.n, total + part.total
    return Sum(n, total)


def _share(sample: Sample) -> tuple[float, float]:
    """Wilson's interval, which stays inside 0..1 and has a width where all are hits."""
    if not sample.n:
        return 0.0, 1.0
    n, p, z2 = sample.n, sample.mean, _Z * _Z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return middle - half, middle + half


def _mean(sample: Sample) -> tuple[float, float]:
    if not sample.n:
        return -math.inf, math.inf
    half = _Z * math.sqrt(sample.variance / sample.n)
    return sample.mean - half, sample.mean + half


def _outside(interval: tuple[float, float], bounds: tuple[float | None, float | None]) -> bool:
    low, high = bounds
    return (low is not None and interval[1] < low) or (high is not None and interval[0] > high)


def _widened(bounds: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    low, high = bounds
    if low is None or high is None:
        return None if low is None else low / URGENT, None if high is None else high * URGENT
    middle, half = (low + high) / 2, (high - low) / 2
    return middle - URGENT * half, middle + URGENT * half


def burning(status: SloStatus, rule: BurnRule) -> str:
    """Why a rule fires, for a person."""
    left = "" if status.budget_left is None else f"; {status.budget_left:.0%} of the error budget left"
    return (
        f"{status.name}: the error budget burns {rule.long_burn:.1f} times too fast over {_span(rule.long_s)} and "
        f"{rule.short_burn:.1f} over {_span(rule.short_s)} ({rule.long_n} events){left}"
    )


def missed(bound: BoundStatus) -> str:
    """What a mean is, and what it should be."""
    bounds = " and ".join(
        f"{word} {value:g}" for word, value in (("at least", bound.low), ("at most", bound.high)) if value is not None
    )
    return (
        f"{bound.name} is {bound.figure:.3f} [{bound.figure_low:.3f}, {bound.figure_high:.3f}] over {LONG_DAYS} days "
        f"({bound.n} outcomes), and should be {bounds}"
    )


def _span(seconds: int) -> str:
    if seconds % DAY == 0:
        return f"{seconds // DAY} d"
    return f"{seconds // HOUR} h" if seconds >= HOUR else f"{seconds // 60} min"
