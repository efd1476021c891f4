"""Whether the judge and the split keep what they promise: false roll-backs, delays, state, time, shares.

    python -m bench.judge [--runs 2000] [--delays 200] [--workers 2] [--json FILE]

Everything is measured on the shipped judge and router; seeds are fixed. Bars, as in the roll-out's specification:
  1  false roll-backs of a canary that is not worse: at most 5 % of --runs roll-outs, every count in every known age
     watched each second through 10, 50 and 100 % (bench/_healthy.py); beside it a z-test that is looked at as often.
  2  median delay at a tenth of 100 requests a second, all of which are scored by both: 0.1 to 1 % within 35 s, to 5 %
     within 8 s, dead within 2 s.
  7  at most 1 KB of state a count, 5 ms for a tick of 402 counts, one JSON record carries all of it over a restart.
  8  at most 5 us a routing decision; 100,000 keys within the 99.9 % binomial band at 10 and 50 %; nobody flips inside a
     step; keys move to the canary only as the weight rises.
The exit code is 1 when one is missed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from actors.adaptive_learning.deployment import judge
from bench import _healthy
from bench._footprint import Bar, split, state
from bench._traces import World, simulated
from bench._worlds import WORLDS
from bench.judge_league import ours
from core.schemas.rollouts import RolloutConfig

Task = TypeVar("Task")
Result = TypeVar("Result")


def spread(function: Callable[[Task], Result], tasks: Sequence[Task], workers: int) -> list[Result]:
    """The results in the tasks' order, however many processes work on them."""
    if workers == 1:
        return [function(task) for task in tasks]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        return pool.map(function, tasks, chunksize=8)


def wilson(events: int, n: int) -> tuple[float, float]:
    """95 % score interval of a share (Wilson, 1927)."""
    z, p = 1.96, events / n
    centre, half = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)


# ---------------------------------------------------------------- bar 1


def false_rollbacks(runs: int, workers: int) -> tuple[list[Bar], dict[str, Any]]:
    """Shares of healthy roll-outs that were rolled back."""
    rolled = spread(_healthy.healthy, range(runs), workers)
    figures: dict[str, Any] = {"runs": runs}
    for name in ("usual", "segmented", "z_errors", "z_any"):
        events = sum(getattr(found, name) for found in rolled)
        figures[name] = {"share": events / runs, "interval": wilson(events, runs)}
    for name, config in (("usual", _healthy.USUAL), ("segmented", _healthy.SEGMENTED)):
        figures[name]["questions"] = len(judge.shares(config))
    bars = [
        Bar(f"false roll-backs, {figures[name]['questions']} questions", figures[name]["share"], 0.05, "of roll-outs")
        for name in ("segmented", "usual")
    ]
    return bars, figures


# ---------------------------------------------------------------- bar 2

_DELAY_BARS = {"0.1 to 1 %": 35.0, "0.1 to 5 %": 8.0, "dead canary": 2.0}
_LATE_S = 600


def _delay(task: tuple[str, int, bool, bool]) -> float:
    name, run, background, late = task
    world = replace(next(world for world in WORLDS if world.name == name), seconds=1800, background=background)
    since = _LATE_S if late else 0
    found = ours(simulated(_later(world) if late else world, run), RolloutConfig())
    return float("inf") if found is None or found <= since else float(found - since)


def _later(world: World) -> World:
    """The same fault after ten minutes without it."""
    worse = world.worse
    assert worse is not None
    return replace(world, worse=lambda t, base: np.where(t < _LATE_S, base, worse(t, base)))


def delays(runs: int, workers: int) -> tuple[list[Bar], dict[str, Any]]:
    """Seconds from the first bad request until the judge condemns, of canaries that were bad at once and later.

    The bars are for trials as they are run: a tenth of the requests is answered by the canary, all are scored by both.
    Beside them the same with the split alone.
    """
    figures: dict[str, Any] = {}
    bars = []
    for name, bound in _DELAY_BARS.items():
        for background in (True, False):
            for late in (False, True):
                found = spread(_delay, [(name, run, background, late) for run in range(runs)], workers)
                median, p90 = np.quantile(found, (0.5, 0.9), method="higher")
                place = name + ("" if background else ", split alone")
                place += f", after {_LATE_S // 60} healthy minutes" if late else ""
                figures[place] = {"median_s": float(median), "p90_s": float(p90)}
                if background and not late:
                    bars.append(Bar(f"median delay, {name}", float(median), bound, "s"))
    return bars, figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every figure and bar; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--delays", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options, _ = parser.parse_known_args(arguments)
    begin = time.monotonic()
    parts = {
        "split": split(),
        "state": state(),
        "delays": delays(options.delays, options.workers),
        "false_rollbacks": false_rollbacks(options.runs, options.workers),
    }
    for name, (bars, figures) in parts.items():
        print(f"\n{name.replace('_', ' ')}")
        for key, value in figures.items():
            print(f"  {key:42} {json.dumps(value)}")
        for bar in bars:
            sign = "kept  " if bar.kept else "MISSED"
            print(f"  {sign} {bar.name}: {bar.measured:.4g} {bar.unit}, at most {bar.bound:g}", flush=True)
    missed = [bar.name for bars, _ in parts.values() for bar in bars if not bar.kept]
    print(f"\n{len(missed)} bars missed{': ' if missed else ''}{'; '.join(missed)}; {time.monotonic() - begin:.0f} s")
    if options.json is not None:
        options.json.write_text(json.dumps({name: figures for name, (_, figures) in parts.items()}, indent=1))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
