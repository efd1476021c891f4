"""Whether drift is found in streams of errors: false alarms, delays, onsets, speed.

    python -m bench.drift_stream [--rows 2000000] [--shifts 500] [--json FILE] [--data FOLDER]

--rows: values without any shift a line, for a reference of BAR_REFERENCE values; a quarter of them for shorter
references, which have no bar. Every stream has a reference of its own. --shifts: streams a delay is measured on. Delays
are given for a shift straight after the reference, and after QUIET values in service, which is what the bars are for:
by then the sums are no longer at zero, and the mean has been learned from later values too. --data: folder with
elec2.csv.gz and bike_hour.csv.gz, for the alarms on the errors of a model that is never trained again. Seeds are fixed;
the exit code is 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from actors.adaptive_learning.drift.cusum import Alarm, Cusum, at_rest
from actors.adaptive_learning.drift.dependence import long_run
from actors.adaptive_learning.drift.error_rate import error_rate
from actors.adaptive_learning.drift.onset import segments
from actors.adaptive_learning.drift.shares import REFERENCE, ShareDetector, Watched
from actors.adaptive_learning.drift.thresholds import Heights
from bench._made_streams import bursts, ones, stream
from bench._river import RiverDetector
from core.history import Floats

RATE = 1e-5
KINDS = ("gauss", "t3", "ar")
REFERENCES, BAR_REFERENCE = (200, 500, 1000), 1000
QUIET, LENGTH, LONGEST = 2000, 5000, 10_000
#: Delays in rows: median, 95 % (None: no bar), by kind and shift.
DELAYS: dict[str, dict[float, tuple[float, float | None]]] = {
    "gauss": {1.0: (28, 60), 0.5: (110, 220)},
    "t3": {1.0: (28, 60), 0.5: (110, 220)},
    "ar": {1.0: (60, None), 0.5: (160, None)},
}
ERROR_DELAYS = {0.3: 260, 0.4: 90}
Source = Callable[[int], Floats]


@dataclass
class Sheet:
    """Figures found, each beside its bar."""

    figures: dict[str, Any] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)

    def line(self, name: str, value: float, at_most: float | None = None, at_least: float | None = None) -> None:
        """Print a figure and whether it keeps its bar (none: to be seen, not judged)."""
        kept = (at_most is None or value <= at_most) and (at_least is None or value >= at_least)
        bar = f"<= {at_most:g}" if at_most is not None else f">= {at_least:g}" if at_least is not None else ""
        self.figures[name] = {"value": value, "bar": bar, "kept": kept}
        if not kept:
            self.missed.append(name)
        print(f"  {name:62} {value:9.4g}  {bar:9} {'' if not bar else 'kept' if kept else 'MISSED'}", flush=True)


def first(detector: Cusum, source: Source, start: int) -> Alarm | None:
    """First alarm of a copy of the detector from row `start` on; None: none within LONGEST rows."""
    copied, at, size = copy.deepcopy(detector), start, 128
    while at < start + LONGEST:
        found = copied.update_many(source(size), np.arange(at, at + size))
        if found:
            return found[0][1]
        at, size = at + size, 2 * size
    return None


@dataclass
class Run:
    """Rows and alarms without a shift; first alarms after one (None: missed), by (rows before it, shift)."""

    rows: int = 0
    alarms: int = 0
    after: dict[tuple[int, float], list[Alarm | None]] = field(default_factory=dict)

    def delays(self, quiet: int, shift: float) -> Floats:
        """Rows from the shift to the alarm; infinite where it was missed."""
        return np.array([np.inf if found is None else found.at - quiet + 1 for found in self.after[quiet, shift]])

    def onsets(self, quiet: int, shift: float) -> Floats:
        """Rows between the shift and its estimated begin."""
        return np.array([np.inf if found is None else abs(found.onset - quiet) for found in self.after[quiet, shift]])


def measured(
    calibrated: Callable[[], Cusum], usual: Source, shifted: dict[float, Source], rows: int, shifts: int
) -> Run:
    """As many streams as give `rows`, each with a detector of its own; those that had an alarm are not shifted."""
    run = Run(after={(quiet, shift): [] for quiet in (0, QUIET) for shift in shifted})
    for number in range(max(rows // LENGTH, shifts)):
        detector = calibrated()
        if number < shifts:
            for shift, source in shifted.items():
                run.after[0, shift].append(first(detector, source, 0))
        found = detector.update_many(usual(QUIET), np.arange(QUIET))
        if number < shifts and not found:
            for shift, source in shifted.items():
                run.after[QUIET, shift].append(first(detector, source, QUIET))
        found += detector.update_many(usual(LENGTH - QUIET), np.arange(QUIET, LENGTH))
        run.rows, run.alarms = run.rows + LENGTH, run.alarms + len(found)
    return run


def residuals(sheet: Sheet, rows: int, shifts: int) -> None:
    """The detector of errors, for each kind of stream and length of its reference."""
    print("errors, a reference of its own for each stream (reference, rows in service before the shift)")
    for reference in sorted(REFERENCES, reverse=True):
        judged = reference == BAR_REFERENCE
        for kind in KINDS:
            rng = np.random.default_rng(20)
            moved = {shift: _moved(kind, shift, rng) for shift in (1.0, 0.5)}
            run = measured(
                lambda: Cusum.calibrated(stream(kind, reference, rng), RATE),  # noqa: B023
                lambda n: stream(kind, n, rng),  # noqa: B023
                moved,
                rows if judged else rows // 4,
                shifts if judged else shifts // 4,
            )
            name = f"{kind} {reference}"
            false = run.alarms / run.rows * 1e5
            sheet.line(f"{name}: false alarms per 100,000 of {run.rows} rows", false, 1.0 if judged else None)
            for quiet, shift in run.after:
                bars = DELAYS[kind][shift] if judged and quiet else (None, None)
                delays = run.delays(quiet, shift)
                sheet.line(f"{name}, {quiet}: {shift:g} sd, median delay", float(np.median(delays)), bars[0])
                sheet.line(
                    f"{name}, {quiet}: {shift:g} sd, 95 %", float(np.quantile(delays, 0.95, method="higher")), bars[1]
                )
            onset = float(np.median(run.onsets(QUIET, 1.0)))
            sheet.line(f"{name}, {QUIET}: 1 sd, median error of the onset", onset)


def _moved(kind: str, shift: float, rng: np.random.Generator) -> Source:
    return lambda n: stream(kind, n, rng) + shift


def limit(sheet: Sheet, shifts: int) -> None:
    """Delays on correlated errors of one sum that knows mean and dependence, its slack best for that very shift."""
    print("the same streams, parameters known (200,000 values) and a single slack for the shift")
    rng = np.random.default_rng(25)
    values = stream("ar", 200_000, rng)
    law = long_run((values - values.mean()) / values.std())
    for shift in (1.0, 0.5):
        slack = shift / 2
        height = Heights(law, len(values)).at(slack, RATE / 2, len(values))
        sides = at_rest((slack,)), at_rest((slack,))
        known = Cusum(float(values.mean()), float(values.std()), 0.0, 1.0, (height,), *sides, slacks=(slack,))
        run = measured(
            partial(copy.deepcopy, known), lambda n: stream("ar", n, rng), {shift: _moved("ar", shift, rng)}, 0, shifts
        )
        for quiet, _ in run.after:
            median = float(np.median(run.delays(quiet, shift)))
            sheet.line(f"ar known, {quiet}: {shift:g} sd, median delay", median)


def error_rates(sheet: Sheet, rows: int, shifts: int) -> None:
    """The detector of failures, for a frequent and a rare one."""
    print("failures, their share known from a reference of its own for each stream")
    for share, reference, risen in ((0.2, 1000, (0.3, 0.4)), (0.2, 200, (0.3, 0.4)), (0.001, 1000, (0.01,))):
        judged = share == 0.2 and reference == BAR_REFERENCE
        rng = np.random.default_rng(22)
        run = measured(
            lambda: error_rate(int(ones(share, reference, rng).sum()), reference, RATE),  # noqa: B023
            lambda n: ones(share, n, rng),  # noqa: B023
            {to: _share(to, rng) for to in risen},
            rows if judged else rows // 2,
            shifts if judged else shifts // 4,
        )
        name = f"{share:g} {reference}"
        sheet.line(f"{name}: false alarms per 100,000 of {run.rows} rows", run.alarms / run.rows * 1e5, 1.0)
        for quiet, to in run.after:
            delays, bar = run.delays(quiet, to), ERROR_DELAYS.get(to) if judged and quiet else None
            sheet.line(f"{name}, {quiet}: to {to:g}, median delay", float(np.median(delays)), bar)
            sheet.line(f"{name}, {quiet}: to {to:g}, 95 %", float(np.quantile(delays, 0.95, method="higher")))
            missed = int(np.isinf(delays).sum())
            sheet.line(f"{name}, {quiet}: to {to:g}, missed of {len(delays)}", missed, 0 if judged and quiet else None)
    falling = [error_rate(200, 1000, RATE).update_many(ones(0.05, LENGTH, rng), np.arange(LENGTH)) for _ in range(50)]
    sheet.line("0.2 falls to 0.05: alarms in 250,000 rows", sum(map(len, falling)), 0)


def _share(share: float, rng: np.random.Generator) -> Source:
    return lambda n: ones(share, n, rng)


def in_service(sheet: Sheet, rows: int, shifts: int) -> None:
    """Shares as the drift service follows them: the reference is what came first, a rise that lasts is one alarm."""
    print("shares in service, from the first value on")
    cases: tuple[tuple[str, Watched, float, float, Callable[..., Floats]], ...] = (
        ("failed", "failed", 0.02, 0.10, ones),
        ("missed", "missed", 0.2, 0.4, ones),
        ("missed in bursts (correlation .5)", "missed", 0.2, 0.4, bursts),
    )
    for name, watched, share, risen, made in cases:
        rng, found, seen = np.random.default_rng(27), 0, 0
        delays, alarms = list[float](), list[int]()
        for number in range(max(rows // LENGTH, shifts)):
            detector = ShareDetector(watched)
            quiet = (made(share, REFERENCE[watched] + LENGTH, rng) > 0).tolist()
            found += detector.feed_many(quiet, range(len(quiet)))
            seen += LENGTH
            if number < shifts and not detector.alarms:
                after = (made(risen, LENGTH, rng) > 0).tolist()
                rows_of = [row for row, bad in enumerate(after) if detector.feed_many([bad], [len(quiet) + row])]
                delays.append(rows_of[0] + 1 if rows_of else np.inf)
                alarms.append(len(rows_of))
        sheet.line(f"{name} {share:g}: false alarms per 100,000 of {seen} rows", found / seen * 1e5, 1.0)
        sheet.line(f"{name} {share:g} to {risen:g}: median delay", float(np.median(delays)))
        sheet.line(f"{name} {share:g} to {risen:g}: 95 %", float(np.quantile(delays, 0.95, method="higher")))
        sheet.line(f"{name} {share:g} to {risen:g}: alarms in {LENGTH} rows, mean", float(np.mean(alarms)))


def rivals(sheet: Sheet) -> None:
    """River's detectors on failures, at their defaults (100,000 rows without a rise, 40 rises after 1,000 rows)."""
    print("failures .2, River's detectors for comparison (delays of those that found it within 4,000 rows)")
    for name in ("ADWIN", "PageHinkley", "HDDMA", "HDDMW"):
        rng = np.random.default_rng(23)
        sheet.line(f"{name}: false alarms per 100,000", len(RiverDetector(name).alarms(ones(0.2, 100_000, rng))))
        for to in ERROR_DELAYS:
            delays = []
            for _ in range(40):
                detector = RiverDetector(name)
                detector.alarms(ones(0.2, 1000, rng))
                values = ones(to, 4000, rng).tolist()
                delays.append(next((row + 1 for row, value in enumerate(values) if detector.update(value)), np.inf))
            sheet.line(f"{name}: to {to:g}, median delay", float(np.median(delays)))


