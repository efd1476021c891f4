"""Batch drift report: false alarms, power, naming, and the price of a pass, each beside its bar.

    python -m bench.drift_batch [--trials 500] [--rows 1000000] [--data ../shared/data/drift] [--json FILE]

--trials: pairs of tables of each kind. --rows: of the table of the timed pass. --data: folder of real streams
(elec2.csv.gz, bike_hour.csv.gz), shuffled so that nothing differs. Seeds are fixed. Times are ratios of one run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from actors.adaptive_learning.drift.batch.counts import Profile
from actors.adaptive_learning.drift.batch.scores import GridReference
from actors.adaptive_learning.drift.batch.sources import ParquetSource
from actors.adaptive_learning.drift.batch.table import ALPHA, compare_counts, compare_tables
from core.history import Floats

Singles = NDArray[np.float32]

WINDOW_CELLS = 256  # of the grid for windows of a thousand rows
Table = Any


@dataclass(frozen=True)
class Bar:
    """A figure and what it has to be."""

    name: str
    measured: float
    bound: float
    at_least: bool = False

    @property
    def kept(self) -> bool:
        """Whether the bar is met."""
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound


def gaussian(n: int, columns: int, rng: np.random.Generator) -> Singles:
    """Independent standard normal columns."""
    return rng.standard_normal((n, columns), dtype=np.float32)


def means(rows: Singles) -> Singles:
    """Five columns moved by .15 standard deviations."""
    rows[:, :5] += 0.15
    return rows


def signs(rows: Singles) -> Singles:
    """The same size in both directions."""
    rows[:, :5] += np.array([0.15, -0.15, 0.15, -0.15, 0.15], dtype=np.float32)
    return rows


def scales(rows: Singles) -> Singles:
    """Five columns wider by 15 %."""
    rows[:, :5] *= 1.15
    return rows


def correlations(rows: Singles) -> Singles:
    """Four pairs with a correlation of .5, each column distributed as before."""
    for i in range(0, 8, 2):
        rows[:, i + 1] = 0.5 * rows[:, i] + np.sqrt(0.75) * rows[:, i + 1]
    return rows


def interaction(rows: Singles) -> Singles:
    """A column whose size follows another's, without any correlation; each is distributed as before."""
    order = np.argsort(np.abs(rows[:, 0]) + 0.5 * np.abs(rows[:, 2]))
    sizes = np.sort(np.abs(rows[:, 1]))
    side = np.sign(rows[:, 1])
    rows[order, 1] = sizes * side[order]
    return rows


def beside(moved: Callable[[Singles], Singles], rng: np.random.Generator) -> tuple[Table, Table]:
    """500 rows of 20 columns, and others that were moved."""
    return gaussian(500, 20, rng), moved(gaussian(500, 20, rng))


def shares(pairs: Callable[[np.random.Generator], tuple[Table, Table]], trials: int, seed: int) -> dict[str, float]:
    """Shares of trials with a report of drift, with a column named, and graded above low."""
    rng = np.random.default_rng(seed)
    drifted = named = grave = 0
    for _ in range(trials):
        report = compare_tables(*pairs(rng), rng=rng)
        drifted += report.drifted
        named += any(column.named for column in report.columns)
        grave += report.severity in ("medium", "high")
    return {"drifted": drifted / trials, "named": named / trials, "above_low": grave / trials, "trials": trials}


def mixed(n: int, rng: np.random.Generator) -> pa.Table:
    """Columns of every kind: normal, heavy-tailed, whole, categorical of 5 and of many values, with missing ones."""
    many = rng.zipf(1.6, n) % 300
    return pa.table(
        {
            "normal": rng.normal(size=n),
            "heavy": rng.standard_t(2, n),
            "count": rng.poisson(3, n),
            "flag": rng.random(n) < 0.1,
            "few": pa.array(rng.choice(list("abcde"), n, p=[0.5, 0.3, 0.1, 0.07, 0.03])),
            "many": pa.array([f"c{v}" for v in many]),
            "gaps": pa.array(rng.normal(size=n), mask=rng.random(n) < 0.2),
        }
    )


