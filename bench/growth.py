"""How well subscribers are forecast: percentage errors and coverage at rolling origins, each with what was known then.

    python -m bench.growth [--data FILE.csv] [--out FILE.csv] [--least 28] [--no-network] [--json FILE]

--data: channel, ts, subscribers (any number of readings a day) or channel, date, follower_count; further columns are
ignored. A day counts with its last reading. Origins are the ends of every third day of each channel, from the one
after `--least` days on, where there was a reading. --out: channel, origin (the day, with the time of its last reading
where the file has times), horizon_days, mean, lo80, hi80, lo95, hi95 of the last reading of the day `origin +
horizon_days`, also where the file ends before it. All channels of the file are each other's pool. Beside it stand, from
the same origins, the median daily change of 28 days and the drift of 28 days. A file whose name or folder says tracked
or streamers is held to its bars; the exit code is 1 when one is missed. Without --data, channels are simulated whose
growth walks, with ads and purges.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from bench.anomaly import Sheet
from core.errors import InvalidInput
from core.history import Floats
from training.forecasting.asked import REACH
from training.forecasting.drift import Drift, Drifts
from training.forecasting.growth import Outlook, forecast, learn, learn_from
from training.forecasting.series import DailySeries

HORIZONS = (7, 14, 30, 90)
EVERY = 3  # days between origins
RESAMPLES = 2000
BASE_DAYS = 28  # of the simple forecasts
BARS = {"tracked": {7: 0.33, 14: 0.60, 30: 1.15}, "streamers": {7: 0.13, 14: 0.23, 30: 0.38}}


def readings(path: Path) -> pd.DataFrame:
    """Columns channel, moment (without a zone, as written), count of a file, in any order."""
    rows = pd.read_csv(path, dtype={"channel": str})
    names = next((n for n in (("ts", "subscribers"), ("date", "follower_count")) if {"channel", *n} <= set(rows)), None)
    if names is None:
        raise InvalidInput(f"{path.name} has neither channel, ts, subscribers nor channel, date, follower_count")
    moment = pd.to_datetime(rows[names[0]], utc=True).dt.tz_localize(None)
    return pd.DataFrame({"channel": rows.channel, "moment": moment, "count": rows[names[1]].astype(float)})


def days(read: pd.DataFrame) -> list[DailySeries]:
    """The channels of a file, in order of their names, by day."""
    seconds = read.moment.to_numpy().astype("datetime64[s]").astype(np.int64)
    counts = read["count"].to_numpy(dtype=float)
    groups = read.groupby("channel").indices
    return [DailySeries.from_readings(str(c), seconds[i], counts[i]) for c, i in sorted(groups.items())]


def as_read(rows: pd.DataFrame, read: pd.DataFrame) -> pd.DataFrame:
    """Rows whose origins are the moments of the last readings of their days, where the file has times of day."""
    known = read[read["count"].notna()]
    if (known.moment == known.moment.dt.normalize()).all():
        return rows
    last = (
        known.groupby(["channel", known.moment.dt.strftime("%Y-%m-%d")]).moment.max().dt.strftime("%Y-%m-%d %H:%M:%S")
    )
    return rows.assign(origin=last.loc[list(zip(rows.channel, rows.origin, strict=True))].to_numpy())


def _simple(known: Floats, h: int) -> tuple[float, float]:
    """Median daily change and drift of the last BASE_DAYS days."""
    changes = np.diff(known[-BASE_DAYS - 1 :])
    return known[-1] + h * float(np.median(changes)), known[-1] + h * float(np.mean(changes))


def simulated(n: int = 20, days: int = 240, seed: int = 0) -> list[DailySeries]:
    """Channels whose rate of growth walks, with noise by channel, ads that bring some days of joins, and purges."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        size, noise = float(np.exp(rng.normal(9.5, 0.8))), float(np.exp(rng.normal(-7.8, 0.6)))
        rate = 5e-4 + np.cumsum(rng.normal(0.0, 0.06 * noise, days))
        changes = rate + noise * rng.standard_t(4, days)
        changes += 30 * noise * (rng.random(days) < 0.02) * rng.random(days)
        changes -= 0.03 * (rng.random(days) < 0.002)
        made.append(DailySeries(f"sim{i:02}", date(2026, 1, 1), np.round(size * np.exp(np.cumsum(changes)))))
    return made


