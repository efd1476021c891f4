"""Lead-lag links between channels: how many are seen where there are none, and how many planted ones are found.

    python -m bench.cross_channel [--channels 12] [--sets 25] [--data DIR] [--json FILE]

Each set is 12 channels (66 pairs) of daily series, made by rule and seed: white noise; autocorrelated (order one, .7,
and order two with a cycle); with a week; with a trend, straight or a random walk; heavy tails (Student's t with 2.5
degrees of freedom, and purges of 20 deviations); and all of these mixed. None is linked to another.
Bars: of all pairs of all sets of a kind at most 5 % flagged after the correction.
The share of sets with any flag is told beside it.

Planted: in each set two of the mixed channels follow another one, 1 to 7 days later. Strength is the correlation
between the follower's and the leader's news (innovations) before anything is added to them. Bar: at least 90 % found,
right lag and direction, at strength .6 with 180 days and 12 channels. Weaker links and fewer days are printed too.

--data: a folder of channels (channels/tracked): links found, and those found when every channel is shifted against the
others by a different number of days (at least 10), which leaves nothing to find.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from scipy.signal import lfilter

from actors.predictive_intelligence.cross_channel import (
    LAGS,
    RATE,
    Whitened,
    common_days,
    cross_channel,
    linked,
    whitened,
)
from core.clock import DAY, SystemClock
from core.errors import InsufficientData
from core.history import ChannelHistory, Floats
from core.ingest.importer import import_path
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.migrate import upgrade

KINDS = ("white", "autocorrelated", "weekly", "trending", "heavy tails", "mixed")
DAYS = (60, 120, 180, 240)
STRENGTHS = (0.4, 0.5, 0.6, 0.7)
BAR_FALSE, BAR_POWER = 0.05, 0.9
BAR_AT = (0.6, 180)
_BURN = 50


def news(kind: str, n: int, rng: Generator) -> Floats:
    """Innovations of a series, variance about 1."""
    if kind in ("heavy tails", "mixed") and (kind == "heavy tails" or rng.random() < 0.5):
        return np.asarray(rng.standard_t(2.5, n) / np.sqrt(5.0), dtype=float)
    return rng.normal(size=n)


def series(kind: str, innovations: Floats, rng: Generator) -> Floats:
    """A daily series of a kind, made of innovations; as many days less the burn-in."""
    x = innovations
    mixed = kind == "mixed"
    if kind == "autocorrelated" or mixed:
        past = [[1, -0.7], [1, -1.0, 0.5], [1, -0.4, 0.0, -0.2]][int(rng.integers(3))]
        x = lfilter([1.0], past, x)
    x = x[_BURN:]
    days = np.arange(len(x))
    if kind == "weekly" or mixed:
        x = x + rng.normal(0, 2, 7)[days % 7]
    if kind == "trending" or mixed:
        x = x + rng.normal(0, 5) * days / len(x) + np.cumsum(rng.normal(0, 0.15, len(x)))
    if kind == "heavy tails" or mixed:
        x[rng.integers(len(x))] -= 20.0
    return np.asarray(x, dtype=float)


def white(values: Sequence[Floats]) -> list[Whitened]:
    """Prewhitened series by number; all of them are long enough."""
    weekday = np.arange(len(values[0])) % 7
    found = [whitened(str(i), each, weekday) for i, each in enumerate(values)]
    return [each for each in found if isinstance(each, Whitened)]


def independent(kind: str, channels: int, days: int, sets: int) -> dict[str, float]:
    """Shares of pairs and of sets that are flagged though nothing is linked."""
    flagged = pairs = sets_flagged = 0
    for number in range(sets):
        rng = np.random.default_rng([1, KINDS.index(kind), days, number])
        made = [series(kind, news(kind, days + _BURN, rng), rng) for _ in range(channels)]
        links, _ = linked(white(made), LAGS, RATE)
        hits = sum(link.beyond_chance for link in links)
        flagged, pairs, sets_flagged = flagged + hits, pairs + len(links), sets_flagged + (hits > 0)
    return {"pairs": flagged / pairs, "sets": sets_flagged / sets}


def planted(strength: float, channels: int, days: int, sets: int) -> dict[str, float]:
    """Shares of planted links found, with their lag and direction; and of the other pairs that are flagged."""
    found = others = other_pairs = 0
    for number in range(sets):
        rng = np.random.default_rng([2, int(100 * strength), days, number])
        innovations = [news("mixed", days + _BURN, rng) for _ in range(channels)]
        truth = {}
        for follower, leader in ((1, 0), (3, 2)):
            lag = int(rng.integers(1, LAGS + 1))
            led = np.roll(innovations[leader], lag)
            innovations[follower] = strength * led + np.sqrt(1 - strength**2) * innovations[follower]
            truth[str(leader), str(follower)] = lag
        links, _ = linked(white([series("mixed", each, rng) for each in innovations]), LAGS, RATE)
        for link in links:
            lag = truth.get((link.first, link.second), truth.get((link.second, link.first), 0))
            if lag:
                found += link.beyond_chance and truth.get((link.first, link.second)) == link.lag_days
            else:
                others, other_pairs = others + link.beyond_chance, other_pairs + 1
    return {"found": found / (2 * sets), "other pairs": others / other_pairs}


def real(data: Path) -> dict[str, Any]:
    """Links of stored channels, and of the same ones shifted against each other."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/real.db")
        upgrade(database)
        import_path(data, database, clock=SystemClock())
        store = ChannelStore(database)
        histories = [store.history(channel) for channel in store.channels()]
        database.dispose()
    found: dict[str, Any] = {}
    for metric in ("net_growth", "views_gained"):
        for name, change in (("as they are", _as_they_are), ("shifted", _shifted)):
            moved = change(histories)
            span = common_days(moved)
            if span is None:
                continue
            try:
                answer = cross_channel(moved, metric, *span)
            except InsufficientData as gap:
                found[f"{metric}, {name}"] = gap.message
                continue
            beyond = [link for link in answer.links if link.beyond_chance]
            found[f"{metric}, {name}"] = {
                "channels": len(answer.channels),
                "pairs": answer.pairs,
                "beyond chance": len(beyond),
                "strongest": [
                    f"{k.first} -> {k.second} after {k.lag_days} d: {k.correlation:.2f}, q {k.q:.2g}"
                    for k in answer.links[:3]
                ],
            }
    return found


