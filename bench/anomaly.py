"""How well anomalies are found in series: NAB's score, false alarms on clean series, speed.

    python -m bench.anomaly [--data DIR [--out DIR] [--labels FILE]] [--json FILE]

Every `*.csv` below --data that has the columns timestamp and value is read as a stream: in order, a row at a time, no
look-ahead, no labels, one pass. The same files go to --out with a column `anomaly_score` in [0, 1]; a row without a
number as its value scores 0. --labels: windows by relative path, [[first, last], ...]; then the files are scored by
NAB's rules, with the threshold chosen in hindsight and with the one fixed in advance (the detector's own, set by its
budget of false alarms), beside the windowed Gaussian detector, and over thresholds chosen on the other folders and on
the other files. Without --data only the clean series and the speed. The exit code is 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from actors.anomaly_analysis.backfill import score_many
from actors.anomaly_analysis.surprise import ALARM, BUDGET, SurpriseState, from_text, score, to_text
from bench import _clean, _gaussian, _nab
from core.errors import InvalidInput
from core.history import Floats

RESTART_EVERY = 1000  # rows, in the pass that shows that a restart changes nothing
FOLDS, PARTITIONS = 6, 5
BARS_BEST = {"standard": 70.0, "low_fp": 60.0, "low_fn": 76.0}
BAR_FIXED, BAR_STREAMING, BAR_BATCHED, BAR_STATE = 60.0, 20_000.0, 200_000.0, 4096.0
LANES, LANE_POINTS = 1024, 1000


@dataclass
class Sheet:
    """Figures found, each beside its bar."""

    figures: dict[str, Any] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)

    def line(self, name: str, value: float, at_least: float | None = None, at_most: float | None = None) -> None:
        """Print a figure and whether it keeps its bar (none: to be seen, not judged)."""
        kept = (at_most is None or value <= at_most) and (at_least is None or value >= at_least)
        bar = " and ".join(f"{sign} {x:g}" for sign, x in ((">=", at_least), ("<=", at_most)) if x is not None)
        self.figures[name] = {"value": value, "bar": bar, "kept": kept}
        if not kept:
            self.missed.append(name)
        print(f"  {name:62} {value:10.4g}  {bar:18} {'' if not bar else 'kept' if kept else 'MISSED'}", flush=True)


@dataclass(frozen=True, slots=True)
class File:
    """A series and what the detector gave its rows."""

    name: str
    header: list[str]
    rows: list[list[str]]
    values: list[float]
    hours: list[int]

    @property
    def timestamps(self) -> pd.Series:
        """As read."""
        at = self.header.index("timestamp")
        return pd.Series([row[at] for row in self.rows])


def read(folder: Path) -> list[File]:
    """Every series below a folder; files of another kind are named and passed over."""
    found = []
    for path in sorted(folder.rglob("*.csv")):
        name = path.relative_to(folder).as_posix()
        with path.open(newline="") as file:
            lines = csv.reader(file)
            header = next(lines, [])
            if not {"timestamp", "value"} <= set(header):
                print(f"  passed over: {name} has no columns timestamp and value")
                continue
            rows = [row for row in lines if row]
        t, v = header.index("timestamp"), header.index("value")
        try:
            hours = pd.to_datetime(pd.Series([row[t] for row in rows])).dt.hour.tolist()
        except ValueError as error:
            raise InvalidInput(f"{name}: {error}", field="timestamp") from error
        values = pd.to_numeric(pd.Series([row[v] for row in rows]), errors="coerce").astype(float).tolist()
        found.append(File(name, header, rows, values, hours))
    return found


def streamed(file: File, restart_every: int | None = None) -> Floats:
    """Scores, a point at a time; the state goes through its stored form every so many rows."""
    state, found = SurpriseState(), []
    for i, (value, hour) in enumerate(zip(file.values, file.hours, strict=True)):
        if restart_every and i and i % restart_every == 0:
            state = from_text(to_text(state))
        found.append(score(state, value, hour))
    return np.array(found)


def batched(files: Sequence[File]) -> list[Floats]:
    """The same scores for all files at once."""
    longest = max(len(f.values) for f in files)
    values, hours = np.full((len(files), longest), np.nan), np.zeros((len(files), longest), dtype=np.int64)
    for i, file in enumerate(files):
        values[i, : len(file.values)], hours[i, : len(file.values)] = file.values, file.hours
    found, _ = score_many([SurpriseState() for _ in files], values, hours)
    return [row[: len(f.values)] for row, f in zip(found, files, strict=True)]


def write(file: File, scores: Floats, folder: Path) -> None:
    """The file as read, with its scores."""
    path = folder / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as out:
        lines = csv.writer(out, lineterminator="\n")
        lines.writerow([*file.header, "anomaly_score"])
        lines.writerows([*row, repr(s)] for row, s in zip(file.rows, scores.tolist(), strict=True))


def over_files(sheet: Sheet, folder: Path, out: Path | None, labels: Path | None) -> None:
    """Score every file, and the scores where there are labels."""
    print(f"series below {folder}")
    files = read(folder)
    if not files:
        raise InvalidInput(f"no series below {folder}", field="data")
    began = time.perf_counter()
    scores = [streamed(file) for file in files]
    seconds = time.perf_counter() - began
    if out is not None:
        for file, found in zip(files, scores, strict=True):
            write(file, found, out)
    rows = sum(len(s) for s in scores)
    sheet.line("files", len(files))
    sheet.line("rows", rows)
    sheet.line("rows a second, a point at a time", rows / seconds, at_least=BAR_STREAMING)
    again = [streamed(file, RESTART_EVERY) for file in files]
    sheet.line("rows that score otherwise after restarts", _differing(scores, again), at_most=0)
    sheet.line("rows that score otherwise in a batch", _differing(scores, batched(files)), at_most=0)
    counted = [s[_nab.probation(len(s)) :] for s in scores]
    sheet.line("alarms per 1,000 rows", 1000 * sum(int((s >= ALARM).sum()) for s in counted) / sum(map(len, counted)))
    if labels is not None:
        by_labels(sheet, files, scores, _nab.read_windows(labels))


def _differing(one: Sequence[Floats], other: Sequence[Floats]) -> int:
    return sum(int((a != b).sum()) for a, b in zip(one, other, strict=True))


def by_labels(
    sheet: Sheet, files: Sequence[File], scores: Sequence[Floats], windows: Mapping[str, Sequence[tuple[str, str]]]
) -> None:
    """NAB's score."""
    chosen = [i for i, f in enumerate(files) if f.name in windows]
    names = [files[i].name for i in chosen]
    found = [scores[i] for i in chosen]
    marked = [
        _nab.labelled(len(files[i].rows), _nab.rows_of(files[i].timestamps, windows[files[i].name])) for i in chosen
    ]
    print(f"NAB's score of {len(marked)} files, {sum(m.windows for m in marked)} windows")
    swept = _nab.sweep(marked, found)
    fixed = swept.at(ALARM)
    for profile in _nab.PROFILES:
        threshold, best = swept.best(profile)
        sheet.line(f"{profile}, threshold chosen in hindsight ({threshold:.3f})", best, at_least=BARS_BEST[profile])
    for profile, value in fixed.items():
        sheet.line(
            f"{profile}, threshold fixed by the budget ({ALARM:g})", value, BAR_FIXED if profile == "standard" else None
        )
    folders = [name.rpartition("/")[0] for name in names]
    sheet.line("standard, threshold chosen on the other folders", _crossed(marked, found, [folders]))
    rng = np.random.default_rng(1)
    random = [[str(fold) for fold in rng.permutation(len(marked)) % FOLDS] for _ in range(PARTITIONS)]
    sheet.line(
        f"standard, chosen on the other files ({FOLDS} folds, {PARTITIONS} times)", _crossed(marked, found, random)
    )
    gauss = _nab.sweep(marked, [_gaussian.scores(files[i].values) for i in chosen])
    for profile in _nab.PROFILES:
        sheet.line(f"{profile}, windowed Gaussian in hindsight", gauss.best(profile)[1])
    sheet.line("standard, ratio to the windowed Gaussian", swept.best("standard")[1] / gauss.best("standard")[1])


