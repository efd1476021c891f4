"""Roll-outs on a real local Ray under constant load: false roll-backs, detection, actuation, and the whole way up.

    python -m bench.rollout aa [--runs 20]          # equal versions: how many are taken back
    python -m bench.rollout detect [--runs 11]      # fault injected → no router gives the canary anything
    python -m bench.rollout rollback [--runs 100]   # a person's abort → the router gives the canary nothing
    python -m bench.rollout happy [--speed 4]       # 10 → 50 → 100 % → promoted with the default holds, or shorter ones

All take --rps (default 100), --json FILE and --data DIR (a bundle instead of simulated channels). Outcomes are joined
by the feedback service at once instead of a day later (the data's clock stands at its end): an accelerated clock. `aa`,
`detect` and `rollback` shorten the holds as well. Both versions have the same weights; the canary fails as told.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

from actors.adaptive_learning.deployment.explanation import screen
from bench._trial import FAST, Loader, Trial, trial
from core.schemas.predictions import ENGAGEMENT
from core.schemas.rollouts import Phase, RolloutConfig, RolloutStatus

#: Injected from → to: shares of the canary's executions, and the bar for the median in seconds.
FAULTS: dict[str, tuple[float, float, float]] = {"0.1 → 1 %": (0.001, 0.01, 35.0), "0.1 → 5 %": (0.001, 0.05, 8.0)}
DEAD_S = 2.0
LOST_MS = 250.0


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, 90 and 99 % quantiles and largest (nearest rank)."""
    ordered = sorted(values)
    if not ordered:
        return {}
    at = {q: ordered[ceil(len(ordered) * q) - 1] for q in (0.9, 0.99)}
    return {"median": statistics.median(ordered), "p90": at[0.9], "p99": at[0.99], "max": ordered[-1]}


