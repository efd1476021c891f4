"""The kill matrix: the controller killed with SIGKILL before and after every write and command of a roll-out.

    python -m bench.rollout_chaos [--only promotion] [--rps 30] [--json FILE]

Real Ray, real Serve, a real database, constant load. First each scenario runs undisturbed, which gives its outcome and
the points that the controller goes by; then it runs once for every point, with the kill there. Every run must end as
the undisturbed one did: phase, champion and other aliases, split in every router, no application left behind; the log
must replay bit for bit; executions in the judge's book must be those of the prediction log, none lost and none twice;
the controller must be at work again within 5 s; no request may fail.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from bench._trial import FAST, Loader, Trial, trial
from core.codec import from_json
from core.schemas.predictions import ENGAGEMENT
from core.schemas.rollouts import RolloutStatus
from core.store import schema
from core.store.registry import Registry
from core.store.rollouts import RolloutStore
from core.store.splits import SplitStore

RESUME_S = 5.0
POINTS = 60
FEW_TICKS = replace(FAST, hold_s=(0.2, 0.2, 0.2))


@dataclass(frozen=True)
class End:
    """How a roll-out ended, told by roles instead of version numbers."""

    phase: str
    champion: str
    previous: str
    challenger: str
    served: str
    canary_left: bool


@dataclass(frozen=True)
class Run:
    """One run with its checks; empty `wrong`: all is well."""

    point: str
    end: End
    wrong: tuple[str, ...]
    resumed_s: float | None
    took_s: float


def until_over(made: Trial, rollout: str) -> None:
    """Nothing but waiting."""
    made.until(rollout, lambda status: status.over, 180)


def abort_at_half(made: Trial, rollout: str) -> None:
    """A person takes it back at 50 %."""
    made.until(rollout, lambda status: status.phase == "canary_50" or status.over, 180)
    made.call("steer", rollout, "abort", "bench")
    until_over(made, rollout)


def abort_after_promotion(made: Trial, rollout: str) -> None:
    """A person takes it back when it is done."""
    until_over(made, rollout)
    made.call("steer", rollout, "abort", "bench")
    made.until(rollout, lambda status: status.phase == "rolled_back", 180)


SCENARIOS: dict[str, tuple[Callable[[Trial, str], None], float]] = {  # what happens, share of errors of the canary
    "promotion": (until_over, 0.0),
    "harm": (until_over, 0.5),
    "abort at 50 %": (abort_at_half, 0.0),
    "abort after promotion": (abort_after_promotion, 0.0),
}


def played(made: Trial, scenario: str, point: str, number: int) -> Run:
    """One roll-out of whatever version is not champion."""
    act, errors = SCENARIOS[scenario]
    champion = Registry(made.made.database).resolve(ENGAGEMENT, "champion")
    assert champion is not None
    stable, version = champion.version, 3 - champion.version
    died = made.deaths.with_suffix(".died")
    died.unlink(missing_ok=True)
    made.faults.set(errors=errors)
    if point:
        made.deaths.write_text(point)
    begin = time.monotonic()
    rollout = str(made.call("start", ENGAGEMENT, version, FEW_TICKS, f"{scenario}:{number}").id)
    act(made, rollout)
    status: RolloutStatus = made.call("status", rollout)
    took = time.monotonic() - begin
    resumed = _resumed(made, died) if point else None
    made.deaths.unlink(missing_ok=True)
    end, wrong = _end(made, status, stable, version), list(_evidence(made, rollout))
    if point and resumed is None:
        wrong.append("was never killed there")
    made.call("verify", rollout)
    return Run(point, end, tuple(wrong), resumed, took)


def _resumed(made: Trial, died: Path) -> float | None:
    """Seconds from the kill to the first finished pass of the next process."""
    if not died.exists():
        return None
    give_up = time.monotonic() + 30
    at = float(died.read_text())
    while time.monotonic() < give_up:
        passed = made.of_host("passed_at")
        if passed is not None and passed > at:
            return float(passed) - at
        time.sleep(0.1)
    return float("inf")


def _end(made: Trial, status: RolloutStatus, stable: int, version: int) -> End:
    from ray import serve

    from serve_apps.canary import canary_name

    registry, split = Registry(made.made.database), SplitStore(made.made.database).read(ENGAGEMENT)
    role = {stable: "old", version: "new"}

    def named(alias: Any) -> str:
        found = registry.resolve(ENGAGEMENT, alias)
        return "nothing" if found is None else role.get(found.version, "?")

    reports = made.reports()
    served = {role.get(report.stable or 0, "?") for report in reports} | {role[split.stable] if split else "?"}
    left = canary_name(ENGAGEMENT, version) in serve.status().applications
    return End(
        status.phase,
        named("champion"),
        named("previous"),
        named("challenger"),
        "/".join(sorted(served)),
        left or any(report.canary is not None for report in reports),
    )


def _evidence(made: Trial, rollout: str) -> list[str]:
    """Executions in the book beside those of the log's rows between the first cursors and the last."""
    from actors.adaptive_learning.deployment.record import Record

    store = RolloutStore(made.made.database)
    record = from_json(Record, store.load(rollout).record)
    first = next(json.loads(row.event)["cursors"] for row in store.events(rollout) if '"started"' in row.event)
    last, p, s = record.cursors, schema.prediction, schema.shadow_score
    asked = (
        select(p.c.arm, p.c.answer != "{}", func.count())
        .where(p.c.seq > first["prediction"], p.c.seq <= last.prediction, p.c.model == record.model)
        .where(p.c.epoch.between(record.first_epoch, record.epoch))
        .group_by(p.c.arm, p.c.answer != "{}")
    )
    known = {"stable": [0, 0], "canary": [0, 0]}
    with made.made.database.read() as connection:
        for arm, answered, n in connection.execute(asked):
            side = known["stable" if arm in ("stable", "failed") else "canary"]
            side[0] += n
            side[1] += n if arm in ("failed", "rescued") else 0
            known["stable"][0] += n if arm == "rescued" and answered else 0
        for side_name, version, cursor in (
            ("stable", record.stable, "shadow_stable"),
            ("canary", record.challenger, "shadow_challenger"),
        ):
            scored = select(func.count(), func.count(s.c.answer)).where(
                s.c.seq > first[cursor], s.c.seq <= getattr(last, cursor), s.c.version == version
            )
            n, answered = connection.execute(scored).one()
            known[side_name][0] += n
            known[side_name][1] += n - answered
    cell = record.book.cells.get("errors")
    total = cell.total if cell else None
    counted = [[total.stable_n, total.stable_errors], [total.canary_n, total.canary_errors]] if total else [[0, 0]] * 2
    if counted != [known["stable"], known["canary"]]:
        return [f"the book counts {counted}, the log {list(known.values())}"]
    return []