def _crossed(marked: Sequence[_nab.Labelled], scores: Sequence[Floats], partitions: Sequence[Sequence[str]]) -> float:
    """Mean over partitions: every part scored at the threshold that is best for the others."""
    totals = []
    for parts in partitions:
        gained = 0.0
        for part in sorted(set(parts)):
            inside = [i for i, p in enumerate(parts) if p == part]
            others = [i for i, p in enumerate(parts) if p != part]
            threshold, _ = _nab.sweep([marked[i] for i in others], [scores[i] for i in others]).best("standard")
            gained += sum(_nab.gained([marked[i]], [scores[i]], threshold, "standard") for i in inside)
        totals.append(_nab.normalised(gained, sum(m.windows for m in marked), "standard"))
    return float(np.mean(totals))


def clean(sheet: Sheet) -> None:
    """False alarms on series in which nothing happens."""
    print(f"alarms per 1,000 points on clean series (budget {1000 * BUDGET:g}; bar: within a factor of 2)")
    made = _clean.series()
    values, hours = np.stack([s.values for s in made]), np.stack([s.hours for s in made])
    found, _ = score_many([SurpriseState() for _ in made], values, hours)
    alarms = found >= ALARM
    for step in _clean.STEPS:
        for kind in _clean.KINDS:
            chosen = [i for i, s in enumerate(made) if (s.kind, s.step) == (kind, step)]
            rate = 1000 * float(alarms[chosen, _clean.WARM_UP :].mean())
            sheet.line(f"{kind}, {step}", rate, at_least=500 * BUDGET, at_most=2000 * BUDGET)
            early = 1000 * float(alarms[chosen, _clean.WARM_UP : _clean.EARLY].mean())
            sheet.line(f"{kind}, {step}, first {_clean.EARLY}", early)


def speed(sheet: Sheet) -> None:
    """Points a second on one core, and the size of a stored state."""
    print("speed and size")
    rng = np.random.default_rng(2)
    values = rng.standard_t(3, (LANES, LANE_POINTS))
    hours = np.tile(np.arange(LANE_POINTS) // 12 % 24, (LANES, 1))
    states = [SurpriseState() for _ in range(LANES)]
    batch = _seconds(lambda: score_many(states, values, hours)) / values.size
    state, points = SurpriseState(), list(zip(values[:20].ravel().tolist(), hours[:20].ravel().tolist(), strict=True))
    single = _seconds(lambda: [score(state, value, hour) for value, hour in points]) / len(points)
    sheet.line(f"points a second, batches of {LANES} series", 1 / batch, at_least=BAR_BATCHED)
    sheet.line("points a second, a point at a time", 1 / single, at_least=BAR_STREAMING)
    sheet.line("ratio", single / batch)
    sheet.line("bytes of a stored state", len(to_text(state)), at_most=BAR_STATE)


def _seconds(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def main() -> int:
    """Print every figure, and write them to --json; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sheet = Sheet()
    if options.data is not None:
        over_files(sheet, options.data, options.out, options.labels)
    clean(sheet)
    speed(sheet)
    print("bars missed: " + ("; ".join(sheet.missed) or "none"))
    if options.json is not None:
        options.json.write_text(json.dumps(sheet.figures, indent=1))
    return 1 if sheet.missed else 0


if __name__ == "__main__":
    sys.exit(main())