def speed(sheet: Sheet) -> None:
    """Time a value, in blocks against one by one, best of three in one run."""
    print("speed, blocks of 10,000 against one value at a time (ratio)")
    rng = np.random.default_rng(24)
    made: dict[str, tuple[Cusum, Floats]] = {
        "errors": (Cusum.calibrated(rng.normal(size=1000), RATE), rng.normal(size=10_000)),
        "failures": (error_rate(200, 1000, RATE), ones(0.2, 10_000, rng)),
    }
    ats = np.arange(10_000)
    for name, (detector, values) in made.items():
        plain = list(zip(values.tolist(), ats.tolist(), strict=True))

        def singly(detector: Cusum = detector, plain: list[tuple[float, int]] = plain) -> None:
            for value, at in plain:
                detector.update(value, at)

        one = _best(singly)
        many = _best(lambda: detector.update_many(values, ats))  # noqa: B023
        sheet.line(f"{name}: faster in blocks by", one / many, at_least=10.0)
        river = RiverDetector("ADWIN")._detector
        adwin = _best(lambda: [river.update(value) for value, _ in plain])  # noqa: B023
        sheet.line(f"{name}: River's ADWIN takes as long as so many blocks", adwin / many)


def _best(function: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return min(times)


def stored_series(sheet: Sheet, trials: int) -> None:
    """Segments of stored series: none on noise, one change of 1 sd in the middle."""
    print("segments of stored series")
    for n in (100, 300, 1000):
        for kind in KINDS:
            rng = np.random.default_rng(26)
            none = np.mean([segments(stream(kind, n, rng)) == () for _ in range(trials)])
            sheet.line(f"{kind} {n}: no change found where there is none", float(none), at_least=0.95)
            off = []
            for _ in range(50):
                found = segments(stream(kind, n, rng) + (np.arange(n) >= n // 2))
                off.append(min((abs(change - n // 2) for change in found), default=np.inf))
            sheet.line(f"{kind} {n}: 1 sd, share found", float(np.mean(np.isfinite(off))))
            sheet.line(f"{kind} {n}: 1 sd, median error", float(np.median(off)))


def real(sheet: Sheet, folder: Path) -> None:
    """Alarms on the errors of models fitted to the first fifth of a stream, and watched from the second on."""
    import pandas as pd
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    print("real streams: a model of the first fifth, its errors in the second the reference, watched over the rest")
    elec = pd.read_csv(folder / "elec2.csv.gz")
    x, y = elec[["day", "period", "nswprice", "nswdemand"]].to_numpy(float), (elec["class"] == "UP").to_numpy()
    part = len(x) // 5
    wrong = (HistGradientBoostingClassifier(random_state=0).fit(x[:part], y[:part]).predict(x) != y).astype(float)
    for name, detector in (
        ("as independent", error_rate(int(wrong[part : 2 * part].sum()), part, RATE)),
        ("with their dependence", Cusum.calibrated(wrong[part : 2 * part], RATE, both=False)),
    ):
        _watched(sheet, f"elec2, wrong answers {name}", detector, wrong[2 * part :])
    bike = pd.read_csv(folder / "bike_hour.csv.gz")
    x = bike[["hr", "weekday", "workingday", "weathersit", "temp", "hum", "windspeed"]].to_numpy(float)
    y = np.log1p(bike["cnt"].to_numpy(float))
    part = len(x) // 5
    errors = y - HistGradientBoostingRegressor(random_state=0).fit(x[:part], y[:part]).predict(x)
    _watched(sheet, "bike, log errors", Cusum.calibrated(errors[part : 2 * part], RATE), errors[2 * part :])


def _watched(sheet: Sheet, name: str, detector: Cusum, values: Floats) -> None:
    found = detector.update_many(values, np.arange(len(values)))
    sheet.line(f"{name}: alarms in {len(values)} rows", len(found))
    sheet.line(f"{name}: row of the first", found[0][0] if found else np.inf)
    sheet.line(f"{name}: mean before", detector.mean_before)
    sheet.line(f"{name}: mean of the rest", float(values.mean()))


def main() -> int:
    """Print every figure, and write them to --json; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--shifts", type=int, default=500)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    sheet = Sheet()
    residuals(sheet, options.rows, options.shifts)
    limit(sheet, options.shifts)
    error_rates(sheet, options.rows, options.shifts)
    in_service(sheet, options.rows, 2 * options.shifts // 5)
    rivals(sheet)
    speed(sheet)
    stored_series(sheet, max(options.shifts // 5, 20))
    if options.data is not None:
        real(sheet, options.data)
    print("bars missed: " + ("; ".join(sheet.missed) or "none"))
    if options.json is not None:
        options.json.write_text(json.dumps(sheet.figures, indent=1))
    return 1 if sheet.missed else 0


if __name__ == "__main__":
    sys.exit(main())