def _as_they_are(histories: Sequence[ChannelHistory]) -> Sequence[ChannelHistory]:
    return histories


def _shifted(histories: Sequence[ChannelHistory]) -> list[ChannelHistory]:
    return [
        replace(
            h,
            published_at=h.published_at + 10 * i * DAY,
            reading_ts=h.reading_ts + 10 * i * DAY,
            subscriber_ts=h.subscriber_ts + 10 * i * DAY,
        )
        for i, h in enumerate(histories)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every figure; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=12)
    parser.add_argument("--sets", type=int, default=25)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", type=Path)
    options, _ = parser.parse_known_args(arguments)
    result: dict[str, Any] = {"independent": {}, "planted": {}}
    missed = 0

    def told(group: str, name: str, figures: dict[str, float], bar: Callable[[dict[str, float]], bool] | None) -> None:
        nonlocal missed
        kept = bar is None or bar(figures)
        missed += not kept
        result[group][name] = figures
        mark = "" if bar is None else "  kept" if kept else "  MISSED"
        print(f"{name:36}" + "  ".join(f"{key} {value:.3f}" for key, value in figures.items()) + mark, flush=True)

    for kind in KINDS:
        for days in DAYS:
            figures = independent(kind, options.channels, days, options.sets)
            told("independent", f"independent, {kind}, {days} d", figures, lambda f: f["pairs"] <= BAR_FALSE)
    for strength in STRENGTHS:
        for days in DAYS:
            figures = planted(strength, options.channels, days, options.sets)
            at_bar = (strength, days) == BAR_AT
            told(
                "planted",
                f"planted, strength {strength}, {days} d",
                figures,
                (lambda f: f["found"] >= BAR_POWER) if at_bar else None,
            )
    if options.data is not None:
        result["real"] = real(options.data)
        for name, found in result["real"].items():
            print(f"{name:36}{json.dumps(found)}")
    print(f"{missed} bars missed")
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1))
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