def rounded(value: Any) -> Any:
    """Figures with three decimals, wherever they are."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {name: rounded(item) for name, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def begun(made: Trial, version: int, config: RolloutConfig, key: str) -> str:
    """Start a roll-out; its id."""
    return str(made.call("start", ENGAGEMENT, version, config, key).id)


def at_first_share(status: RolloutStatus) -> bool:
    """On trial, and every router does what is intended; or over."""
    return status.over or (status.weight > 0 and status.observed_weight == status.weight)


def over(status: RolloutStatus) -> bool:
    """It has ended."""
    return status.over


def aa(made: Trial, runs: int) -> dict[str, Any]:
    """Equal versions, each promoted over the other in turn."""
    ends: list[dict[str, Any]] = []
    for run in range(runs):
        version = 2 - run % 2
        begin = time.monotonic()
        status = made.until(begun(made, version, FAST, f"aa{run}"), over, 300)
        ends.append({"phase": status.phase, "s": time.monotonic() - begin, "reason": status.reason})
        print(f"   {run + 1}/{runs} {status.phase} after {ends[-1]['s']:.0f} s: {status.reason[:110]}", flush=True)
    back = [end for end in ends if end["phase"] != Phase.PROMOTED]
    return {"runs": runs, "not_promoted": len(back), "reasons": [end["reason"] for end in back], "bar": len(back) <= 1}


def detect(made: Trial, runs: int) -> dict[str, Any]:
    """Delays from the injected fault to no router giving the canary anything; then its process killed."""
    waiting = replace(FAST, hold_s=(3600.0, 3600.0, 3600.0), deadline_s=36000.0)
    found: dict[str, Any] = {}
    for name, (before, after, bar) in FAULTS.items():
        delays, reasons = [], []
        for run in range(runs):
            made.faults.set(errors=before)
            delay, reason = _detected(made, waiting, f"{name}{run}", partial(made.faults.set, errors=after))
            delays.append(delay)
            reasons.append(reason)
            print(f"   {name} {run + 1}/{runs}: {delay:.1f} s ({reason[:60]})", flush=True)
        found[name] = {"s": spread(delays), "bar_s": bar, "bar": statistics.median(delays) <= bar, "runs": runs}
    made.faults.set()
    delays = []
    for run in range(runs):
        delay, reason = _detected(made, waiting, f"dead{run}", lambda: _kill_canary(made))
        delays.append(delay)
        print(f"   dead canary {run + 1}/{runs}: {delay:.2f} s ({reason[:60]})", flush=True)
    found["dead canary"] = {"s": spread(delays), "bar_s": DEAD_S, "bar": max(delays) <= DEAD_S, "runs": runs}
    return found


def _detected(made: Trial, config: RolloutConfig, key: str, fault: Callable[[], None]) -> tuple[float, str]:
    rollout = begun(made, 2, config, key)
    status = made.until(rollout, at_first_share)
    if status.over:
        raise SystemExit(f"over before the fault: {status.reason}")
    time.sleep(5)  # healthy traffic first: evidence for the canary has piled up
    begin = time.time()
    fault()
    at = made.weightless(180)
    status = made.until(rollout, over)
    return (float("inf") if at is None else at - begin), status.reason


def _kill_canary(made: Trial) -> None:
    import os
    import signal

    from ray import serve

    from serve_apps.canary import canary_name

    os.kill(serve.get_app_handle(canary_name(ENGAGEMENT, 2)).pid.remote().result(timeout_s=10), signal.SIGKILL)


def rollback(made: Trial, runs: int) -> dict[str, Any]:
    """From a person's abort to the router giving the canary nothing, by the router's own clock, and to the answer."""
    waiting = replace(FAST, hold_s=(3600.0, 3600.0, 3600.0), deadline_s=36000.0)
    takes, orders = [], []
    for run in range(runs):
        rollout = begun(made, 2, waiting, f"back{run}")
        status = made.until(rollout, at_first_share)
        if status.over:
            raise SystemExit(f"over before the abort: {status.reason}")
        epoch = max(report.epoch for report in made.reports())
        begin = time.time()
        made.call("steer", rollout, "abort", "bench")  # returns when the split is stored and pushed
        orders.append((time.time() - begin) * 1000)
        at = made.taken_over(epoch, 30)
        takes.append(float("inf") if at is None else (at - begin) * 1000)
        made.until(rollout, over)
        if run % 10 == 9:
            print(f"   {run + 1}/{runs}: median {statistics.median(takes):.0f} ms", flush=True)
    figures = spread(takes)
    return {"runs": runs, "in_force_ms": figures, "answered_ms": spread(orders), "bar": figures["p99"] <= LOST_MS}


def happy(made: Trial, config: RolloutConfig) -> dict[str, Any]:
    """The whole way up with the default holds and both gates."""
    begin = time.monotonic()
    rollout = begun(made, 2, config, "happy")
    seen = ""
    end = begin + 900
    while True:
        status: RolloutStatus = made.call("status", rollout)
        if status.phase != seen:
            seen = status.phase
            print(f"   {time.monotonic() - begin:6.1f} s {status.phase}: {status.reason[:120]}", flush=True)
        if status.over or time.monotonic() > end:
            break
        time.sleep(0.5)
    took = time.monotonic() - begin
    explained = made.call("explain", rollout)
    print("\n".join(screen(explained)), flush=True)
    good = status.phase == Phase.PROMOTED and took <= 720 and explained.verified
    return {
        "phase": status.phase,
        "s": took,
        "events": explained.events,
        "log_verified": explained.verified,
        "bar": good,
    }


def main() -> int:
    """Exit code 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("aa", "detect", "rollback", "happy"), nargs="?", default="rollback")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--rps", type=float, default=100.0)
    parser.add_argument("--speed", type=float, default=1.0, help="divides the holds of `happy`")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    begin = time.monotonic()
    with trial(args.data, keep=args.what == "rollback") as made:
        print(f"== {args.what} at {args.rps:g} requests a second", flush=True)
        with Loader(made.url, list(made.made.posts), args.rps) as load:
            time.sleep(5)
            match args.what:
                case "aa":
                    found = aa(made, args.runs or 20)
                case "detect":
                    found = detect(made, args.runs or 11)
                case "rollback":
                    found = rollback(made, args.runs or 100)
                case _:
                    holds = tuple(hold / args.speed for hold in RolloutConfig().hold_s)
                    print(f"   holds of {holds} s; outcomes at once instead of after a day", flush=True)
                    found = happy(made, replace(RolloutConfig(), skip_validation=True, hold_s=holds))
    bars = [found["bar"]] if "bar" in found else [part["bar"] for part in found.values()]
    none_failed = load.result.get("failed") == 0 and load.result.get("requests", 0) > 0
    result = {args.what: found, "load": load.result, "no_failed_request": none_failed, "s": time.monotonic() - begin}
    text = json.dumps(rounded(result), indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")
    return 0 if all(bars) and none_failed else 1


if __name__ == "__main__":
    sys.exit(main())
