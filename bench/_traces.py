"""Traces of roll-outs, one tick a second: simulated from a seed, written down as JSON, read back.

A trace holds what a judge may see: executions and their events of both versions for each tick, latencies as histograms
a minute, paired differences and labels at the tick at which they came in. Whether the canary is worse, and since when,
stands beside it and is for scoring only.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from actors.adaptive_learning.deployment.bookkeeping import scaled_difference
from core.errors import InvalidInput
from core.schemas.rollouts import COUNTED, RolloutConfig

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Curve = Callable[[Floats], Floats]

MINUTE = 60
HOUR = 3600
#: Latency of both versions, log-normal: its 99 % quantile is 281 ms, its mean 77 ms.
MEDIAN_MS, SIGMA = 62.0, 0.65
_USUAL = RolloutConfig()
_NORMAL = {"slow_p50": 0.0, "slow_p90": 1.2815515655446004, "slow_p99": 2.3263478740408408}
#: "Slower than": stable's own quantile and what the configuration allows on top.
SLOWER_MS = {
    name: max(
        MEDIAN_MS * math.exp(SIGMA * z) * (1 + _USUAL.latency_tolerance),
        MEDIAN_MS * math.exp(SIGMA * z) + _USUAL.latency_floor_ms,
    )
    for name, z in _NORMAL.items()
}
#: Upper edges of the latency buckets: 20 % wide, and every "slower than" is one of them.
EDGES_MS = tuple(sorted({*(10.0 * 1.2**k for k in range(32)), *SLOWER_MS.values()}))


@dataclass(frozen=True, slots=True)
class Arm:
    """One version: executions (ticks), events of COUNTED metrics (ticks), latency histograms (minutes x buckets)."""

    n: Ints
    events: dict[str, Ints]
    latency: Ints


@dataclass(frozen=True, slots=True)
class Label:
    """An outcome that came in: when, when its post was born, which version had answered, its |log error|."""

    tick: int
    born: int
    canary: bool
    loss: float


@dataclass(frozen=True, slots=True)
class Trace:
    """One recorded roll-out. onset_s: since when the canary is worse, None: never. mate: its healthy scenario."""

    scenario: str
    mate: str
    run: int
    onset_s: int | None
    stable: Arm
    canary: Arm
    pairs: tuple[tuple[int, float], ...] = ()
    labels: tuple[Label, ...] = ()

    @property
    def ticks(self) -> int:
        """Its length in seconds."""
        return len(self.stable.n)


@dataclass(frozen=True, slots=True)
class World:
    """What happens in a scenario, as functions of time (seconds).

    base: both versions' error rate, drawn anew for each run. worse: the canary's error rate from its base, and its
    slow-down as a factor. hard_delay_s: mean time until the outcome of a hard post comes, None: no outcomes at all.
    """

    name: str
    mate: str
    rps: Curve
    share: Curve
    base: Callable[[Floats, np.random.Generator], Floats]
    worse: Callable[[Floats, Floats], Floats] | None = None
    slowdown: float = 1.0
    onset_s: int | None = None
    seconds: int = HOUR
    hard_delay_s: float | None = None
    quality_sd: float = 0.05
    background: bool = False  # each request is scored by both versions, as in a trial of ours; else split only


def simulated(world: World, run: int) -> Trace:
    """The trace of one run; the same world and run always give the same."""
    rng = np.random.default_rng([zlib.crc32(world.name.encode()), run])
    t = np.arange(world.seconds, dtype=np.float64)
    share, rps = world.share(t), world.rps(t)
    base = world.base(t, rng)
    arrived = rng.poisson(rps)
    canary_n = rng.binomial(arrived, share)
    # At a share of one a mirrored tenth of the requests is answered by stable too: the control.
    stable_n = np.where(share < 1.0, arrived - canary_n, rng.binomial(arrived, 0.1))
    if world.background:
        stable_n = canary_n = arrived
    worse = base if world.worse is None else np.clip(world.worse(t, base), 0.0, 1.0)
    hard_delay_s = world.hard_delay_s
    pairs, labels = ((), ()) if hard_delay_s is None else _outcomes(world, hard_delay_s, rng)
    return Trace(
        world.name,
        world.mate,
        run,
        world.onset_s,
        _arm(stable_n, base, 1.0, rng),
        _arm(canary_n, worse, world.slowdown, rng),
        pairs,
        labels,
    )


def _arm(n: Ints, rate: Floats, slowdown: float, rng: np.random.Generator) -> Arm:
    errors = rng.binomial(n, rate)
    timeouts = rng.binomial(errors, 0.3)
    edges = np.array(EDGES_MS)
    below = ndtr(np.log(edges / (MEDIAN_MS * slowdown)) / SIGMA)
    buckets = rng.multinomial(n, np.diff(below, prepend=0.0, append=1.0))
    events = {"errors": errors, "timeouts": timeouts, "invalid": rng.binomial(errors - timeouts, 0.4)}
    for name, slower in SLOWER_MS.items():
        events[name] = buckets[:, EDGES_MS.index(slower) + 1 :].sum(axis=1)
    return Arm(n, events, np.add.reduceat(buckets, np.arange(0, len(n), MINUTE), axis=0))


#: Posts a second, share of hard ones, sd of what nobody can forecast (easy, hard), mean label delay of easy ones.
_POSTS, _HARD, _SD, _EASY_DELAY_S = 0.5, 0.4, (0.2, 0.5), 300.0
#: Stable has served this long before the canary came.
_OLD_S = 2 * HOUR


def _outcomes(
    world: World, hard_delay_s: float, rng: np.random.Generator
) -> tuple[tuple[tuple[int, float], ...], tuple[Label, ...]]:
    """Paired differences of posts scored by both versions, and the labels of those that each version answered."""
    born = np.arange(-_OLD_S, world.seconds, 1 / _POSTS)
    hard = rng.random(len(born)) < _HARD
    delay = rng.exponential(np.where(hard, hard_delay_s, _EASY_DELAY_S))
    noise = rng.normal(0, np.where(hard, _SD[1], _SD[0]))
    stable = np.abs(noise + rng.normal(0, 0.05, len(born)))
    canary = np.abs(noise + rng.normal(0, world.quality_sd, len(born)))
    on_canary = (born >= 0) & (rng.random(len(born)) < world.share(np.maximum(born, 0.0)))
    seen = np.floor(born + delay)
    pairs, labels = [], []
    for i in np.argsort(seen, kind="stable"):
        if seen[i] >= world.seconds:
            break
        tick, loss = int(seen[i]), float(canary[i] if on_canary[i] else stable[i])
        labels.append(Label(tick, int(born[i]), bool(on_canary[i]), loss))
        if born[i] >= 0 and tick >= 0:
            difference = scaled_difference(1.0, math.exp(stable[i]), math.exp(canary[i]), _USUAL.quality_clip)
            pairs.append((tick, difference))
    return tuple(pairs), tuple(labels)


# ---------------------------------------------------------------- as JSON

#: Files of a folder that hold one trace each.
FILES = "*.trace.json"


def to_plain(trace: Trace) -> dict[str, Any]:
    """Lists and numbers only."""

    def arm(of: Arm) -> dict[str, Any]:
        events = {name: of.events[name].tolist() for name in COUNTED}
        return {"n": of.n.tolist(), "events": events, "latency": of.latency.tolist()}

    return {
        "scenario": trace.scenario,
        "mate": trace.mate,
        "run": trace.run,
        "onset_s": trace.onset_s,
        "edges_ms": list(EDGES_MS),
        "stable": arm(trace.stable),
        "canary": arm(trace.canary),
        "pairs": [list(pair) for pair in trace.pairs],
        "labels": [[label.tick, label.born, label.canary, label.loss] for label in trace.labels],
    }


def from_plain(plain: dict[str, Any]) -> Trace:
    """The trace again; InvalidInput where its latencies are in other buckets."""
    if tuple(plain["edges_ms"]) != EDGES_MS:
        raise InvalidInput("the trace's latency buckets are not those of this bench", field="edges_ms")

    def arm(of: dict[str, Any]) -> Arm:
        events = {name: np.array(of["events"][name], dtype=np.int64) for name in COUNTED}
        return Arm(np.array(of["n"], dtype=np.int64), events, np.array(of["latency"], dtype=np.int64))

    return Trace(
        plain["scenario"],
        plain["mate"],
        plain["run"],
        plain["onset_s"],
        arm(plain["stable"]),
        arm(plain["canary"]),
        tuple((int(tick), float(value)) for tick, value in plain["pairs"]),
        tuple(Label(*label) for label in plain["labels"]),
    )


def write(trace: Trace, folder: Path) -> None:
    """One file a trace."""
    folder.mkdir(parents=True, exist_ok=True)
    name = "".join(c if c.isalnum() else "_" for c in trace.scenario)
    (folder / f"{name}.{trace.run:04}.trace.json").write_text(json.dumps(to_plain(trace), separators=(",", ":")))
