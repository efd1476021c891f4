"""The judge beside other tools' rules on the same traces: false roll-backs, and how soon a worse canary is found.

    python -m bench.judge_league [--runs 40] [--data DIR] [--write DIR] [--json FILE] [--workers 2]

Without --data the traces are simulated (bench/_worlds.py; seeds are fixed), --write puts them down as JSON files,
--data reads such files. `bench/_rivals.py` says what each rule is and where it is published. Ours is the shipped judge
with its default configuration, all seven guards at once; only `Harm` counts as a roll-back.

How "best" is decided. A faulty scenario is scored together with its healthy mate: the same traffic and shared troubles,
a canary that is not worse. A rule that rolls back more than 5 % of the mate's runs is no detector there, however quick.
Among the others the least median delay wins (a run never found counts as infinite, a roll-back before the canary became
worse as never found); equal medians are decided by the 90 % quantile, what is then equal is nobody's. Ours must be
strictly best in more than half of the pairs, else the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from actors.adaptive_learning.deployment import bookkeeping, judge
from actors.adaptive_learning.deployment.bookkeeping import Book, Executions
from actors.adaptive_learning.deployment.judge import Harm
from bench import _traces
from bench._rivals import COUNTING, LABELLING
from bench._traces import Arm, Trace
from bench._worlds import WORLDS
from core.schemas.rollouts import COUNTED, RolloutConfig

OURS = "ours"
TOLERATED = 0.05


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one rule did with one trace: the second of its roll-back, None: it let the canary live."""

    scenario: str
    mate: str
    onset_s: int | None
    rule: str
    at_s: int | None


@dataclass(frozen=True, slots=True)
class Score:
    """A rule in a scenario. rate: rolled back falsely where healthy, found where not; delays in s, inf: not found."""

    rate: float
    median_s: float
    p90_s: float


@dataclass(frozen=True, slots=True)
class Pair:
    """A faulty scenario and its mate. best: who is strictly best, empty: nobody. barred: too many false roll-backs."""

    scenario: str
    mate: str
    best: str
    barred: tuple[str, ...]


def ours(trace: Trace, config: RolloutConfig) -> int | None:
    """The second at which the shipped judge condemns the canary."""
    book, stable, canary = Book(), _ticks(trace.stable), _ticks(trace.canary)
    pairs: dict[int, list[float]] = defaultdict(list)
    for tick, difference in trace.pairs:
        pairs[tick].append(difference)
    for tick, ((stable_n, stable_events), (canary_n, canary_events)) in enumerate(zip(stable, canary, strict=True)):
        if stable_n + canary_n:
            seen = Executions(stable_n, canary_n, stable_events, canary_events)
            book = bookkeeping.with_counts(book, {"": seen}, config)
        for difference in pairs.get(tick, ()):
            book = bookkeeping.with_pair(book, difference, config)
        if isinstance(judge.verdict(book, config, ()), Harm):
            return tick + 1
    return None


def _ticks(arm: Arm) -> list[tuple[int, dict[str, int]]]:
    """Executions and events of each tick, as the judge takes them."""
    events: list[dict[str, int]] = [{} for _ in range(len(arm.n))]
    for name in COUNTED:
        counts = arm.events[name]
        for tick in np.flatnonzero(counts):
            events[tick][name] = int(counts[tick])
    return list(zip(arm.n.tolist(), events, strict=True))


def played(trace: Trace) -> list[Outcome]:
    """Every rule that can see something in this trace."""
    rules = LABELLING if trace.labels else COUNTING
    at = {OURS: ours(trace, RolloutConfig())} | {name: rule(trace) for name, rule in rules.items()}
    return [Outcome(trace.scenario, trace.mate, trace.onset_s, name, when) for name, when in at.items()]


def _played_simulated(task: tuple[int, int, Path | None]) -> list[Outcome]:
    place, run, folder = task
    trace = _traces.simulated(WORLDS[place], run)
    if folder is not None:
        _traces.write(trace, folder)
    return played(trace)


def _played_file(path: Path) -> list[Outcome]:
    return played(_traces.from_plain(json.loads(path.read_text())))


def simulated(runs: int, workers: int, folder: Path | None = None) -> list[Outcome]:
    """Every scenario `runs` times; the number of workers changes nothing but the time."""
    tasks = [(place, run, folder) for run in range(runs) for place in range(len(WORLDS))]
    if workers == 1:
        return [outcome for task in tasks for outcome in _played_simulated(task)]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        return [outcome for found in pool.imap(_played_simulated, tasks, chunksize=4) for outcome in found]


def recorded(folder: Path, workers: int) -> list[Outcome]:
    """Every trace of a folder."""
    paths = sorted(folder.glob(_traces.FILES))
    if workers == 1:
        return [outcome for path in paths for outcome in _played_file(path)]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        return [outcome for found in pool.imap(_played_file, paths, chunksize=4) for outcome in found]


