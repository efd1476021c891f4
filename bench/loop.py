"""The loop left to itself: a planted change of the audience is noticed, learned and put into service; else nothing.

    python -m bench.loop [--seeds 1] [--channels 15] [--after 28] [--days 30] [--json FILE]   # simulated channels
    python -m bench.loop --data BUNDLE [--days 30]                 # without drift: the last 30 days of a bundle

A: 90 days of history, a first version, ten days without a change, then the audience's taste turns round for good. The
trigger must be drift or performance, and the mean |log error| of what is asked after the promotion (views at 24 h and
72 h) within 10 % of before, in the mix of targets and ages of before. B: the same channels and posts without the
change; no workflow may begin. What B has in the days that A is judged by is shown too: days are not equally hard. The
fewer the channels, the longer the errors stay: posts of the new world and evidence of the trial both come from traffic.
Every part is the product's (bench/_loop_world.py) and all rules are its defaults, but for: waits of a roll-out 2 s a
step and one second a tick, so that its evidence alone takes time; a first training of fewer epochs and folds.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from bench._loop_world import LoopWorld, loop_world
from core.clock import DAY, HOUR
from core.ingest.simulator import SimulatorConfig, simulate
from core.schemas.predictions import ENGAGEMENT
from core.schemas.rollouts import Phase
from core.schemas.workflows import Step, Workflow
from core.store.outcomes import JoinedOutcome

POSTS_A_DAY, HISTORY_DAYS, BEFORE_DAYS = 4.0, 90, 10
STEP_S = 6 * HOUR
FIRST: dict[str, object] = {"epochs": 15, "folds": 2}
BACK, TRIGGERS = 1.10, ("drift", "performance")
#: Targets of the bar on errors: of others too few are measured by the end.
JUDGED = ("views_24h", "views_72h")

Errors = dict[str, list[float]]  # |log error| by target and known age


@dataclass
class Lived:
    """What a run left behind."""

    begun: int  # when the first version was in service
    ended: int = 0
    workflows: list[Workflow] = field(default_factory=list)  # begun by the loop itself, oldest first
    outcomes: list[JoinedOutcome] = field(default_factory=list)
    published: dict[tuple[int, int], int] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    reported: tuple[int, str] | None = None  # first drift report to act upon
    shares: list[tuple[int, int, str]] = field(default_factory=list)  # when, version, phase of its roll-out

    @property
    def promoted(self) -> list[tuple[int, int]]:
        """When each version replaced the one before."""
        return [(at, version) for at, version, phase in self.shares if phase == Phase.PROMOTED]

    def errors(self, *, since: int = 0, until: int = 2**62, asked: tuple[int, int] = (0, 2**62)) -> Errors:
        """Of posts published, and answers asked for, within some time."""
        found: Errors = defaultdict(list)
        for o in self.outcomes:
            if since <= self.published[o.channel_id, o.post_id] < until and asked[0] <= o.as_of < asked[1]:
                found[f"{o.target}@{o.known_age_h}"].append(abs(o.log_error))
        return dict(sorted(found.items()))


def first_version(world: LoopWorld) -> None:
    """Feed the history and put a first version into service."""
    first = world.begin(FIRST)
    if first.step is not Step.DONE:
        raise SystemExit(f"no first version: {first.events[-1].reason}")


def left_alone(world: LoopWorld, lived: Lived, until: int | None = None) -> None:
    """Let time pass, to the data's end or a moment."""
    while not world.exhausted and (until is None or world.now < until):
        status = world.step()
        _watch(world, status.champion, lived)


def told(world: LoopWorld, lived: Lived) -> Lived:
    """What happened, with everything that the world knows of it."""
    lived.ended, lived.published, lived.outcomes = world.now, world.published, world.errors()
    kept = [w for w in world.orchestrator.workflows(ENGAGEMENT) if w.trigger != "bootstrap"]
    lived.workflows = [world.orchestrator.workflow(w.id) for w in reversed(kept)]
    lived.answers = dict(world.answers)
    lived.seconds = {name: round(value, 1) for name, value in world.seconds.items()}
    for rollout in reversed(world.orchestrator.rollouts(ENGAGEMENT)):
        events = world.orchestrator.rollout_events(rollout.id)
        phases = [(event.at, rollout.challenger, event.phase) for event in events]
        lived.shares += [p for i, p in enumerate(phases) if i == 0 or p[2] != phases[i - 1][2]]
    return lived


