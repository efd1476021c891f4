"""Whether a channel's views come in a daily or weekly rhythm, how strong it is, and how long its posts live.

Views gained per part of the day (or per day) lose their trend, a centred mean over one cycle, and are ranked within
each cycle: Friedman's statistic (Friedman 1937; as a test of seasonality Ollech & Webel 2020). Its p comes from
rotating every cycle by a random number of places: what neighbouring hours or days share stays, only the alignment of
the cycles is lost. Strength is 1 - Var(rest) / Var(rest + rhythm) (Wang, Smith & Hyndman 2006).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.random import Generator
from scipy import stats

from core import metrics
from core.accrual import usual_interval
from core.buckets import edges, local_date
from core.clock import DAY, HOUR
from core.errors import NoData
from core.history import ChannelHistory, Floats, Ints
from core.intervals import block_rows, estimate, interval
from core.schemas.timing import Cycle, CyclePoint, Seasonality

LEAST_WEEKS = 6
LEAST_DAYS = 14
LEAST_LIVES = 10  # posts with a known half-life
MOST_DAYS = 365
_PARTS_H = (1, 2, 4, 6)  # a part of the day is no shorter than the readings are apart
_SLACK = 1.1
_ROTATIONS = 1999
_DRAWS = 1000
_SEED = 20_042


def seasonality(history: ChannelHistory, since: int, until: int) -> Seasonality:
    """Rhythm of the views gained in [since, until), and the half-life of the posts published in it.

    NoData for a source whose views over time are not known. A rhythm that cannot be judged is missing with its reason.
    """
    name = history.channel.name
    if len(history.reading_ts) == 0 or history.single_reading or not history.reading_exact_time.any():
        raise NoData(f"{name}: views over time unavailable from this source", channel=name)
    times = history.reading_ts[history.reading_exact_time]
    until = min(until, int(times.max()) + 1)
    since = max(since, int(times.min()), until - MOST_DAYS * DAY)
    rng = np.random.default_rng(_SEED)
    inside = (history.published_at >= since) & (history.published_at < until)
    lives = metrics.view_half_life(history)[inside]
    return Seasonality(
        name,
        history.channel.timezone,
        _day(history, since, until, rng),
        _week(history, since, until, rng),
        estimate(lives, LEAST_LIVES, "posts read up to an age of 7 days", rng, "median"),
        ("views follow the hours of publishing as well as the readers' own",),
    )


def _day(history: ChannelHistory, since: int, until: int, rng: Generator) -> Cycle:
    usual = usual_interval(history)
    if usual is None or until <= since:
        return Cycle("day", 0, None, None, (), "no period with readings")
    hours = next((h for h in _PARTS_H if usual <= _SLACK * h * HOUR), None)
    if hours is None:
        why = f"views are read every {usual / HOUR:.0f} h: parts of a day need readings every 6 h"
        return Cycle("day", 0, None, None, (), why)
    starts = edges(history.channel.timezone, "day", since, until)
    parts = (starts[:-1, None] + np.arange(0, 24, hours) * HOUR).ravel()
    gained = _logs(metrics.views_gained(history, np.append(parts, starts[-1])))
    return cycle("day", gained.reshape(len(starts) - 1, -1), np.arange(0, 24, hours), LEAST_DAYS, rng)


def _week(history: ChannelHistory, since: int, until: int, rng: Generator) -> Cycle:
    if until <= since:
        return Cycle("week", 0, None, None, (), "no period with readings")
    days = edges(history.channel.timezone, "day", since, until)
    first = local_date(history.channel.timezone, int(days[0])).weekday()
    gained = np.concatenate([np.full(first, np.nan), _logs(metrics.views_gained(history, days))])
    gained = np.concatenate([gained, np.full(-len(gained) % 7, np.nan)])
    return cycle("week", gained.reshape(-1, 7), np.arange(7), LEAST_WEEKS, rng)


def _logs(gained: Floats) -> Floats:
    return np.log(np.where(gained > 0, gained, np.nan))


def cycle(name: Literal["day", "week"], values: Floats, positions: Ints, least: int, rng: Generator) -> Cycle:
    """The rhythm of logs in order of time, cycles x parts; NaN where not known. positions: names of the parts."""
    parts = values.shape[1]
    rest = (values.ravel() - _centred_mean(values.ravel(), parts)).reshape(values.shape)
    rest = rest[~np.isnan(rest).any(axis=1)]
    n = len(rest)
    if n < least:
        return Cycle(name, n, None, None, (), f"needs {least} complete {name}s, has {n}")
    ranks = stats.rankdata(rest, axis=1) - (parts + 1) / 2
    seen = float((ranks.sum(axis=0) ** 2).sum())
    turns = (np.arange(parts) + rng.integers(0, parts, (_ROTATIONS, n, 1))) % parts
    rotated = np.take_along_axis(np.broadcast_to(ranks, (_ROTATIONS, n, parts)), turns, axis=2).sum(axis=1)
    p = (1 + int(np.count_nonzero((rotated**2).sum(axis=1) >= seen - 1e-9))) / (1 + _ROTATIONS)
    rhythm = rest.mean(axis=0)
    rhythm = rhythm - rhythm.mean()
    whole = float(rest.var())
    strength = max(0.0, 1 - float((rest - rhythm).var()) / whole) if whole > 0 else 0.0
    drawn = rest[block_rows(n, rng, _DRAWS)].mean(axis=1)
    drawn = drawn - drawn.mean(axis=1, keepdims=True)
    points = []
    for k, position in enumerate(positions.tolist()):
        low, high = interval(drawn[:, k])
        points.append(CyclePoint(position, *(float(np.expm1(v)) for v in (rhythm[k], low, high))))
    return Cycle(name, n, p, strength, tuple(points))


def _centred_mean(values: Floats, width: int) -> Floats:
    """Mean over one whole cycle around each value; an even cycle counts both ends half. NaN where one is not known."""
    weights = np.ones(width) if width % 2 else np.array([0.5, *np.ones(width - 1), 0.5])
    result = np.full(len(values), np.nan)
    half = len(weights) // 2
    if len(values) >= len(weights):
        result[half : len(values) - half] = np.convolve(values, weights / weights.sum(), mode="valid")
    return result
