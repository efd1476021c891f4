"""What the judge's state and ticks cost, whether a restart changes them, and whether the split is what was ordered."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.stats import binom

from actors.adaptive_learning.deployment import bookkeeping, judge
from actors.adaptive_learning.deployment.bookkeeping import Book, Executions
from actors.adaptive_learning.deployment.record import Record, new_record
from bench._traces import Floats
from core.codec import from_json, to_json
from core.schemas.rollouts import COUNTED, RolloutConfig
from serve_apps.predictor.routing import route


@dataclass(frozen=True, slots=True)
class Bar:
    """What was measured against what must be."""

    name: str
    measured: float
    bound: float
    unit: str

    @property
    def kept(self) -> bool:
        """At most the bound."""
        return self.measured <= self.bound


# ---------------------------------------------------------------- state and time

_WIDE = RolloutConfig(by_known_age=True)


def _tick(rng: np.random.Generator, segments: int, load: float) -> dict[str, Executions]:
    found = {}
    for place in range(segments):
        stable_n, canary_n = int(rng.poisson(load * 0.9)), int(rng.poisson(load * 0.1))
        arms = []
        for n in (stable_n, canary_n):
            counts = rng.binomial(n, (0.01, 0.003, 0.003, 0.2, 0.04, 0.004)).tolist()
            arms.append({name: count for name, count in zip(COUNTED, counts, strict=True) if count})
        found[f"segment_{place}" if place else ""] = Executions(stable_n, canary_n, *arms)
    return found


def tick_ms(segments: int, load: float, ticks: int) -> Floats:
    """CPU milliseconds of each tick, counts taken in and judged; load: requests a segment and tick.

    CPU time, here and for routing: what else the machine does meanwhile is not the judge's.
    """
    rng = np.random.default_rng(71)
    book, spent = Book(), np.empty(ticks)
    for tick in range(ticks):
        seen = _tick(rng, segments, load)
        begin = time.thread_time()
        book = bookkeeping.with_counts(book, seen, _WIDE)
        judge.harm(book, _WIDE)
        spent[tick] = (time.thread_time() - begin) * 1e3
    return spent


def _fed(record: Record, seed: int, ticks: int) -> Record:
    rng = np.random.default_rng(seed)
    book = record.book
    for _ in range(ticks):
        book = bookkeeping.with_counts(book, _tick(rng, 5, 20.0), record.config)
        book = bookkeeping.with_pair(book, float(np.clip(rng.normal(0, 0.3), -1, 1)), record.config)
        book = bookkeeping.with_keys(book, int(rng.poisson(9)), int(rng.poisson(1)), 0.1)
        book = bookkeeping.with_matured(book, 3, int(rng.binomial(3, 0.9)), record.config)
    return replace(record, book=book)


def state(segments: int = 67, ticks: int = 300) -> tuple[list[Bar], dict[str, Any]]:
    """Bytes of state, time of a tick, and whether a restart changes anything."""
    half = _fed(new_record("r", "engagement", 2, 1, _WIDE), 72, 500)
    text = to_json(half)
    restarted, straight = _fed(from_json(Record, text), 73, 200), _fed(half, 73, 200)
    sizes = [len(to_json(cell).encode()) for cell in straight.book.cells.values()]
    busy, quiet = tick_ms(segments, 100.0, ticks), tick_ms(segments, 100.0 / segments, ticks)
    figures = {
        "cell_bytes": max(sizes),
        "record_bytes": len(text.encode()),
        "counts": segments * len(COUNTED),
        "tick_ms_busy": [float(np.median(busy)), float(np.quantile(busy, 0.99))],
        "tick_ms_100_per_s": [float(np.median(quiet)), float(np.quantile(quiet, 0.99))],
        "restart_identical": restarted == straight,
    }
    bars = [
        Bar("state of a count", max(sizes), 1024, "bytes of JSON"),
        Bar(
            f"a tick of {segments * len(COUNTED)} counts, 100 requests in each, median",
            float(np.median(busy)),
            5.0,
            "ms",
        ),
        Bar("evidence that differs after a restart", float(restarted != straight), 0.0, "of 1"),
    ]
    return bars, figures


# ---------------------------------------------------------------- split

_WEIGHTS = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)


def _canaries(weight: float, keys: int) -> set[int]:
    sides = (route("engagement", key, stable=1, canary=2, weight=weight, pin=None).side for key in range(keys))
    return {key for key, side in enumerate(sides) if side == "canary"}


def decision_us(batches: int = 100, size: int = 1000) -> Floats:
    """Microseconds a routing decision, the mean of each batch."""
    spent = np.empty(batches)
    for batch in range(batches):
        begin = time.thread_time()
        for key in range(batch * size, (batch + 1) * size):
            route("engagement", key, stable=1, canary=2, weight=0.1, pin=None)
        spent[batch] = (time.thread_time() - begin) / size * 1e6
    return spent


def split(keys: int = 100_000) -> tuple[list[Bar], dict[str, Any]]:
    """Time of a decision, realised shares, and who moves."""
    took = decision_us()
    sides = [_canaries(weight, keys) for weight in _WEIGHTS]
    flipped = sum(len(found ^ _canaries(weight, keys)) for found, weight in zip(sides, _WEIGHTS, strict=True))
    returned = sum(len(lower - higher) for lower, higher in pairwise(sides))
    figures: dict[str, Any] = {
        "decision_us": [float(np.median(took)), float(np.quantile(took, 0.99))],
        "flipped": flipped,
        "returned": returned,
    }
    bars = [Bar("a routing decision, median", figures["decision_us"][0], 5.0, "us")]
    for weight, found in zip(_WEIGHTS, sides, strict=True):
        if weight in (0.1, 0.5):
            low, high = (float(bound) for bound in binom.interval(0.999, keys, weight))
            figures[f"share_{weight:g}"] = {"share": len(found) / keys, "band": [low / keys, high / keys]}
            outside = float(not low <= len(found) <= high)
            bars.append(Bar(f"share at {weight:.0%} outside the band ({len(found) / keys:.4f})", outside, 0.0, "of 1"))
    bars.append(Bar("keys that flip inside a step", flipped, 0, f"of {keys}"))
    bars.append(Bar("keys that go back as the weight rises", returned, 0, f"of {keys}"))
    return bars, figures
