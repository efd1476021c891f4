"""The scenarios of the league: what both versions go through, and how the canary is worse.

Every faulty scenario names its healthy mate: the same traffic, the same shared troubles, a canary that is not worse.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench._traces import HOUR, Curve, Floats, World

_RATE = 0.001


def _always(value: float) -> Curve:
    return lambda t: np.full(len(t), value)


def _steady(t: Floats, rng: np.random.Generator) -> Floats:
    return np.full(len(t), _RATE)


def _outage(t: Floats, rng: np.random.Generator) -> Floats:
    """Half of all requests fail for ten minutes, whoever answers them."""
    begin = rng.uniform(600, 2400)
    return np.where((t >= begin) & (t < begin + 600), 0.5, _RATE)


def _drifting(t: Floats, rng: np.random.Generator) -> Floats:
    """From 0.1 to 2 %, exponentially, over the hour."""
    return _RATE * 20.0 ** (t / len(t))


def _bursts(t: Floats, rng: np.random.Generator) -> Floats:
    """Short shared troubles: every two minutes on average, 2 to 10 s, a tenth to a half of requests."""
    rate = np.full(len(t), _RATE)
    for begin in rng.uniform(0, len(t), rng.poisson(len(t) / 120)):
        rate[int(begin) : int(begin + rng.uniform(2, 10))] = rng.uniform(0.1, 0.5)
    return rate


def _rising(t: Floats) -> Floats:
    """From 10 to 500 requests a second."""
    return 10.0 * 50.0 ** (t / len(t))


def _ramp(t: Floats) -> Floats:
    """10, 50, 100 %: twenty minutes each."""
    return np.select([t < 1200, t < 2400], [0.1, 0.5], 1.0)


def _busier(t: Floats, rng: np.random.Generator) -> Floats:
    """The base rate follows the time of day while the share rises: pooled totals then lie."""
    return np.select([t < 1200, t < 2400], [0.001, 0.003], 0.01)


def _leak(t: Floats, base: Floats) -> Floats:
    """Fine for twenty minutes, then linearly up to 5 % at the hour's end."""
    return base + 0.05 * np.clip((t - 1200) / 2400, 0.0, 1.0)


def _world(name: str, load: float, /, **more: Any) -> World:
    """Healthy, a tenth of the requests on the canary, 0.1 % errors for an hour, where nothing else is said."""
    usual: dict[str, Any] = {"mate": name, "rps": _always(load), "share": _always(0.1), "base": _steady}
    return World(name, **(usual | more))


def _to(rate: float) -> dict[str, Any]:
    """The canary fails at this rate from the first request on."""
    return {"worse": lambda t, base: np.full(len(t), rate), "onset_s": 0}


def _times(ratio: float) -> dict[str, Any]:
    """The canary fails so many times as often, whatever the base rate."""
    return {"worse": lambda t, base: ratio * base, "onset_s": 0}


_HARD_LATER, _HARD_SOONER = 1800.0, 60.0

WORLDS: tuple[World, ...] = (
    _world("A/A 1 rps", 1),
    _world("A/A 10 rps", 10),
    _world("A/A 100 rps", 100),
    _world("A/A 1000 rps", 1000),
    _world("A/A rising load", 10, rps=_rising),
    _world("shared outage", 100, base=_outage),
    _world("shared drift", 100, base=_drifting),
    _world("shared bursts", 100, base=_bursts),
    _world("ramp 10-50-100", 100, share=_ramp, base=_busier),
    _world("sparse 0.1 rps", 0.1, seconds=2 * HOUR),
    _world("labels: hard later", 1, hard_delay_s=_HARD_LATER),
    _world("labels: hard sooner", 1, hard_delay_s=_HARD_SOONER),
    _world("0.1 to 5 % at 1 rps", 1, mate="A/A 1 rps", **_to(0.05)),
    _world("0.1 to 1 % at 10 rps", 10, mate="A/A 10 rps", **_to(0.01)),
    _world("0.1 to 1 %", 100, mate="A/A 100 rps", **_to(0.01)),
    _world("0.1 to 5 %", 100, mate="A/A 100 rps", **_to(0.05)),
    _world("dead canary", 100, mate="A/A 100 rps", **_to(1.0)),
    _world("0.1 to 0.3 % at 1000 rps", 1000, mate="A/A 1000 rps", **_to(0.003)),
    _world("p99 doubled", 100, mate="A/A 100 rps", slowdown=2.0, onset_s=0),
    _world("slow leak", 100, mate="A/A 100 rps", worse=_leak, onset_s=1200),
    _world("0.1 to 1 %, rising load", 10, mate="A/A rising load", rps=_rising, **_to(0.01)),
    _world("4 times, outage", 100, mate="shared outage", base=_outage, **_times(4)),
    _world("4 times, drift", 100, mate="shared drift", base=_drifting, **_times(4)),
    _world("4 times, bursts", 100, mate="shared bursts", base=_bursts, **_times(4)),
    _world("4 times, ramp", 100, mate="ramp 10-50-100", share=_ramp, base=_busier, **_times(4)),
    _world("sparse 20 %", 0.1, mate="sparse 0.1 rps", seconds=2 * HOUR, **_to(0.2)),
    _world("worse, hard later", 1, mate="labels: hard later", hard_delay_s=_HARD_LATER, quality_sd=0.4, onset_s=0),
    _world("worse, hard sooner", 1, mate="labels: hard sooner", hard_delay_s=_HARD_SOONER, quality_sd=0.4, onset_s=0),
)
