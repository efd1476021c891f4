"""Mention lift: how often a mention that does nothing is told to bring something, and how often one that does is found.

    python -m bench.mention_lift [--pairs 300] [--data DIR] [--json FILE]

A target has subscribers every 4 h for 120 days: growth of 30 a day whose daily deviations are autocorrelated (.5) with
a standard deviation of 10, a jump by an ad (300) on one day, and readings' own noise of 2. A source names it 1, 3 or 8
times from the 20th day on: spread over all days, or all within ten days. `nothing`: mentions do nothing. Otherwise each
brings a number of subscribers within its 24 hours.
Bar: of mentions that do nothing at most 5 % of links (plus two standard errors) have p of at most .05.
Power is printed, by subscribers brought.

--data: a folder of channels with mentions: share of positive lifts beside the placebo's, median, and each link.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from scipy.signal import lfilter

from actors.predictive_intelligence.mention_lift import mention_lifts
from core.clock import DAY, HOUR, SystemClock
from core.history import ChannelHistory, HistoryBuilder
from core.ingest.importer import import_path
from core.schemas.channels import Channel
from core.store.channels import ChannelStore, Mention
from core.store.database import Database
from core.store.migrate import upgrade

START = 1_735_689_600
DAYS = 120
NUMBERS = (1, 3, 8)
BROUGHT = (10, 20, 40, 80)


def target(rng: Generator, mentions: Sequence[Mention], brought: float) -> ChannelHistory:
    """A channel that gains `brought` subscribers in the 24 hours after each mention."""
    times = START + np.arange(DAYS * 6) * 4 * HOUR
    daily = 30 + lfilter([1.0], [1, -0.5], rng.normal(0, 10 * np.sqrt(0.75), DAYS))
    daily[rng.integers(20, DAYS)] += 300
    counts = 10_000 + np.cumsum(np.repeat(daily / 6, 6))
    for m in mentions:
        counts += brought * np.clip((times - m.published_at) / DAY, 0, 1)
    made = HistoryBuilder(Channel(1, "default", "target", "UTC", "simulator", 1))
    made.subscribers = dict(zip(times.tolist(), np.rint(counts + rng.normal(0, 2, len(times))).tolist(), strict=True))
    return made.build()


def found(brought: float, number: int, together: bool, pairs: int) -> float:
    """Share of links with p of at most .05."""
    hits = 0
    for k in range(pairs):
        rng = np.random.default_rng([4, int(brought), number, together, k])
        first = int(rng.integers(20, DAYS - 12)) if together else 20
        span = 10 if together else DAYS - 22
        at = START + first * DAY + np.sort(rng.integers(0, span * DAY, number))
        mentions = [Mention("source", i, "target", int(t)) for i, t in enumerate(at)]
        link = mention_lifts({"target": target(rng, mentions, brought)}, mentions).links[0]
        hits += link.p is not None and link.p <= 0.05
    return hits / pairs


def real(data: Path) -> dict[str, Any]:
    """The mentions of stored channels."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/real.db")
        upgrade(database)
        import_path(data, database, clock=SystemClock())
        store = ChannelStore(database)
        answer = mention_lifts({c.name: store.history(c) for c in store.channels()}, store.all_mentions())
        database.dispose()
    links = {
        f"{k.source} -> {k.target}": {
            "mentions": k.n,
            "median": k.median,
            "placebo": [k.placebo_low, k.placebo_median, k.placebo_high],
            "p": k.p,
            "reading": k.missing or k.reading,
        }
        for k in answer.links
    }
    return {
        "mentions": answer.mentions,
        "positive": answer.positive,
        "placebo positive": answer.placebo_positive,
        "median": answer.median,
        **links,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every figure; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", type=Path)
    options, _ = parser.parse_known_args(arguments)
    result: dict[str, Any] = {}
    missed = 0
    most = 0.05 + 2 * float(np.sqrt(0.05 * 0.95 / options.pairs))
    for number in NUMBERS:
        for together in (False, True):
            name = f"{number} mentions {'in ten days' if together else 'spread'}"
            share = result[f"nothing, {name}"] = found(0, number, together, options.pairs)
            missed += share > most
            print(f"{name:26} nothing {share:.3f} {'kept' if share <= most else 'MISSED'}", end="", flush=True)
            for brought in BROUGHT:
                result[f"{brought}, {name}"] = found(brought, number, together, max(20, options.pairs // 5))
                print(f"   {brought}: {result[f'{brought}, {name}']:.2f}", end="", flush=True)
            print()
    if options.data is not None:
        result["real"] = real(options.data)
        for name, told in result["real"].items():
            print(f"{name:20}{json.dumps(told)}")
    print(f"{missed} bars missed")
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1))
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