def real(folder: Path) -> dict[str, pa.Table]:
    """The streams beside the checkout, without what only counts rows."""
    found = {}
    for name, unused in (("elec2", ["date"]), ("bike_hour", ["instant", "dteday"])):
        path = folder / f"{name}.csv.gz"
        if path.exists():
            found[name] = pa.Table.from_pandas(pd.read_csv(path).drop(columns=unused), preserve_index=False)
    return found


def halves(table: pa.Table, n: int, rng: np.random.Generator) -> tuple[pa.Table, pa.Table]:
    """Two disjoint random samples of n rows of a table."""
    rows = rng.permutation(len(table))[: 2 * n]
    return table.take(pa.array(rows[:n])), table.take(pa.array(rows[n:]))


def false_alarms(trials: int, data: Path | None) -> tuple[list[Bar], dict[str, Any]]:
    """Tables without a difference."""
    kinds: dict[str, Callable[[np.random.Generator], tuple[Table, Table]]] = {
        "500 x 10": lambda rng: (gaussian(500, 10, rng), gaussian(500, 10, rng)),
        "10,000 x 20": lambda rng: (gaussian(10_000, 20, rng), gaussian(10_000, 20, rng)),
        "mixed kinds, 1,000 x 7": lambda rng: (mixed(1000, rng), mixed(1000, rng)),
    }
    for name, table in (real(data) if data else {}).items():
        kinds[f"{name} shuffled, 2,000 rows"] = partial(halves, table, 2000)
    figures = {name: shares(pairs, trials, 30) for name, pairs in kinds.items()}
    bars = []
    for name, found in figures.items():
        bars.append(Bar(f"alarms, identical data, {name}", found["drifted"], ALPHA + 0.01))
        bars.append(Bar(f"a column named, identical data, {name}", found["named"], ALPHA + 0.01))
        bars.append(Bar(f"severity above low, identical data, {name}", found["above_low"], 0.005))
    return bars, figures


def power(trials: int) -> tuple[list[Bar], dict[str, Any]]:
    """Differences of 500 rows of 20 columns on either side, and one moved column of ten at 2,000 rows."""
    cases: dict[str, tuple[Callable[[Singles], Singles], float | None]] = {
        "mean .15 sd in 5 columns": (means, 0.90),
        "mean .15 sd in 5 columns, both signs": (signs, None),
        "scale 1.15 in 5 columns": (scales, None),
        "correlation .5 in 4 pairs": (correlations, 0.75),
        "size of one column follows others": (interaction, None),
    }
    figures: dict[str, Any] = {}
    bars = []
    for name, (moved, bound) in cases.items():
        figures[name] = shares(partial(beside, moved), trials, 31)
        if bound is not None:
            bars.append(Bar(f"power at {ALPHA:g}, {name}", figures[name]["drifted"], bound, at_least=True))
    rng = np.random.default_rng(32)
    first, paired = 0, 0
    for _ in range(trials):
        recent, which = gaussian(2000, 10, rng), int(rng.integers(10))
        recent[:, which] += 0.25
        first += compare_tables(gaussian(2000, 10, rng), recent, rng=rng).top[:1] == (f"f{which}",)
        pairs = compare_tables(gaussian(500, 20, rng), correlations(gaussian(500, 20, rng)), rng=rng).top
        paired += set(pairs[:2]) in [{f"f{i}", f"f{i + 1}"} for i in range(0, 8, 2)]
    figures["named first"] = {"single feature .25 sd, 2,000 rows": first / trials, "a correlated pair": paired / trials}
    bars.append(Bar("moved column named first, .25 sd, 2,000 rows", first / trials, 0.95, at_least=True))
    bars.append(Bar("a pair whose correlation changed named first, 500 rows", paired / trials, 0.95, at_least=True))
    return bars, figures


