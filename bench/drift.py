"""Drift detection: false alarms and delays of the error detector, false alarms and power of the input comparison.

    python -m bench.drift [--rows 2000000] [--trials 500] [--json FILE]

--rows: values without any shift, for each kind of stream. --trials: pairs of tables without any shift. Seeds are fixed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from actors.adaptive_learning.drift.cusum import CLIP, SLACKS, Cusum
from actors.adaptive_learning.drift.univariate import compare, grade
from core.history import Floats

RATE = 1e-5
KINDS = ("gauss", "t3", "ar")
REFERENCES = (200, 500, 1000)
_LENGTH, _WIDTH, _SHIFTED = 2000, 50, 1500


def streams(kind: str, n: int, width: int, rng: np.random.Generator) -> Floats:
    """Independent streams (n x width) of mean 0 and standard deviation 1; ar: correlation .5 of neighbours."""
    if kind == "t3":
        return rng.standard_t(3, (n, width)) / np.sqrt(3)
    values = rng.normal(size=(n, width))
    if kind == "ar":
        for t in range(1, n):
            values[t] = 0.5 * values[t - 1] + np.sqrt(0.75) * values[t]
    return values


def run(cusum: Cusum, values: Floats) -> tuple[int, Floats]:
    """Alarms in all, and the row of each stream's first one (NaN: none); the detector's sums for many streams."""
    z = (np.clip((values - cusum.centre) / cusum.scale, -CLIP, CLIP) - cusum.offset) / cusum.deviation
    slack, height = np.array(SLACKS)[:, None], np.array(cusum.thresholds)[:, None]
    up = down = np.zeros((len(SLACKS), values.shape[1]))
    alarms, first = 0, np.full(values.shape[1], np.nan)
    for at, row in enumerate(z):
        up, down = np.maximum(up + row - slack, 0), np.maximum(down - row - slack, 0)
        over = ((up > height) | (down > height)).any(axis=0)
        if over.any():
            alarms += int(over.sum())
            first[over & np.isnan(first)] = at + 1
            up, down = np.where(over, 0, up), np.where(over, 0, down)
    return alarms, first


def streaming(kind: str, reference: int, rows: int) -> dict[str, Any]:
    """Figures over many references of one length, each with a threshold of its own."""
    rng = np.random.default_rng(20)
    repeats = max(rows // (_LENGTH * _WIDTH), 1)
    alarms, delays = 0, {1.0: [], 0.5: []}
    for _ in range(repeats):
        cusum = Cusum.calibrated(streams(kind, reference, 1, rng)[:, 0], RATE, rng)
        alarms += run(cusum, streams(kind, _LENGTH, _WIDTH, rng))[0]
        for shift, found in delays.items():
            found.append(run(cusum, streams(kind, _SHIFTED, _WIDTH, rng) + shift)[1])
    result: dict[str, Any] = {"rows": repeats * _LENGTH * _WIDTH}
    result["false_alarms_per_100k"] = alarms / result["rows"] * 1e5
    for shift, parts in delays.items():
        first = np.nan_to_num(np.concatenate(parts), nan=_SHIFTED)
        result[f"delay_{shift:g}sd"] = [float(np.median(first)), float(np.quantile(first, 0.95))]
    return result


def tables(n: int, columns: int, trials: int, shift: float) -> dict[str, float]:
    """Shares of trials with an alarm, a grade above low, and the moved column (the first) named with the least p."""
    rng = np.random.default_rng(21)
    names = tuple(map(str, range(columns)))
    alarms = grave = first = 0
    for _ in range(trials):
        recent = rng.standard_normal((n, columns), dtype=np.float32)
        recent[:, 0] += shift
        found = compare(names, rng.standard_normal((n, columns), dtype=np.float32), recent)
        alarms += any(f.rejected for f in found)
        grave += grade(found) in ("medium", "high")
        first += found[0].rejected and min(found, key=lambda f: f.p_value).feature == "0"
    return {"alarm": alarms / trials, "above_low": grave / trials, "named_first": first / trials}


def main() -> None:
    """Print every figure, and write them to --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result: dict[str, Any] = {"streaming": {}, "tables": {}}
    print("errors: false alarms per 100,000 rows; delay of a shift, median / 95 % (rows)")
    for reference in REFERENCES:
        for kind in KINDS:
            found = streaming(kind, reference, options.rows)
            result["streaming"][f"{kind} {reference}"] = found
            one, half = found["delay_1sd"], found["delay_0.5sd"]
            print(
                f"  {kind:6} reference {reference:5}: {found['false_alarms_per_100k']:5.2f}   "
                f"1 sd {one[0]:.0f} / {one[1]:.0f}   .5 sd {half[0]:.0f} / {half[1]:.0f}",
                flush=True,
            )
    print("inputs: share of trials with an alarm, graded above low, moved column named first")
    for n, columns, shift in ((500, 10, 0.0), (10_000, 20, 0.0), (2000, 10, 0.25)):
        shares = tables(n, columns, options.trials, shift)
        result["tables"][f"{n}x{columns} shift {shift:g}"] = shares
        named = f", named first {shares['named_first']:.3f}" if shift else ""
        line = f"{shares['alarm']:.3f}, above low {shares['above_low']:.3f}{named}"
        print(f"  {n:6} x {columns}, shift {shift:g} sd: {line}", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
