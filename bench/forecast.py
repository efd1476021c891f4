"""How well many series are forecast: error against a yardstick, how much the intervals hold, series a second.

    python -m bench.forecast [--data FILE.jsonl [--out FILE.jsonl] [--origins N]] [--fast] [--json FILE]

A line of --data is a series: id, horizon, season, train (oldest first; null: a gap) and perhaps test. `train` alone is
forecast, all series of a file with the same horizon and season together; --out has id, mean, lo80, hi80, lo95, hi95,
or id and error for a series too short. Where there is a test, the forecasts are scored in a step of its own: OWA
against Naive2 (season 7: against the seasonal naive), coverage, MSIS. --origins: the same from N origins, 37 steps
apart, the first being the end of train. --fast: few members and origins. Without --data: made series, the speed alone.
Amounts that are not whole numbers and seldom zero (at most one in ten) are taken to miss a value where they are zero.
The exit code is 1 when a bar of a set known by its file's name is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import _forecast_scores as scores
from bench.anomaly import Sheet
from core.history import Floats
from training.forecasting.batch import LEAST, Batch
from training.forecasting.forecaster import Forecasts, forecast

EVERY, AT = 37, (7, 30, 90)
OWA_BARS = {"m4_weekly": 0.89, "m4_daily": 1.0, "m4_daily_long": 0.97, "m4_hourly": 0.55, "nn5_daily": 0.60}
SPEED_BAR = 100.0
COVERAGE_BARS = {80: (0.77, 0.83), 95: (0.93, 0.97)}
THIRDS_BAR = (0.72, 0.88)
ENDS = ("lo80", "hi80", "lo95", "hi95")


@dataclass(frozen=True)
class Line:
    """A series as read; test is None where there is none."""

    name: str
    horizon: int
    season: int
    train: Floats
    test: Floats | None

    @property
    def known(self) -> Floats:
        """train, with NaN for a zero that is a gap."""
        return np.where(_gap(self.train, self.train), np.nan, self.train)


def read(path: Path) -> list[Line]:
    """The series of a file."""
    found = []
    for text in path.read_text().splitlines():
        one = json.loads(text)
        test = np.array(one["test"], dtype=float) if one.get("test") else None
        train = np.array(one["train"], dtype=float)
        found.append(Line(str(one["id"]), int(one["horizon"]), int(one["season"]), train, test))
    return found


def _gap(values: Floats, train: Floats) -> np.ndarray:
    known = train[np.isfinite(train)]
    amounts = bool(len(known)) and float((known == 0).mean()) <= 0.1 and bool((known != np.round(known)).any())
    result: np.ndarray = (values == 0) & amounts
    return result


def groups(lines: Sequence[Line]) -> list[list[int]]:
    """Places of series long enough, by horizon and season."""
    found: dict[tuple[int, int], list[int]] = {}
    for place, line in enumerate(lines):
        if np.isfinite(line.known).sum() >= LEAST:
            found.setdefault((line.horizon, line.season), []).append(place)
    return list(found.values())


def forecast_all(lines: Sequence[Line], quick: bool) -> dict[int, dict[str, Floats]]:
    """Forecasts by place in the file, from train alone."""
    found: dict[int, dict[str, Floats]] = {}
    for places in groups(lines):
        batch = Batch.of([lines[p].known for p in places], lines[places[0]].season)
        said: Forecasts = forecast(batch, lines[places[0]].horizon, quick=quick)
        for row, place in enumerate(places):
            found[place] = {name: getattr(said, name)[row] for name in ("mean", *ENDS)}
    return found


def write(lines: Sequence[Line], found: dict[int, dict[str, Floats]], path: Path) -> None:
    """One line a series, in the order read."""
    rows: list[dict[str, Any]] = []
    for place, line in enumerate(lines):
        said = found.get(place)
        if said is None:
            rows.append({"id": line.name, "error": f"needs {LEAST} values"})
        else:
            rows.append({"id": line.name} | {name: [float(v) for v in values] for name, values in said.items()})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@dataclass(frozen=True)
class Scored:
    """Scores of series with a test (n each) at one horizon, beside the yardstick's; coverage n x H by level."""

    ours: tuple[Floats, Floats]
    yardstick: tuple[Floats, Floats]
    covered: dict[int, Floats]
    msis: dict[int, Floats]

    @property
    def owa(self) -> float:
        """Of the set."""
        return scores.owa(self.ours, self.yardstick)