def rolling(channels: Sequence[DailySeries], least: int, network: bool = True) -> pd.DataFrame:
    """A row for each channel, origin and horizon: the actual value where there is one, the simple forecasts, and how
    much the network counts in ours."""
    drifts = Drifts.of([Drift.of(one) for one in channels])
    outlook = Outlook(drifts, learn_from(drifts, HORIZONS, network=network), HORIZONS)
    rows = []
    for c, name in enumerate(drifts.names):
        covered = np.flatnonzero(drifts.read[c])
        first, last = (int(covered[0]), int(covered[-1])) if len(covered) else (0, -1)
        for t in range(first + least, last + 1, EVERY):
            if not drifts.origin[c, t]:
                continue
            known = drifts.level[c, first : t + 1]
            day = (drifts.first_day + timedelta(days=t)).isoformat()
            for h in (h for h in HORIZONS if h <= REACH * len(known)):
                mean, ends = outlook.bounds(c, t, h)
                due = t + h <= last and drifts.read[c, t + h]
                actual = float(drifts.level[c, t + h]) if due else np.nan
                weight = float(outlook.mixtures[h].weights[c, t, -1])
                rows.append((name, day, h, mean, *ends, actual, *_simple(known, h), weight))
    columns = ["channel", "origin", "horizon_days", "mean", "lo80", "hi80", "lo95", "hi95"]
    return pd.DataFrame(rows, columns=[*columns, "actual", "median", "drift", "network"])


def report(rows: pd.DataFrame, sheet: Sheet, bars: dict[int, float]) -> None:
    """MAPE, coverage and width by horizon over all rows that came due."""
    due = rows[rows.actual.notna()]
    for h in HORIZONS:
        part = due[due.horizon_days == h]
        if part.empty:
            print(f"  {h} days: nothing came due")
            continue
        print(f"  {h} days: {len(part)} forecasts of {part.channel.nunique()} channels", flush=True)

        def mape(column: str, part: pd.DataFrame = part) -> float:
            return float((part[column] / part.actual - 1).abs().mean() * 100)

        sheet.line(f"{h} d: MAPE, %", mape("mean"), at_most=bars.get(h))
        sheet.line(f"{h} d: MAPE of the median daily change of {BASE_DAYS} days, %", mape("median"))
        sheet.line(f"{h} d: MAPE of the drift of {BASE_DAYS} days, %", mape("drift"))
        sheet.line(f"{h} d: mean weight of the network", float(part.network.mean()))
        sheet.line(f"{h} d: bias, %", float((part["mean"] / part.actual - 1).mean() * 100))
        for level, (low, high) in {80: (0.77, 0.83), 95: (0.93, 0.97)}.items():
            inside = (part.actual >= part[f"lo{level}"]) & (part.actual <= part[f"hi{level}"])
            sheet.line(f"{h} d: coverage of the {level} % interval", float(inside.mean()), low, high)
            print("      channels drawn anew, 95 of 100: {:.3f} to {:.3f}".format(*_resampled(inside, part.channel)))
        width = (part.hi80 - part.lo80) / part.actual * 100
        sheet.line(f"{h} d: mean width of the 80 % interval, %", float(width.mean()))


def _resampled(inside: pd.Series, channel: pd.Series) -> tuple[float, float]:
    """95 % interval of a share by the bootstrap over channels, whose forecasts overlap and are no separate evidence."""
    groups = inside.groupby(channel).agg(["sum", "count"]).to_numpy(dtype=float)
    drawn = groups[np.random.default_rng(0).integers(len(groups), size=(RESAMPLES, len(groups)))].sum(axis=1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], (0.025, 0.975))
    return float(low), float(high)


def speed(channels: Sequence[DailySeries], sheet: Sheet) -> None:
    """One channel beside a pool that is there already, and the pool itself."""
    pool = learn(channels, HORIZONS[:3])
    sheet.line("pool learned, ms (best of 3)", _best_ms(lambda: learn(channels, HORIZONS[:3])))
    plain = _best_ms(lambda: learn(channels, HORIZONS[:3], network=False))
    sheet.line("pool learned without a network, ms (best of 3)", plain)
    able = [one for one in channels if len(one.known) >= BASE_DAYS]
    times = [_best_ms(lambda one=one: forecast(one, HORIZONS[:3], pool)) for one in able]  # type: ignore[misc]
    if not times:
        return
    sheet.line("one channel beside a learned pool, ms (best of 3; median)", float(np.median(times)), at_most=50.0)


def _best_ms(work: Callable[[], object]) -> float:
    """Milliseconds of the quickest of three runs: what else the machine does is not ours to measure."""
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        work()
        times.append((time.perf_counter() - begun) * 1000)
    return min(times)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--least", type=int, default=BASE_DAYS, help="days known before the first origin")
    parser.add_argument("--no-network", action="store_true", help="the mixture of rates alone")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    read = readings(args.data) if args.data else None
    channels = simulated() if read is None else days(read)
    rows = rolling(channels, args.least, network=not args.no_network)
    if args.out:
        told = rows if read is None else as_read(rows, read)
        told.iloc[:, :8].to_csv(args.out, index=False)
    sheet = Sheet()
    bars = next((bar for name, bar in BARS.items() if name in str(args.data)), {})
    report(rows, sheet, bars)
    speed(channels, sheet)
    if args.json:
        args.json.write_text(json.dumps({"figures": sheet.figures, "missed": sheet.missed}, indent=1))
    return 1 if sheet.missed else 0


if __name__ == "__main__":
    sys.exit(main())
