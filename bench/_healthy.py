"""Simulated roll-outs of a canary that is not worse, through every step, in a world that changes while they run.

Random for each run: load, the realised share of each step, base rates and how they wander, shared outages, what share
of requests falls into each segment, the spread of paired differences. Every tick is judged by the shipped judge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from actors.adaptive_learning.deployment import bookkeeping, judge
from actors.adaptive_learning.deployment.bookkeeping import Book, Executions
from bench._traces import Floats, Ints
from core.schemas.predictions import KNOWN_AGES_H
from core.schemas.rollouts import COUNTED, RolloutConfig

#: Slow answers may come no more often than stable's: then every question stands at the edge of its hypothesis.
USUAL = RolloutConfig(latency_ratio=1.0)
SEGMENTED = RolloutConfig(latency_ratio=1.0, by_known_age=True)
_SEGMENTS = tuple(f"known_{age}h" for age in KNOWN_AGES_H)
_PORTIONS = (0.4, 0.3, 0.2, 0.1)
_PAIRS_PER_S = 0.5
_CONTROL = 0.1  # of the requests, answered by stable too when the canary has all of them


@dataclass(frozen=True, slots=True)
class Rolled:
    """Which rules rolled a healthy canary back: ours without and with segments, z on errors, z on any count."""

    usual: bool
    segmented: bool
    z_errors: bool
    z_any: bool


@dataclass(frozen=True, slots=True)
class Stream:
    """One arm: executions (segments x ticks) and events of each count (segments x ticks)."""

    n: Ints
    events: dict[str, Ints]


def healthy(run: int, config: RolloutConfig = SEGMENTED) -> Rolled:
    """One roll-out, judged at every second of its steps."""
    rng = np.random.default_rng([41, run])
    stable, canary = streams(rng, config)
    differences = pairs(rng, stable.n.shape[1])
    usual, segmented = judged(stable, canary, differences)
    z = {name: _peeked(stable, canary, name) for name in COUNTED}
    return Rolled(usual, segmented, z["errors"], any(z.values()))


def streams(rng: np.random.Generator, config: RolloutConfig) -> tuple[Stream, Stream]:
    """Both arms under the same rates."""
    weight = np.repeat(config.steps, [int(hold) for hold in config.hold_s])
    ticks = len(weight)
    jitter = np.repeat(rng.uniform(0.8, 1.2, len(config.steps)), [int(hold) for hold in config.hold_s])
    share = np.where(weight < 1.0, np.clip(weight * jitter, 0.0, 0.95), 1.0)
    load = np.exp(rng.uniform(np.log(2), np.log(200))) * _wandering(rng, ticks, 0.5)
    failing = np.exp(rng.uniform(np.log(2e-4), np.log(2e-2))) * _wandering(rng, ticks, 1.0)
    if rng.random() < 0.3:
        begin = int(rng.uniform(0, ticks))
        failing[begin : begin + int(rng.uniform(20, 200))] = rng.uniform(0.05, 0.5)
    slow = 0.2 * _wandering(rng, ticks, 0.5)
    arrived = rng.poisson(load[None, :] * np.array(_PORTIONS)[:, None])
    canary_n = rng.binomial(arrived, share)
    stable_n = np.where(share < 1.0, arrived - canary_n, rng.binomial(arrived, _CONTROL))
    rates = np.clip(failing, 0.0, 0.9), np.clip(slow, 0.0, 0.9)
    return _stream(rng, stable_n, *rates), _stream(rng, canary_n, *rates)


def _wandering(rng: np.random.Generator, ticks: int, sd: float) -> Floats:
    """A factor that starts at one and moves by a random walk of logarithms, `sd` over the whole time."""
    return np.exp(np.cumsum(rng.normal(0, sd / np.sqrt(ticks), ticks)))


def _stream(rng: np.random.Generator, n: Ints, failing: Floats, slow: Floats) -> Stream:
    errors = rng.binomial(n, failing)
    timeouts = rng.binomial(errors, 0.3)
    slow_p50 = rng.binomial(n, slow)
    slow_p90 = rng.binomial(slow_p50, 0.2)
    counts = (errors, timeouts, rng.binomial(errors - timeouts, 0.4))
    events = dict(zip(COUNTED, (*counts, slow_p50, slow_p90, rng.binomial(slow_p90, 0.1)), strict=True))
    return Stream(n, events)


def pairs(rng: np.random.Generator, ticks: int) -> list[list[float]]:
    """Paired differences by tick, of mean zero, in [-1, 1]."""
    spread = rng.uniform(0.05, 0.8)
    return [np.clip(rng.normal(0, spread, n), -1, 1).tolist() for n in rng.poisson(_PAIRS_PER_S, ticks)]


def judged(stable: Stream, canary: Stream, differences: list[list[float]]) -> tuple[bool, bool]:
    """Whether the shipped judge ever condemns: by everything alone, and with every segment watched too.

    What both configurations count is the same, so one book serves both; holds, which would shield the canary, are not
    asked for.
    """
    book, usual, segmented = Book(), False, False
    for tick, arrived in enumerate(differences):
        book = bookkeeping.with_counts(book, _executions(stable, canary, tick), SEGMENTED)
        for difference in arrived:
            book = bookkeeping.with_pair(book, difference, SEGMENTED)
        segmented = segmented or judge.harm(book, SEGMENTED) is not None
        usual = usual or judge.harm(book, USUAL) is not None
        if usual and segmented:
            break
    return usual, segmented


def _executions(stable: Stream, canary: Stream, tick: int) -> dict[str, Executions]:
    found: dict[str, Executions] = {}
    stable_n, canary_n = stable.n[:, tick].tolist(), canary.n[:, tick].tolist()
    arms = [{name: events[:, tick].tolist() for name, events in arm.events.items()} for arm in (stable, canary)]
    for place, segment in enumerate(_SEGMENTS):
        if stable_n[place] + canary_n[place]:
            by_arm = ({name: of[place] for name, of in arm.items() if of[place]} for arm in arms)
            found[segment] = Executions(stable_n[place], canary_n[place], *by_arm)
    if found:
        whole = ({name: total for name, of in arm.items() if (total := sum(of))} for arm in arms)
        found[""] = Executions(sum(stable_n), sum(canary_n), *whole)
    return found


def _peeked(stable: Stream, canary: Stream, name: str) -> bool:
    """Whether a pooled two-proportion z, p < .05 two-sided, ever says that the canary is worse."""
    n_s, n_c = stable.n.sum(axis=0).cumsum(), canary.n.sum(axis=0).cumsum()
    e_s, e_c = stable.events[name].sum(axis=0).cumsum(), canary.events[name].sum(axis=0).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = (e_s + e_c) / (n_s + n_c)
        z = (e_c / n_c - e_s / n_s) / np.sqrt(pooled * (1 - pooled) * (1 / n_c + 1 / n_s))
    return bool((z[np.isfinite(z)] > norm.ppf(0.975)).any())