def _watch(world: LoopWorld, champion: int | None, lived: Lived) -> None:
    if champion is None or lived.reported is not None:
        return
    report = world.drift.latest(ENGAGEMENT, champion)
    if report is not None and report.severity in ("medium", "high"):
        lived.reported = (report.at, report.notes[0])


def mean(errors: Errors, mix: Errors) -> float:
    """Mean over targets and ages in the mix of another set; NaN where one of them is missing."""
    weights = {name: len(values) for name, values in mix.items()}
    if any(name not in errors for name in weights):
        return float("nan")
    return float(sum(n * np.mean(errors[name]) for name, n in weights.items()) / sum(weights.values()))


# ---------------------------------------------------------------- the two scenarios


def drifting(seed: int, twin: Lived, lived: Lived, drift_at: int) -> dict[str, Any]:
    """Print how the loop took a planted change; the figures."""
    served = (drift_at - lived.begun) / DAY
    print(f"\nA, seed {seed}: the audience changes at {day(drift_at)}, {served:.1f} days in service")
    ours = [w for w in lived.workflows if w.created_at >= drift_at]
    early = len(lived.workflows) - len(ours)
    if lived.reported is not None:
        print(f"  {since(lived.reported[0], drift_at)} reported: {lived.reported[1]}")
    for workflow in ours:
        print(f"  {since(workflow.created_at, drift_at)} workflow begins by itself: {workflow.trigger}")
        for event in workflow.events:
            print(f"  {since(event.at, drift_at)}   {event.to_step}: {event.reason}")
    for at, version, phase in lived.shares:
        print(f"  {since(at, drift_at)} v{version}: {phase}")
    before = lived.errors(until=drift_at)
    moments = [at for at, _ in lived.promoted if at >= drift_at]
    first = moments[0] if moments else lived.ended
    during = lived.errors(since=drift_at, asked=(0, first))
    after = lived.errors(since=drift_at, asked=(moments[-1], 2**62)) if moments else {}
    calm = twin.errors(since=drift_at, asked=(moments[-1], 2**62)) if moments else {}
    columns = {"before": before, "drifted": during, "promoted": after, "never drifted": calm}
    print(f"  mean |log error| (n)   {''.join(f'{name:>20}' for name in columns)}")
    for name in before:
        cells = "".join(
            f"{f'{np.mean(part[name]):.4f} ({len(part[name])})' if name in part else '-':>20}"
            for part in columns.values()
        )
        print(f"    {name:<20}{cells}")
    judged = {name: errors for name, errors in before.items() if name.split("@")[0] in JUDGED}
    means = {name: mean(part, judged) for name, part in columns.items()}
    print(f"    {'24 h, 72 h, as before':<20}{''.join(f'{value:>20.4f}' for value in means.values())}")
    return {
        "seed": seed,
        "early_workflows": early,
        "trigger": ours[0].trigger if ours else None,
        "days": {
            "reported": None if lived.reported is None else (lived.reported[0] - drift_at) / DAY,
            "triggered": (ours[0].created_at - drift_at) / DAY if ours else None,
            "promoted": [(at - drift_at) / DAY for at in moments],
        },
        "error": means,
        "ratio": means["promoted"] / means["before"],
        "to_calm": means["promoted"] / means["never drifted"],
        "answers": lived.answers,
        "seconds": lived.seconds,
    }


def quiet(name: str, lived: Lived) -> dict[str, Any]:
    """Print what began without a cause; the figures."""
    days = (lived.ended - lived.begun) / DAY
    print(
        f"\nB, {name}: {days:.1f} days in service without a planted change, {sum(lived.answers.values())} predictions"
    )
    for workflow in lived.workflows:
        print(f"  {since(workflow.created_at, lived.begun)} workflow begins by itself: {workflow.trigger}")
        for event in workflow.events:
            print(f"  {since(event.at, lived.begun)}   {event.to_step}: {event.reason}")
    return {
        "name": name,
        "days": days,
        "workflows": [(w.created_at - lived.begun) / DAY for w in lived.workflows],
        "answers": lived.answers,
        "seconds": lived.seconds,
    }


