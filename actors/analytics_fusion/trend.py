"""Where a daily series is heading, when it changed its level, and whether it differs before and after a moment.

Slope: Theil-Sen with Sen's interval. Trend test: Mann-Kendall with the variance of an effective sample (Yue & Wang
2004), the first autocorrelation corrected for its bias. Change points: PELT with squared error (Killick et al. 2012,
by `ruptures`) after the week's rhythm is taken out; of those, the ones whose shift a block bootstrap tells from 0.
Before and after: circular block bootstrap.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.random import Generator
from scipy import stats

from actors.analytics_fusion.series import values as series_values
from actors.analytics_fusion.source import Counts
from core import metrics
from core.buckets import local_date
from core.errors import InvalidInput
from core.history import ChannelHistory, Floats, Ints
from core.intervals import affordable, estimate, interval, lacking, resampled
from core.levels import running_median
from core.schemas.channel_studies import BeforeAfter, ChangePoint, Estimate, Trend

LEAST_DAYS = 14
LEAST_SEGMENT = 5  # days between change points
LEAST_SIDE = 7  # days before and after
DRAWS = 2000
_SEED = 20_013


def trend(history: ChannelHistory, counts: Counts, metric: str, since: int, until: int) -> Trend:
    """Slope, test and change points of a metric's daily values in [since, until)."""
    definition = metrics.metric(metric)
    days, values = _daily(history, counts, metric, since, until)
    known = ~np.isnan(values)
    n = int(known.sum())
    unit = definition.unit if definition.unit.endswith("/day") else f"{definition.unit}/day"
    nothing = lacking(n, f"needs {LEAST_DAYS} days with a value, has {n}")
    empty = Trend(
        history.channel.name, definition.name, unit, since, until, n, nothing, None, None, None, (), nothing.missing
    )
    if n < LEAST_DAYS:
        return empty
    x, y = np.flatnonzero(known).astype(float), values[known]
    slope, low, high = theil_sen(x, y)
    tau, p = mann_kendall(x, y, slope)
    direction: Literal["up", "down", "none"] = "none" if p > 0.05 or slope == 0 else "up" if slope > 0 else "down"
    notes = []
    levels, when = (y, days[known])
    if definition.name == "subscribers":
        levels, when = np.diff(y) / np.diff(x), when[1:]
        notes.append("change points are those of the daily growth: a count that grows has no level")
    if len(levels) < LEAST_DAYS:
        return empty
    weekday = np.array([local_date(history.channel.timezone, int(ts)).weekday() for ts in when])
    changes = change_points(when, levels, weekday, np.random.default_rng(_SEED))
    return replace(
        empty,
        slope=Estimate(slope, low, high, n),
        tau=tau,
        p=p,
        direction=direction,
        changes=changes,
        missing=None,
        notes=tuple(notes),
    )


def theil_sen(x: Floats, y: Floats) -> tuple[float, float, float]:
    """Median of all slopes between two points, and its 95 % interval."""
    slope, _, low, high = stats.theilslopes(y, x, alpha=0.95)
    return float(slope), float(low), float(high)


def mann_kendall(x: Floats, y: Floats, slope: float) -> tuple[float, float]:
    """Kendall's tau and the two-sided p of no trend; likeness from day to day (never the opposite) widens the variance.

    n of at least 5.
    """
    n = len(y)
    signs = np.sign(y[None, :] - y[:, None])[np.triu_indices(n, 1)]
    s = float(signs.sum())
    _, ties = np.unique(y, return_counts=True)
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    ranks = stats.rankdata(y - slope * x)
    ranks = ranks - ranks.mean()
    whole = float(ranks @ ranks)
    if whole > 0:
        # What is left after a trend was taken out looks less alike than it is: by about (2 + 4 rho) / n.
        rho = float(np.clip((n * (ranks[:-1] @ ranks[1:]) / whole + 2) / (n - 4), 0.0, 0.95))
        variance *= (1 + rho) / (1 - rho)
    if variance <= 0:
        return 0.0, 1.0
    z = (s - np.sign(s)) / np.sqrt(variance)
    return s / (n * (n - 1) / 2), float(2 * stats.norm.sf(abs(z)))


