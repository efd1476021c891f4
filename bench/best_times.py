"""Best times: how often one is named where no time is better, whether intervals hold, and how good the named hour is.

    python -m bench.best_times [--channels 100] [--data DIR] [--json FILE]

Channels are made by rule and seed: 120 days of 3 posts, hours drawn from the channel's own habits, so that many of the
168 cells are rare or empty. Log views at 24 h: a slow random walk, noise of .3, luck that all posts of a date share
(.15), ads (8 % of posts, most of them at noon, -.3) and videos (+.3, most of them in the evening). `nothing`: the time
adds nothing. `hours`: a smooth curve over the day of deviation .15; `week`: a weekday's effect of deviation .15 and
the same curve.

Bars: with nothing to find a time is named for at most 5 % of channels (plus two standard errors of that many channels);
95 % intervals of cells that were tried hold the truth in 90 to 99 %, the interval of the hour named best in at least
95 % less two standard errors.
`gain`: true effect of the hour named best; `possible`: of the best hour tried; `naive`: of the hour with the highest
mean (at least three posts), the alternative.

--data: a folder of channels: posts, p of hour and weekday, and what is named on real ones.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from actors.predictive_intelligence.temporal import LEAST_IN_CELL, best_times
from core.clock import DAY, HOUR, SystemClock
from core.errors import InsufficientData
from core.history import ATTRIBUTES, ChannelHistory, Floats
from core.ingest.importer import import_path
from core.schemas.channels import Channel
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.migrate import upgrade

START = 1_735_689_600 + 5 * DAY  # a Monday, UTC
KINDS = ("nothing", "hours", "week")
FOREVER = 2**40
WEEKDAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")


@dataclass(frozen=True, slots=True)
class Made:
    """A channel and the truth: effect of each of 168 cells around the mean over its posts, log scale."""

    history: ChannelHistory
    truth: Floats
    residual: Floats  # of each post: what the naive way averages
    cell: np.ndarray[tuple[int], np.dtype[np.int64]]


def make(kind: str, rng: Generator, days: int = 120, posts_a_day: float = 3.0) -> Made:
    """A channel of a kind."""
    habits = rng.dirichlet(np.full(16, 0.7))
    per_day = rng.poisson(posts_a_day, days)
    day = np.repeat(np.arange(days), per_day)
    hour = rng.choice(np.arange(7, 23), len(day), p=habits)
    order = np.lexsort((hour, day))
    day, hour = day[order], hour[order]
    n = len(day)
    curve = np.zeros(24) if kind == "nothing" else _smooth(rng)
    week = rng.normal(0, 0.15, 7) if kind == "week" else np.zeros(7)
    cell = (day % 7) * 24 + hour
    truth = (week[:, None] + curve[None, :]).ravel()
    ad = rng.random(n) < np.where((hour >= 11) & (hour <= 13), 0.25, 0.04)
    video = rng.random(n) < np.where(hour >= 18, 0.6, 0.1)
    level = 8 + np.cumsum(rng.normal(0, 0.03, days))
    logs = level[day] + truth[cell] + rng.normal(0, 0.15, days)[day] + rng.normal(0, 0.3, n) - 0.3 * ad + 0.3 * video
    published = START + day * DAY + hour * HOUR + np.sort(rng.integers(0, HOUR, n))
    published = np.maximum.accumulate(published) + np.arange(n) % 2
    attributes = np.zeros((n, len(ATTRIBUTES)))
    attributes[:, ATTRIBUTES.index("is_ad")] = ad
    views = np.rint(np.exp(logs))
    history = ChannelHistory(
        channel=Channel(1, "default", "made", "UTC", "simulator", 1),
        post_ids=np.arange(1, n + 1),
        published_at=published,
        attributes=attributes,
        media=np.where(video, "video", "none").astype(object),
        album_ids=np.full(n, -1),
        offsets=2 * np.arange(n + 1),
        reading_ts=(published[:, None] + np.array([DAY, 2 * DAY])).ravel(),
        reading_views=np.stack([views, views * 1.2], axis=1).ravel(),
        reading_exact_time=np.ones(2 * n, dtype=bool),
        subscriber_ts=np.zeros(0, dtype=np.int64),
        subscribers=np.zeros(0),
    )
    return Made(history, truth - truth[cell].mean(), logs - level[day], cell)


def _smooth(rng: Generator) -> Floats:
    angle = 2 * np.pi * np.arange(24) / 24
    curve = sum(rng.normal() * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) / k for k in (1, 2, 3))
    return np.asarray(0.15 * curve / np.std(curve), dtype=float)


def judged(kind: str, channels: int) -> dict[str, float]:
    """What is named over many channels of a kind, beside the truth."""
    named, tried_held, best_held, gains, possible, naive = 0, [], [], [], [], []
    for number in range(channels):
        made = make(kind, np.random.default_rng([3, KINDS.index(kind), number]))
        found = best_times(made.history, 0, FOREVER)
        tried = np.array([each.n >= LEAST_IN_CELL for each in found.cells])
        low, high = (np.log1p([getattr(each, side) for each in found.cells]) for side in ("low", "high"))
        tried_held.append(float(((low <= made.truth) & (made.truth <= high))[tried].mean()))
        possible.append(float(made.truth[tried].max()))
        means = np.bincount(made.cell, made.residual, 168) / np.maximum(np.bincount(made.cell, minlength=168), 1)
        naive.append(float(made.truth[np.where(tried, means, -np.inf).argmax()]))
        named += found.decided
        if found.best:
            best = found.best[0]
            effect = float(made.truth[best.weekday * 24 + best.hour])
            best_held.append(np.log1p(best.low) <= effect <= np.log1p(best.high))
            gains.append(effect)
    return {
        "named": named / channels,
        "cells held": float(np.mean(tried_held)),
        "best held": float(np.mean(best_held)) if best_held else float("nan"),
        "gain": float(np.mean(gains)) if gains else float("nan"),
        "possible": float(np.mean(possible)),
        "naive": float(np.mean(naive)),
    }


def real(data: Path) -> dict[str, Any]:
    """What is named for stored channels."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/real.db")
        upgrade(database)
        import_path(data, database, clock=SystemClock())
        store = ChannelStore(database)
        histories = [store.history(channel) for channel in store.channels()]
        database.dispose()
    found: dict[str, Any] = {"too few posts": 0}
    for history in histories:
        try:
            answer = best_times(history, 0, FOREVER)
        except InsufficientData:
            found["too few posts"] += 1
            continue
        best = [
            f"{WEEKDAYS[b.weekday]} {b.hour} h {b.effect:+.0%} ({b.low:+.0%} to {b.high:+.0%})" for b in answer.best[:1]
        ]
        found[history.channel.name] = [answer.posts, round(answer.p_hour, 3), round(answer.p_weekday, 3), *best]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every figure; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=100)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", type=Path)
    options, _ = parser.parse_known_args(arguments)
    result: dict[str, Any] = {kind: judged(kind, options.channels) for kind in KINDS}
    slack = 2 * float(np.sqrt(0.05 * 0.95 / options.channels))
    bars = {"a time named where none is better": result["nothing"]["named"] <= 0.05 + slack}
    for kind in KINDS:
        print(f"{kind:10}" + "  ".join(f"{key} {value:.3f}" for key, value in result[kind].items()))
        bars[f"cells' intervals, {kind}"] = 0.90 <= result[kind]["cells held"] <= 0.99
        if kind != "nothing":
            bars[f"best hour's interval, {kind}"] = result[kind]["best held"] >= 0.95 - slack
    for name, kept in bars.items():
        print(f"{'kept  ' if kept else 'MISSED'} {name}")
    if options.data is not None:
        result["real"] = real(options.data)
        for name, told in result["real"].items():
            print(f"{name:16}{json.dumps(told)}")
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1))
    return int(not all(bars.values()))


if __name__ == "__main__":
    sys.exit(main())