# ---------------------------------------------------------------- scores


def scores(outcomes: Iterable[Outcome]) -> dict[str, dict[str, Score]]:
    """By scenario and rule, in the order of first appearance."""
    found: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        found[outcome.scenario, outcome.rule].append(outcome)
    result: dict[str, dict[str, Score]] = defaultdict(dict)
    for (scenario, rule), of in found.items():
        result[scenario][rule] = _score(of)
    return dict(result)


def _score(outcomes: Sequence[Outcome]) -> Score:
    delays = [_delay(outcome) for outcome in outcomes]
    rate = sum(math.isfinite(delay) for delay in delays) / len(delays)
    median, p90 = np.quantile(delays, (0.5, 0.9), method="higher")
    return Score(rate, float(median), float(p90))


def _delay(outcome: Outcome) -> float:
    since = outcome.onset_s or 0
    return math.inf if outcome.at_s is None or outcome.at_s <= since else outcome.at_s - since


def compared(outcomes: Sequence[Outcome], by: Mapping[str, Mapping[str, Score]]) -> list[Pair]:
    """Who is strictly best in each faulty scenario whose mate was played too."""
    faulty = {o.scenario: o.mate for o in outcomes if o.onset_s is not None and o.mate in by}
    return [_pair(scenario, mate, by[scenario], by[mate]) for scenario, mate in faulty.items()]


def _pair(scenario: str, mate: str, found: Mapping[str, Score], healthy: Mapping[str, Score]) -> Pair:
    barred = tuple(rule for rule in found if healthy[rule].rate > TOLERATED)
    delays = sorted((s.median_s, s.p90_s, rule) for rule, s in found.items() if rule not in barred)
    best = ""
    if delays and math.isfinite(delays[0][0]) and (len(delays) == 1 or delays[0][:2] < delays[1][:2]):
        best = delays[0][2]
    return Pair(scenario, mate, best, barred)


# ---------------------------------------------------------------- on screen


def table(outcomes: Sequence[Outcome], by: Mapping[str, Mapping[str, Score]]) -> str:
    """Healthy scenarios (false roll-backs), faulty ones (found, median / 90 % delay in seconds)."""
    lines: list[str] = []
    labelled = {scenario for scenario, rules in by.items() if any(rule in LABELLING for rule in rules)}
    faulty = {outcome.scenario for outcome in outcomes if outcome.onset_s is not None}
    for names, chosen in ((COUNTING, set(by) - labelled), (LABELLING, labelled)):
        rules = (OURS, *names)
        for title, bad in (("false roll-backs", False), ("found, median / 90 % delay in s", True)):
            rows = [scenario for scenario in by if scenario in chosen and (scenario in faulty) == bad]
            if rows:
                lines.append(f"\n{title:34}" + "".join(f"{rule:>15}" for rule in rules))
                lines += [
                    f"{row:34}" + "".join(f"{_cell(by[row].get(rule), bad):>15}" for rule in rules) for row in rows
                ]
    return "\n".join(lines)


def _cell(score: Score | None, faulty: bool) -> str:
    if score is None:
        return "-"
    if not faulty:
        return f"{score.rate:.1%}"
    if score.rate == 0:
        return "never"
    return f"{score.rate:.0%} {_seconds(score.median_s)}/{_seconds(score.p90_s)}"


def _seconds(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else "-"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and who is best; 1 when ours is strictly best in half of the pairs or fewer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    options, _ = parser.parse_known_args(arguments)
    begin = time.monotonic()
    if options.data is not None and not any(options.data.glob(_traces.FILES)):
        parser.error(f"{options.data} holds no {_traces.FILES}")
    if options.data is not None:
        outcomes = recorded(options.data, options.workers)
    else:
        outcomes = simulated(options.runs, options.workers, options.write)
    by = scores(outcomes)
    pairs = compared(outcomes, by)
    print(table(outcomes, by))
    print(f"\n{'strictly best (false roll-backs of its mate <= 5 %)':52}")
    for pair in pairs:
        barred = f"   no detector there: {', '.join(pair.barred)}" if pair.barred else ""
        print(f"  {pair.scenario:26} {pair.best or 'nobody':14}{barred}")
    won = sum(pair.best == OURS for pair in pairs)
    wall_s = time.monotonic() - begin
    print(f"\nours strictly best in {won} of {len(pairs)} pairs; {wall_s:.0f} s")
    if options.json is not None:
        plain = {scenario: {rule: asdict(score) for rule, score in rules.items()} for scenario, rules in by.items()}
        found = {"scores": plain, "pairs": [asdict(pair) for pair in pairs], "won": won, "wall_s": wall_s}
        options.json.write_text(json.dumps(found, indent=1))
    return 0 if 2 * won > len(pairs) else 1


if __name__ == "__main__":
    sys.exit(main())