def simulated(seed: int, channels: int, after: int, days: int, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both scenarios over the same channels and posts; they are one until the change."""
    lasting = max(BEFORE_DAYS + after, days + 1)
    span = HISTORY_DAYS + lasting
    bundles = {name: folder / f"{name}{seed}" for name in ("calm", "drift", "calm-home", "drift-home")}
    for home in ("calm-home", "drift-home"):
        bundles[home].mkdir()
    share = (HISTORY_DAYS + BEFORE_DAYS) / span
    simulate(_config(seed, channels, span, None), bundles["calm"], kind="parquet")
    moment = simulate(_config(seed, channels, span, share), bundles["drift"], kind="parquet").drift_at
    assert moment is not None
    with loop_world(bundles["calm"], bundles["calm-home"], lasting, STEP_S) as world:
        first_version(world)
        calm, drifted = Lived(world.now), Lived(world.now)
        left_alone(world, calm, moment - STEP_S)
        world.copied(bundles["drift-home"])
        left_alone(world, calm)
        told(world, calm)
    found = quiet(f"simulated, seed {seed}", calm)
    with loop_world(bundles["drift"], bundles["drift-home"], lasting, STEP_S) as world:
        world.resume()
        left_alone(world, drifted)
        told(world, drifted)
    return found, drifting(seed, calm, drifted, moment)


def _config(seed: int, channels: int, days: int, drift_at: float | None) -> SimulatorConfig:
    return SimulatorConfig(channels=channels, days=days, posts_per_day=POSTS_A_DAY, seed=seed, drift_at=drift_at)


def imported(bundle: Path, days: int) -> dict[str, Any]:
    """The last days of a bundle."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-loop-") as home,
        loop_world(bundle, Path(home), days + 0.5, STEP_S) as world,
    ):
        first_version(world)
        lived = Lived(world.now)
        left_alone(world, lived)
        return quiet(bundle.name, told(world, lived))


def judged(drifts: list[dict[str, Any]], quiets: list[dict[str, Any]], days: float) -> list[tuple[str, str, bool]]:
    """Each bar: its name, the figure, whether it is met."""
    bars = [
        (
            f"workflows begun in the first {days:g} days without drift: 0",
            ", ".join(f"{len(_within(q, days))} of {len(q['workflows'])} in {q['days']:.1f} days" for q in quiets),
            all(not _within(q, days) and q["days"] >= days for q in quiets),
        )
    ]
    if drifts:
        ratios = [d["ratio"] for d in drifts]
        shown = ", ".join(f"{d['ratio']:.3f} ({d['to_calm']:.3f} of what never drifted has then)" for d in drifts)
        bars += [
            (
                "planted drift: triggered by drift or performance, promoted without a hand",
                ", ".join(f"{d['trigger']}, {len(d['days']['promoted'])} promoted" for d in drifts),
                all(d["trigger"] in TRIGGERS and d["days"]["promoted"] and not d["early_workflows"] for d in drifts),
            ),
            (f"mean |log error| after it within {BACK - 1:.0%} of before", shown, bool(np.mean(ratios) <= BACK)),
        ]
    return bars


def _within(figures: dict[str, Any], days: float) -> list[float]:
    """Workflows of a run that began in its first days."""
    return [at for at in figures["workflows"] if at < days]


def day(at: int) -> str:
    """A moment of the data."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def since(at: int, moment: int) -> str:
    """A moment as days after another."""
    return f"{(at - moment) / DAY:+6.2f} d"


def main(arguments: Iterable[str] | None = None) -> int:
    """Print everything; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a bundle for B; A is left out")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--channels", type=int, default=15)
    parser.add_argument("--after", type=int, default=28, help="days lived through after the change")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(None if arguments is None else list(arguments))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    begun, cpu = time.perf_counter(), time.process_time()
    drifts: list[dict[str, Any]] = []
    quiets: list[dict[str, Any]] = []
    if options.data is not None:
        quiets.append(imported(options.data, options.days))
    else:
        with tempfile.TemporaryDirectory(prefix="bench-loop-") as folder:
            for seed in range(7, 7 + options.seeds):
                calm, drifted = simulated(seed, options.channels, options.after, options.days, Path(folder))
                quiets.append(calm)
                drifts.append(drifted)
    bars = judged(drifts, quiets, options.days)
    print()
    for name, figure, met in bars:
        print(f"{'met   ' if met else 'MISSED'}  {name}: {figure}")
    print(f"{time.perf_counter() - begun:.0f} s, {time.process_time() - cpu:.0f} s of processor time")
    if options.json is not None:
        result = {"drift": drifts, "quiet": quiets, "bars": {name: met for name, _, met in bars}}
        options.json.write_text(json.dumps(result, indent=1))
    return 0 if all(met for _, _, met in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
