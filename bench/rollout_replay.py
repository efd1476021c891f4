"""How much faster than real time a roll-out's log replays: bit for bit, and under three other configurations.

    python -m bench.rollout_replay                 # an hour of 100 requests a second, with a pass every second
    python -m bench.rollout_replay --seconds 7200 --rps 1000 --json FILE

Recorded are two roll-outs of simulated traffic, one with counts for each known age as well; seeds are fixed. Reading
the log and checking its hashes is part of the exact replay's time. A replay waits for nothing, so the processor's time
is what it takes; the least of three takes counts, since other work on the machine only slows one. The wall's time
stands beside it. Bars: each at least 1,000 times real time, the exact one identical in every row.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from actors.adaptive_learning.deployment.retrospective import replay
from bench._rollout_tape import Tape, Traffic, tape
from core.schemas.rollouts import STRATEGIES, Replayed, RolloutConfig, configured

TIMES_REAL = 1000.0
TAKES = 3


def others(config: RolloutConfig) -> dict[str, RolloutConfig]:
    """What a person might ask about before changing the settings."""
    kept = {"by_known_age": config.by_known_age}
    return {
        "rolling": configured({}, STRATEGIES["rolling"] | kept),
        "stricter": replace(config, alpha=0.005, beta=0.005, error_slo=0.005),
        "blue_green": configured({}, STRATEGIES["blue_green"] | kept),
    }


def recorded(seconds: int, rps: float, *, by_known_age: bool) -> tuple[Tape, float]:
    """A roll-out whose holds fill the time asked for, and how long simulating it took."""
    begun = time.perf_counter()
    config = RolloutConfig(hold_s=(seconds / 3 + 1,) * 3, by_known_age=by_known_age)
    made = tape(config, seed=11)
    made.run(2 * seconds, Traffic(rps=rps))
    return made, time.perf_counter() - begun


def timed(call: Callable[[], Replayed]) -> dict[str, Any]:
    """Figures of the quickest take."""
    takes = []
    for _ in range(TAKES):
        wall, processor = time.perf_counter(), time.process_time()
        found = call()
        takes.append((time.process_time() - processor, time.perf_counter() - wall, found))
    took_s, wall_s, found = min(takes, key=lambda take: take[0])
    return {
        "events": found.events,
        "recorded_s": round(found.recorded_s, 1),
        "took_s": round(took_s, 4),
        "wall_s": round(wall_s, 4),
        "times_real": round(found.recorded_s / took_s),
        "identical": found.identical,
        "phase": found.phase,
        "transitions": [f"{step['at_s']:g} s {step['phase']}" for step in found.transitions],
    }


def measured(seconds: int, rps: float, *, by_known_age: bool) -> dict[str, Any]:
    """One recording and all that is asked of it."""
    made, simulated_s = recorded(seconds, rps, by_known_age=by_known_age)
    found = {"recorded": timed(lambda: replay(made.rows()))}
    rows = made.rows()
    found |= {name: timed(partial(replay, rows, config)) for name, config in others(made.config).items()}
    return {"simulated_in_s": round(simulated_s, 1), **found}


def bars(result: dict[str, dict[str, Any]], seconds: int) -> dict[str, bool]:
    """What must hold of each replay of each recording."""
    judged = {}
    for recording, found in result.items():
        for name, one in found.items():
            if isinstance(one, dict):
                judged[f"{recording}, {name}: >= {TIMES_REAL:g} x real time"] = one["times_real"] >= TIMES_REAL
        judged[f"{recording}: identical in every row"] = found["recorded"]["identical"] is True
        judged[f"{recording}: at least {seconds} s"] = found["recorded"]["recorded_s"] >= seconds
    return judged


def main() -> int:
    """Exit code 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3600, help="of the roll-out, at least")
    parser.add_argument("--rps", type=float, default=100.0)
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    result: dict[str, Any] = {
        "counts of all": measured(args.seconds, args.rps, by_known_age=False),
        "by known age": measured(args.seconds, args.rps, by_known_age=True),
    }
    result["bars"] = bars(result, args.seconds)
    text = json.dumps(result, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")
    return 0 if all(result["bars"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