def matrix(made: Trial, names: list[str]) -> dict[str, Any]:
    """Every scenario, every point."""
    runs: dict[str, list[Run]] = {}
    covered: set[str] = set()
    number = 0
    for scenario in names:
        before = made.of_host("counted")
        base = played(made, scenario, "", number)
        passed = made.of_host("counted")
        points = [name for name, n in passed.items() if n > before.get(name, 0) and name not in covered]
        covered |= set(points)
        print(f"== {scenario}: {base.end.phase} in {base.took_s:.0f} s, {len(points)} points", flush=True)
        if base.wrong:
            raise SystemExit(f"undisturbed, and yet: {base.wrong}")
        runs[scenario] = []
        for point in points:
            number += 1
            run = played(made, scenario, point, number)
            if run.end != base.end:
                run = replace(run, wrong=(*run.wrong, f"ended as {asdict(run.end)}"))
            runs[scenario].append(run)
            verdict = "; ".join(run.wrong) or f"{run.end.phase}, champion {run.end.champion}"
            back = "" if run.resumed_s is None else f", at work after {run.resumed_s:.1f} s"
            sign = "BAD " if run.wrong else "ok  " if (run.resumed_s or 0.0) <= RESUME_S else "SLOW"
            print(f"   {sign} kill {point:<55} {verdict}{back}", flush=True)
            number += 1
    flat = [run for found in runs.values() for run in found]
    resumed = sorted(run.resumed_s for run in flat if run.resumed_s is not None)
    return {
        "points": len(flat),
        "same_outcome": sum(not run.wrong for run in flat),
        "resumed_in_time": sum(value <= RESUME_S for value in resumed),
        "resumed_s": {"median": resumed[len(resumed) // 2], "max": resumed[-1]} if resumed else None,
        "by_scenario": {name: len(found) for name, found in runs.items()},
        "wrong": [{"point": run.point, "wrong": list(run.wrong)} for run in flat if run.wrong],
        "bar": len(flat) >= POINTS and not any(run.wrong for run in flat) and all(s <= RESUME_S for s in resumed),
    }


def main() -> int:
    """Exit code 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=tuple(SCENARIOS), help="one scenario (the bar needs all)")
    parser.add_argument("--rps", type=float, default=30.0)
    parser.add_argument("--data", type=Path, help="a bundle instead of simulated channels")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    begin = time.monotonic()
    with trial(args.data) as made, Loader(made.url, list(made.made.posts), args.rps) as load:
        time.sleep(5)
        found = matrix(made, [args.only] if args.only else list(SCENARIOS))
    failed = load.result.get("failed")
    result = {"kills": found, "load": load.result, "no_failed_request": failed == 0, "s": time.monotonic() - begin}
    text = json.dumps(result, indent=2, default=str)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")
    return 0 if found["bar"] and failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