def score(lines: Sequence[Line], found: dict[int, dict[str, Floats]], horizon: int | None = None) -> Scored | None:
    """Scores of the first `horizon` steps (None: of all); None where nothing can be scored."""
    rows: list[list[float]] = []
    covered: dict[int, list[Floats]] = {80: [], 95: []}
    wide: dict[int, list[float]] = {80: [], 95: []}
    for place, said in found.items():
        line = lines[place]
        if line.test is None:
            continue
        h = min(horizon or line.horizon, len(line.test))
        test = line.test[None, :h]
        truth = np.where(_gap(test, line.train), np.nan, test)
        if np.isnan(truth).all():
            continue
        batch = Batch.of([line.known], line.season)
        raw = np.nan_to_num(line.train) if line.season == 7 else batch.filled[0]
        yardstick = (scores.seasonal_naive if line.season == 7 else scores.naive2)(raw, h, line.season)[None]
        point, scale = said["mean"][None, :h], batch.scale
        pairs = [(scores.smape(p, truth)[0], scores.mase(p, truth, scale)[0]) for p in (point, yardstick)]
        rows.append([*pairs[0], *pairs[1]])
        for level in covered:
            low, high = said[f"lo{level}"][None, :h], said[f"hi{level}"][None, :h]
            covered[level].append(scores.covered(low, high, truth)[0])
            wide[level].append(scores.msis(low, high, truth, scale, level / 100)[0])
    if not rows:
        return None
    table = np.array(rows).T
    longest = max(len(one) for one in covered[80])
    held = {
        k: np.array([np.pad(o, (0, longest - len(o)), constant_values=np.nan) for o in v]) for k, v in covered.items()
    }
    return Scored((table[0], table[1]), (table[2], table[3]), held, {k: np.array(v) for k, v in wide.items()})


def report(sheet: Sheet, name: str, scored: Scored) -> None:
    """A set's figures beside their bars."""
    n = len(scored.ours[0])
    print(f"{name}: {n} series scored")
    sheet.line(f"{name}: OWA", scored.owa, at_most=OWA_BARS.get(name))
    sheet.line(f"{name}: sMAPE", float(np.nanmean(scored.ours[0])))
    sheet.line(f"{name}: MASE", float(np.nanmean(scored.ours[1])))
    bars = name in OWA_BARS
    for level, (low, high) in COVERAGE_BARS.items():
        share = float(np.nanmean(scored.covered[level]))
        sheet.line(f"{name}: coverage of {level} %", share, low if bars else None, high if bars else None)
        sheet.line(f"{name}: MSIS at {level} %", float(np.mean(scored.msis[level])))
    for part, columns in enumerate(np.array_split(scored.covered[80], 3, axis=1), start=1):
        if np.isfinite(columns).any():
            ends = THIRDS_BAR if bars else (None, None)
            sheet.line(f"{name}: coverage of 80 %, horizon third {part}", float(np.nanmean(columns)), *ends)


def rolled(sheet: Sheet, name: str, lines: Sequence[Line], origins: int, quick: bool) -> None:
    """OWA and coverage averaged over origins, the later part of every series cut off."""
    tested = [line for line in lines if line.test is not None]
    horizons = [h for h in AT if h < lines[0].horizon] + [lines[0].horizon]
    owas, held = [], []
    for i in range(origins):
        cut = []
        for line in tested:
            whole = np.concatenate([line.train, line.test if line.test is not None else []])
            end = len(line.train) - EVERY * i
            cut.append(Line(line.name, line.horizon, line.season, whole[:end], whole[end : end + line.horizon]))
        found = forecast_all(cut, quick)
        parts = [score(cut, found, h) for h in horizons]
        owas.append([(one.ours, one.yardstick) for one in parts if one is not None])
        held += [[float(np.nanmean(one.covered[level])) for level in (80, 95)] for one in parts[-1:] if one is not None]
    for place, h in enumerate(horizons):
        ours = [np.concatenate([o[place][0][k] for o in owas]) for k in (0, 1)]
        theirs = [np.concatenate([o[place][1][k] for o in owas]) for k in (0, 1)]
        bar = OWA_BARS.get(name) if h == horizons[-1] else None
        sheet.line(
            f"{name}: OWA at {h}, {origins} origins",
            scores.owa((ours[0], ours[1]), (theirs[0], theirs[1])),
            at_most=bar,
        )
    for k, level in enumerate((80, 95)):
        sheet.line(f"{name}: coverage of {level} %, {origins} origins", float(np.mean(held, axis=0)[k]))


def made(n: int = 200, length: int = 400) -> list[Line]:
    """Series with trend, week and noise, for the speed alone."""
    rng = np.random.default_rng(0)
    t = np.arange(length)
    walk = rng.normal(0, 1, (n, length)).cumsum(axis=1) + rng.normal(0, 3, (n, length))
    values = 500 + rng.normal(0, 0.3, (n, 1)) * t + 20 * rng.random((n, 1)) * np.sin(2 * np.pi * t / 7) + walk
    return [Line(f"made_{i}", 30, 7, row, None) for i, row in enumerate(values)]


def main() -> int:
    """Print every figure, and write them to --json; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--origins", type=int, default=1)
    options = parser.parse_args()
    sheet = Sheet()
    name = "made" if options.data is None else options.data.stem
    lines = made() if options.data is None else read(options.data)
    quick = options.fast or options.data is None
    began = time.process_time()
    found = forecast_all(lines, quick)
    seconds = time.process_time() - began
    sheet.line(f"{name}: series a second of one core", len(found) / seconds, at_least=SPEED_BAR if quick else None)
    if options.out is not None:
        write(lines, found, options.out)
    scored = score(lines, found)
    if scored is not None:
        report(sheet, name, scored)
        if options.origins > 1:
            rolled(sheet, name, lines, options.origins, options.fast)
    print("bars missed: " + ("; ".join(sheet.missed) or "none"))
    if options.json is not None:
        options.json.write_text(json.dumps(sheet.figures, indent=1))
    return 1 if sheet.missed else 0


if __name__ == "__main__":
    sys.exit(main())