def fastest(call: Callable[[], Any], repeats: int) -> float:
    """Seconds of the fastest of some calls: the others were disturbed."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


def whole_pass(rows: int) -> tuple[list[Bar], dict[str, Any]]:
    """Kolmogorov-Smirnov, stability and Wasserstein of a long table against a kept reference, and by what it is wrong.

    scipy is timed on one column of at most 200,000 rows a side and taken times the columns and the rows, which is in
    its favour: it sorts.
    """
    rng = np.random.default_rng(33)
    columns = 20
    reference = np.asfortranarray(gaussian(rows, columns, rng))
    recent = np.asfortranarray(gaussian(rows, columns, rng) + rng.normal(0, 0.05, columns).astype(np.float32))
    kept = GridReference.fit(reference)
    floor = fastest(lambda: [recent[:, j].sum() for j in range(columns)], 7)
    ours = fastest(lambda: kept.compare(recent), 5)
    by_rows = np.ascontiguousarray(recent)
    ordered = fastest(lambda: kept.compare(by_rows), 3)
    few = min(rows, 200_000)

    def peer() -> None:
        a, b = reference[:few, 0], recent[:few, 0]
        ks_2samp(a, b, method="asymp")
        edges = np.quantile(a, np.linspace(0, 1, 11))
        np.histogram(a, edges), np.histogram(b, edges)

    scipy = fastest(peer, 2) * columns * rows / few
    errors = {"Gaussian": _errors(kept, reference, recent)}
    for name, draw in _SHAPES.items():
        a, b = draw(few, rng)[:, None], draw(few, rng)[:, None]
        errors[name] = _errors(GridReference.fit(a), a, 1.05 * b + (0.02 * np.std(b) if name == "normal" else 0))
    figures = {
        "rows": rows,
        "x floor": ours / floor,
        "x floor, C-ordered": ordered / floor,
        "floor, GB/s": recent.nbytes / floor / 1e9,
        "x scipy": scipy / ours,
        "Kolmogorov-Smirnov error": errors,
        "x Evidently": "not measured here (optional environment)",
    }
    bars = [
        Bar(f"pass of {rows:,} x {columns}, times one read of the table", ours / floor, 20),
        Bar("times faster than scipy's test and histograms", scipy / ours, 150, at_least=True),
        Bar("largest error of a Kolmogorov-Smirnov distance", max(errors.values()), 1e-3),
    ]
    return bars, figures


_SHAPES: dict[str, Callable[[int, np.random.Generator], Floats]] = {
    "exponential": lambda n, rng: rng.exponential(size=n),
    "lognormal, sigma 2": lambda n, rng: rng.lognormal(0, 2, n),
    "Cauchy": lambda n, rng: rng.standard_cauchy(n),
    "Pareto .7": lambda n, rng: rng.pareto(0.7, n),
    "Poisson 3": lambda n, rng: rng.poisson(3, n).astype(float),
    "half zeros, half lognormal": lambda n, rng: np.where(rng.random(n) < 0.5, 0.0, rng.lognormal(0, 2, n)),
}


def _errors(kept: GridReference, reference: NDArray[Any], recent: NDArray[Any]) -> float:
    found = kept.compare(recent).distance
    exact = [ks_2samp(reference[:, j], recent[:, j], method="asymp").statistic for j in range(min(len(found), 3))]
    return float(np.max(np.abs(found[: len(exact)] - exact)))


def window() -> tuple[list[Bar], dict[str, Any]]:
    """1,000 x 20 against 100,000 rows: counts, scores, p-values and the order of the columns.

    The named alternative is the bare pass over row-major data (subtract, scale, clip, cast, offset, one bincount, 4,096
    cells a column) that the bar was measured by; the bincount alone is printed too.
    """
    rng = np.random.default_rng(34)
    kept = GridReference.fit(gaussian(100_000, 20, rng), WINDOW_CELLS)
    rows = gaussian(1000, 20, rng)
    low, scale = np.float32(-3.1), np.float32(4096 / 6.2)
    offsets = np.arange(20) * 4098

    def indexed() -> Any:
        return (np.clip((rows - low) * scale + 1, 0, 4097).astype(np.int64) + offsets).ravel()

    index = indexed()
    alone = fastest(lambda: np.bincount(index, minlength=20 * 4098), 2000)
    bare = fastest(lambda: np.bincount(indexed(), minlength=20 * 4098), 2000)
    ours = fastest(lambda: kept.compare(rows).order(), 2000)
    reference = gaussian(100_000, 20, rng)
    scipy = fastest(lambda: ks_2samp(reference[:, 0], rows[:, 0], method="asymp"), 5) * 20
    figures = {
        "microseconds": ours * 1e6,
        "bare pass, microseconds": bare * 1e6,
        "bincount alone, microseconds": alone * 1e6,
        "x bincount alone": ours / alone,
        "x scipy": scipy / ours,
    }
    return [Bar("window of 1,000 x 20, times the bare pass with one bincount", ours / bare, 3)], figures


def files(rows: int) -> tuple[list[Bar], dict[str, Any]]:
    """Two Parquet tables in bounded memory, in one piece and as shards that are merged."""
    rng = np.random.default_rng(35)
    columns = [f"c{i}" for i in range(20)]
    with TemporaryDirectory() as folder:
        paths = []
        for part in range(4):
            path = Path(folder) / f"{part}.parquet"
            values = gaussian(rows // 2, 20, rng)
            values[:, 2] += 0.05 * (part >= 2)
            pq.write_table(pa.table(dict(zip(columns, values.T, strict=True))), path, row_group_size=100_000)
            paths.append(path)
        before = pa.total_allocated_bytes()
        begin = time.perf_counter()
        whole = compare_tables(ParquetSource(*paths[:2]), ParquetSource(*paths[2:]), rng=np.random.default_rng(1))
        taken = time.perf_counter() - begin
        profile = Profile.fit(ParquetSource(*paths[:2]), columns)
        counts = [profile.count(ParquetSource(path), rng) for path in paths]
        merged = compare_counts(profile, counts[0] + counts[1], counts[2] + counts[3], rng=rng)
        same = [a.p_value == b.p_value for a, b in zip(whole.columns, merged.columns, strict=True)]
    figures = {
        "rows": rows,
        "seconds": taken,
        "Arrow memory kept, MB": (pa.total_allocated_bytes() - before) / 1e6,
        "named": whole.top,
        "severity": whole.severity,
    }
    return [Bar("share of columns with the same p-value from merged shards", float(np.mean(same)), 1, True)], figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every figure and bar; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", help="one part: window, pass, files, power, false_alarms")
    parser.add_argument("--json", type=Path)
    options, _ = parser.parse_known_args(arguments)
    parts: dict[str, Callable[[], tuple[list[Bar], dict[str, Any]]]] = {
        "window": window,
        "pass": lambda: whole_pass(options.rows),
        "files": lambda: files(options.rows),
        "power": lambda: power(options.trials),
        "false_alarms": lambda: false_alarms(options.trials, options.data),
    }
    missed, result = [], {}
    for name, part in parts.items():
        if options.only not in (None, name):
            continue
        bars, figures = part()
        result[name] = {"figures": figures, "bars": [asdict(bar) for bar in bars]}
        print(f"\n{name.replace('_', ' ')}")
        for key, value in figures.items():
            print(f"  {key:40} {json.dumps(value)}")
        for bar in bars:
            sign, side = "kept  " if bar.kept else "MISSED", "at least" if bar.at_least else "at most"
            print(f"  {sign} {bar.name}: {bar.measured:.4g}, {side} {bar.bound:g}", flush=True)
        missed += [bar.name for bar in bars if not bar.kept]
    print(f"\n{len(missed)} bars missed{': ' if missed else ''}{'; '.join(missed)}")
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