def change_points(at: Ints, y: Floats, weekday: Ints, rng: Generator) -> tuple[ChangePoint, ...]:
    """Days from which the level is another one, oldest first.

    at: start of each day. y: its value. weekday: 0 to 6. The penalty is 3 log n times the noise variance, raised
    for noise that is correlated from day to day.
    """
    import ruptures

    y = _without_week(y, weekday)
    noise = y - running_median(y, 7)
    sigma = float(stats.median_abs_deviation(noise, scale="normal"))
    if sigma == 0 or len(y) < 2 * LEAST_SEGMENT:
        return ()
    rho = float(np.clip(np.corrcoef(noise[:-1], noise[1:])[0, 1], 0, 0.9))
    penalty = 3 * np.log(len(y)) * (1 + rho) / (1 - rho)
    fitted = ruptures.KernelCPD(kernel="linear", min_size=LEAST_SEGMENT).fit((y / sigma)[:, None])
    cuts = [0, *fitted.predict(pen=penalty)]
    found = []
    for left, middle, right in zip(cuts[:-2], cuts[1:-1], cuts[2:], strict=True):
        before, after = y[left:middle], y[middle:right]
        moved = _difference(before, after, rng)
        if moved.low is not None and moved.high is not None and (moved.low > 0 or moved.high < 0):
            found.append(ChangePoint(int(at[middle]), float(before.mean()), float(after.mean()), moved))
    return tuple(found)


def before_after(history: ChannelHistory, counts: Counts, metric: str, at: int, days: int) -> BeforeAfter:
    """A metric's daily mean in the `days` days before a moment and in as many from its day on."""
    definition = metrics.metric(metric)
    edges, values = series_values(history, counts, metric, "day")
    middle = int(np.searchsorted(edges[:-1], at, side="right")) - 1
    if not len(values) or middle < 0 or at >= edges[-1]:
        raise InvalidInput(f"the moment {at} lies outside the channel's data", field="at")
    sides = values[max(0, middle - days) : middle], values[middle : middle + days]
    rng = np.random.default_rng(_SEED)
    one, two = (estimate(side, LEAST_SIDE, "days", rng) for side in sides)
    empty = BeforeAfter(
        history.channel.name, definition.name, definition.unit, int(edges[middle]), days, one, two, two, None, None
    )
    if one.value is None or two.value is None:
        why = "; ".join(f"{name}: {e.missing}" for name, e in (("before", one), ("after", two)) if e.missing)
        return replace(empty, difference=lacking(min(one.n, two.n), why), missing=why)
    before, after = (side[~np.isnan(side)] for side in sides)
    moved = _difference(before, after, rng)
    return replace(
        empty,
        difference=moved,
        relative=(two.value - one.value) / abs(one.value) if one.value else None,
        p=_p(before, after, rng),
        notes=("a difference in time has many possible causes: this says only that there is one",),
    )


def _daily(history: ChannelHistory, counts: Counts, metric: str, since: int, until: int) -> tuple[Ints, Floats]:
    edges, values = series_values(history, counts, metric, "day")
    inside = (edges[:-1] >= since) & (edges[1:] <= until)
    return edges[:-1][inside], values[inside]


def _without_week(y: Floats, weekday: Ints) -> Floats:
    """Values without the rhythm of the week, where four weeks show what it is."""
    if len(y) < 28:
        return y
    away = y - running_median(y, 7)
    rhythm = np.array([np.median(away[weekday == day]) if (weekday == day).any() else 0.0 for day in range(7)])
    return np.asarray(y - (rhythm - rhythm.mean())[weekday], dtype=float)


def _difference(before: Floats, after: Floats, rng: Generator) -> Estimate:
    draws = affordable(max(len(before), len(after)), "mean")
    drawn = resampled(after, "mean", rng, draws) - resampled(before, "mean", rng, draws)
    low, high = interval(drawn)
    return Estimate(float(after.mean() - before.mean()), low, high, len(before) + len(after))


def _p(before: Floats, after: Floats, rng: Generator) -> float:
    """Chance of a difference as large where both sides have the same mean."""
    seen = abs(after.mean() - before.mean())
    drawn = resampled(after - after.mean(), "mean", rng, DRAWS) - resampled(before - before.mean(), "mean", rng, DRAWS)
    return float((1 + np.count_nonzero(np.abs(drawn) >= seen)) / (1 + DRAWS))
