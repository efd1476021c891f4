"""Which channels' days follow other channels' days: lagged correlation of what trend, week and own past leave.

Two series that rise, share a week or only change slowly correlate without having anything to do with each other. So
each one first loses what it owes to itself: a slow trend and the days of the week by least squares, then its own past
by an autoregression (prewhitening: Box & Jenkins; Haugh 1976). What is left enters as normal scores of its ranks, so
that no outlier decides. The largest correlation over all lags is judged against having looked at all of them (Sidak
1967), and all pairs together at a false discovery rate (Benjamini & Hochberg 1995).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from core import metrics
from core.buckets import edges, local_date
from core.clock import DAY
from core.errors import InsufficientData, InvalidInput
from core.history import ChannelHistory, Floats, Ints
from core.schemas.links import CrossChannel, LaggedLink, LeftOut

METRICS = ("net_growth", "views_gained")
LAGS = 7
LEAST_DAYS = 45
RATE = 0.05  # false discovery rate
MOST_CHANNELS = 200
_SLOWEST_DAYS = 42  # slower waves than this are trend
_MOST_ORDER = 7
_KNOWN = 0.8  # share of days that must be known
_OUTLIER = 3.0  # robust deviations at which a residual is cut
_ROUNDS = 8
ZONE = "UTC"  # days of one calendar for all


@dataclass(frozen=True, slots=True)
class Whitened:
    """A channel's days without trend, week and own past: normal scores, NaN where not known (d); and the freedom lost.

    used: parameters of trend and week, which a correlation has fewer days for.
    """

    channel: str
    values: Floats
    used: int


def cross_channel(
    histories: Sequence[ChannelHistory], metric: str, since: int, until: int, lags: int = LAGS, rate: float = RATE
) -> CrossChannel:
    """Every pair of channels in [since, until); InsufficientData where fewer than two have enough days.

    metric: net_growth or views_gained (a day's sum; its logarithm is compared). Days are those of UTC.
    """
    if metric not in METRICS:
        raise InvalidInput(f"{metric!r} is not compared between channels: use {' or '.join(METRICS)}", field="metric")
    if not 0 <= lags <= 14:
        raise InvalidInput(f"{lags} lags: between 0 and 14", field="lags")
    if len(histories) > MOST_CHANNELS:
        raise InvalidInput(f"{len(histories)} channels: at most {MOST_CHANNELS}", field="channels")
    days = edges(ZONE, "day", since, until)
    weekday = np.array([local_date(ZONE, int(day)).weekday() for day in days[:-1]])
    series, left_out = [], []
    for history in histories:
        found = whitened(history.channel.name, _daily(history, metric, days), weekday)
        if isinstance(found, LeftOut):
            left_out.append(found)
        else:
            series.append(found)
    if len(series) < 2:
        why = "; ".join(f"{each.channel}: {each.why}" for each in left_out[:3])
        raise InsufficientData(f"channels with {LEAST_DAYS} days of {metric}: {why}", needed=2, have=len(series))
    links, skipped = linked(series, lags, rate)
    notes = ["a link says that one channel's days follow another's; a common cause moves both as well"]
    if skipped:
        notes.append(f"{skipped} pairs share fewer than {LEAST_DAYS} days and were left out")
    return CrossChannel(
        metric,
        int(days[0]),
        int(days[-1]),
        lags,
        tuple(each.channel for each in series),
        len(links),
        rate,
        links,
        tuple(left_out),
        tuple(notes),
    )


def _daily(history: ChannelHistory, metric: str, days: Ints) -> Floats:
    if metric == "net_growth":
        return metrics.net_growth(history, days)
    gained = metrics.views_gained(history, days)
    return np.log(np.where(gained > 0, gained, np.nan))


def whitened(channel: str, values: Floats, weekday: NDArray[np.int64]) -> Whitened | LeftOut:
    """A daily series (d values, NaN where not known) without what it owes to itself, or why that cannot be had.

    weekday: d, from 0 to 6.
    """
    known = np.flatnonzero(~np.isnan(values))
    if len(known) < LEAST_DAYS:
        return LeftOut(channel, f"{len(known)} days known, {LEAST_DAYS} needed")
    first, last = int(known[0]), int(known[-1]) + 1
    part, there = values[first:last], ~np.isnan(values[first:last])
    if there.mean() < _KNOWN:
        return LeftOut(channel, f"only {there.mean():.0%} of its days are known")
    if stats.median_abs_deviation(part[there]) == 0:
        return LeftOut(channel, "more than half of its days are alike")
    design = _own(last - first, weekday[first:last])
    rest = np.full(last - first, np.nan)
    rest[there] = _cut(part[there] - design[there] @ _fitted(design[there], part[there]))
    result = np.full(len(values), np.nan)
    result[first:last] = _normal_scores(_innovations(rest))
    if np.isnan(result).all():
        return LeftOut(channel, "nothing is left beside trend, week and own past")
    return Whitened(channel, result, design.shape[1] - 1)


def _fitted(design: Floats, y: Floats) -> Floats:
    """Slopes by least squares of values whose residuals are cut (Huber's pseudo-values): no single day decides."""
    solve = np.linalg.pinv(design)
    low, high = np.quantile(y, [0.05, 0.95])
    slopes = np.asarray(solve @ np.clip(y, low, high), dtype=float)
    for _ in range(_ROUNDS):
        fit = design @ slopes
        slopes = np.asarray(solve @ (fit + _cut(y - fit)), dtype=float)
    return slopes


def _cut(values: Floats) -> Floats:
    most = _OUTLIER * float(stats.median_abs_deviation(values, scale="normal"))
    result: Floats = np.clip(values, -most, most) if most > 0 else values
    return result


def _own(days: int, weekday: NDArray[np.int64]) -> Floats:
    """Columns of what a series owes to itself: level, days of the week, waves slower than `_SLOWEST_DAYS`."""
    at = (np.arange(days) + 0.5) / days
    slow = [np.cos(np.pi * k * at) for k in range(1, max(1, 2 * days // _SLOWEST_DAYS) + 1)]
    week = [(weekday == day).astype(float) for day in range(6)]
    return np.stack([np.ones(days), *week, *slow], axis=1)


def _innovations(values: Floats) -> Floats:
    """What the past days do not foretell; order by the Bayesian criterion. NaN where a day or its past is not known."""
    filled = np.where(np.isnan(values), 0.0, values)  # the mean: only to have pairs of days for the fit
    columns = np.stack([np.concatenate([np.zeros(lag), filled[:-lag]]) for lag in range(1, _MOST_ORDER + 1)], axis=1)
    fitted = np.flatnonzero(~np.isnan(values))
    fitted = fitted[fitted >= _MOST_ORDER]
    y, past = filled[fitted], columns[fitted]
    best: tuple[float, Floats] = (np.inf, np.zeros(0))
    for order in range(_MOST_ORDER + 1):
        slopes = np.linalg.lstsq(past[:, :order], y, rcond=None)[0] if order else np.zeros(0)
        left = float(np.sum((y - past[:, :order] @ slopes) ** 2))
        criterion = len(y) * np.log(max(left, 1e-300) / len(y)) + order * np.log(len(y))
        if criterion < best[0]:
            best = criterion, slopes
    order = len(best[1])
    result = values - columns[:, :order] @ best[1]
    gap = np.isnan(values)
    for lag in range(1, order + 1):
        result[lag:][gap[:-lag]] = np.nan
    result[:order] = np.nan
    return result


def _normal_scores(values: Floats) -> Floats:
    known = ~np.isnan(values)
    result = np.full(len(values), np.nan)
    n = int(known.sum())
    if n == 0 or np.ptp(values[known]) == 0:
        return result
    scores = stats.norm.ppf((stats.rankdata(values[known]) - 0.5) / n)
    result[known] = scores / scores.std()
    return result


def linked(series: Sequence[Whitened], lags: int, rate: float) -> tuple[tuple[LaggedLink, ...], int]:
    """All pairs by their adjusted p, and how many share too few days."""
    one, two = np.triu_indices(len(series), 1)
    tested = _Lags.of(series, lags)
    enough = np.flatnonzero(tested.tried[one, two] > 0)
    one, two = one[enough], two[enough]
    if not len(one):
        return (), len(series) * (len(series) - 1) // 2
    lag = np.argmax(np.nan_to_num(tested.z[:, one, two], nan=-1.0), axis=0)
    r, error, days = (array[lag, one, two] for array in (tested.r, tested.error, tested.days))
    tried = tested.tried[one, two]
    smallest = 2 * stats.norm.sf(tested.z[lag, one, two])
    p = -np.expm1(tried * np.log1p(-np.minimum(smallest, 1 - 1e-12)))
    q = stats.false_discovery_control(p, method="bh")
    half = stats.norm.isf(0.025 / tried) * error
    low, high = np.tanh(np.arctanh(r) - half), np.tanh(np.arctanh(r) + half)
    found = []
    for k in range(len(one)):
        later = int(lag[k]) - lags
        pair = (one[k], two[k]) if later >= 0 else (two[k], one[k])
        found.append(
            LaggedLink(
                first=series[pair[0]].channel,
                second=series[pair[1]].channel,
                lag_days=abs(later),
                correlation=float(r[k]),
                low=float(low[k]),
                high=float(high[k]),
                days=int(days[k]),
                p=float(p[k]),
                q=float(q[k]),
                beyond_chance=bool(q[k] <= rate),
            )
        )
    skipped = len(series) * (len(series) - 1) // 2 - len(found)
    return tuple(sorted(found, key=lambda link: (link.q, link.p, link.first, link.second))), skipped


@dataclass(frozen=True, slots=True)
class _Lags:
    """Channel i against channel j some days later, for each lag from -L to L: (2 L + 1) x channels x channels.

    r: correlation. error: standard error of its Fisher transform, NaN with too few days. z: |transform| / error.
    tried: lags with enough days, channels x channels.
    """

    r: Floats
    error: Floats
    z: Floats
    days: Floats
    tried: Floats

    @classmethod
    def of(cls, series: Sequence[Whitened], lags: int) -> _Lags:
        values = np.stack([each.values for each in series])
        known = (~np.isnan(values)).astype(float)
        filled = np.nan_to_num(values)
        used = np.array([each.used for each in series], dtype=float)
        lost = np.maximum(used[:, None], used[None, :]) + 3
        wider = _wider(filled)
        shape = (2 * lags + 1, len(series), len(series))
        r, error, days = np.zeros(shape), np.full(shape, np.nan), np.zeros(shape)
        for k, lag in enumerate(range(-lags, lags + 1)):
            here, there = (
                (slice(None, -lag or None), slice(lag, None))
                if lag >= 0
                else (
                    slice(-lag, None),
                    slice(None, lag),
                )
            )
            n = known[:, here] @ known[:, there].T
            r[k] = _correlations(filled[:, here], known[:, here], filled[:, there], known[:, there], n)
            enough = n >= LEAST_DAYS - LAGS - _MOST_ORDER
            error[k][enough] = 1 / np.sqrt(np.maximum(n / wider - lost, 4.0))[enough]
            days[k] = n
        z = np.abs(np.arctanh(r)) / error
        return cls(r, error, z, days, (~np.isnan(error)).sum(axis=0).astype(float))


def _correlations(x: Floats, x_known: Floats, y: Floats, y_known: Floats, n: Floats) -> Floats:
    """Pearson's, over the n days that both know: channels x channels. 0 where one does not vary."""
    n = np.maximum(n, 1.0)
    sum_x, sum_y = x @ y_known.T, x_known @ y.T
    both = x @ y.T - sum_x * sum_y / n
    own = (x**2 @ y_known.T - sum_x**2 / n) * (x_known @ (y**2).T - sum_y**2 / n)
    r: Floats = np.divide(both, np.sqrt(np.maximum(own, 0)), out=np.zeros_like(both), where=own > 1e-9)
    return np.clip(r, -0.9999, 0.9999)


def _wider(filled: Floats) -> Floats:
    """By how much autocorrelation that is left in both widens a correlation's variance (Bartlett 1935); at least 1."""
    power = (filled**2).sum(axis=1)
    alike = np.stack([(filled[:, :-k] * filled[:, k:]).sum(axis=1) / power for k in range(1, _MOST_ORDER + 1)])
    return np.asarray(np.maximum(1.0, 1.0 + 2.0 * alike.T @ alike), dtype=float)


def common_days(histories: Sequence[ChannelHistory]) -> tuple[int, int] | None:
    """From the first to the last moment that anything was read of any channel; None without readings."""
    times = [ts for h in histories for ts in (h.subscriber_ts, h.reading_ts) if len(ts)]
    if not times:
        return None
    first, last = min(int(ts.min()) for ts in times), max(int(ts.max()) for ts in times)
    return (first, last) if last - first >= DAY else None
