"""Anomalies of channels: false alarms of healthy ones, how soon a fall of 30 % is found, and real mass losses.

    python -m bench.anomaly_channels [--channels 40] [--data DIR] [--json FILE]

Channels come from the product's simulator, without planted events, at several rates of posting, read every 4 hours. A
finding is what the service would store; an alarm is one above the severity `low`, which the default rules alert on. A
fall: from a midnight on everything is read 30 % less; it is found when a finding downwards of the daily views or of
the pace has begun by the end of the second day. --data: a folder of channels with subscriber readings and mentions
(channels/tracked); then the service's own log of ch02's losses. The exit code is 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from actors.anomaly_analysis import assessment, daily, hourly
from actors.anomaly_analysis.actor import AnomalyAnalysis
from actors.anomaly_analysis.detection import LEAST_HISTORY, DetectorState, Episode, step
from actors.anomaly_analysis.scales import GROWTH, PACE, SCALES, VIEWS
from actors.anomaly_analysis.surprise import SurpriseState
from bench._simulated import histories, read_less
from bench.anomaly import Sheet
from core.clock import DAY, ManualClock
from core.history import ChannelHistory
from core.ingest.importer import import_path
from core.ingest.simulator import SimulatorConfig
from core.metrics import subscribers_on
from core.store import schema
from core.store.database import Database

DAYS, FALLS, LESS, SOON = 118, (60, 75, 90), 0.7, 2
RATES = (10.0, 3.0)  # posts a day
BAR_ALARMS, BAR_FOUND = 1.0, 0.95
STEADY = SimulatorConfig(days=DAYS, drift_at=None, anomalies=False, seed=11)


def database(folder: Path) -> Database:
    """An empty one."""
    made = Database(f"sqlite:///{folder / 'bench.db'}")
    schema.metadata.create_all(made.engine)
    return made


def episodes(history: ChannelHistory, first: int, last: int) -> Iterator[tuple[str, Episode]]:
    """Every daily episode of the days from `first` to `last`."""
    for metric, values in daily.values(history, first, last).items():
        state, found = DetectorState(), dict[int, Episode]()
        for day, value in enumerate(values.tolist(), start=first):
            found.update({e.onset: e for e in step(state, SCALES[metric], day, value)})
        for episode in found.values():
            yield metric, episode


def severity(history: ChannelHistory, metric: str, episode: Episode) -> str:
    """As the service grades it."""
    points = episode.away
    observed, expected = sum(p.value for p in points), sum(p.expected for p in points)
    bounds = daily.edges(history.channel.timezone, episode.onset, episode.onset)
    base = float(subscribers_on(history, bounds[:1])[0]) if metric == GROWTH else None
    weight = assessment.impact(metric, episode.direction, observed, expected, episode.noise, len(points), base)
    return assessment.severity(episode.direction, weight)


def healthy(sheet: Sheet, rate: float, channels: list[ChannelHistory], first: int) -> None:
    """Findings on channels in which nothing happens."""
    last = first + DAYS - 2
    days = (DAYS - 1 - LEAST_HISTORY) * len(channels)
    by_metric, alarms = dict[str, int](), 0
    odd, _ = hourly.odd_hours([SurpriseState() for _ in channels], [hourly.hours_of(h, first, last) for h in channels])
    hours = sum(map(len, odd))
    for history in channels:
        for metric, episode in episodes(history, first, last):
            by_metric[metric] = by_metric.get(metric, 0) + 1
            alarms += severity(history, metric, episode) != "low"
    for metric, n in by_metric.items():
        sheet.line(f"{rate:g} posts a day: findings per 30 days, {metric}", 30 * n / days)
    sheet.line(f"{rate:g} posts a day: findings per 30 days, single hours", 30 * hours / days)
    whole = 30 * (sum(by_metric.values()) + hours) / days
    sheet.line(f"{rate:g} posts a day: findings per 30 days", whole, at_most=BAR_ALARMS)
    sheet.line(f"{rate:g} posts a day: alarms per 30 days", 30 * alarms / days, at_most=BAR_ALARMS)


def falls(sheet: Sheet, rate: float, channels: list[ChannelHistory], first: int) -> None:
    """Share of falls found by the end of the second day."""
    found = dict.fromkeys((VIEWS, PACE, "either", "either, above low"), 0)
    for history in channels:
        for day in FALLS:
            moment = STEADY.start + day * DAY
            lower = read_less(history, moment, LESS)
            seen = {
                metric: severity(lower, metric, episode)
                for metric, episode in episodes(lower, first, first + day + SOON - 1)
                if metric in (VIEWS, PACE) and episode.direction == "down" and episode.onset >= first + day - 1
            }
            for metric in seen:
                found[metric] += 1
            found["either"] += bool(seen)
            found["either, above low"] += any(grade != "low" for grade in seen.values())
    tried = len(channels) * len(FALLS)
    for name, n in found.items():
        bar = BAR_FOUND if name == "either" else None
        sheet.line(f"{rate:g} posts a day: fall of 30 % found in {SOON} days by {name}", n / tried, at_least=bar)


def losses(sheet: Sheet, data: Path, channel: str = "ch02") -> None:
    """What the service says of a real channel that lost subscribers in masses."""
    print(f"{channel} of {data}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "part").mkdir()
        for source in sorted(data.glob("*.csv")):
            head, *rows = source.read_text().splitlines()
            if source.name != "observed_jumps.csv":
                mine = [row for row in rows if channel in row.split(",")[:2]]
                (folder / "part" / source.name).write_text("\n".join([head, *mine]) + "\n")
        stored = database(folder)
        end = int(datetime(2025, 3, 1, tzinfo=UTC).timestamp())
        import_path(folder / "part", stored, "default", timezone="Europe/Moscow", clock=ManualClock(end))
        service = AnomalyAnalysis(stored, ManualClock(end))
        service.catch_up()
        found = [f for f in service.findings(channel) if f.metric == GROWTH and f.direction == "down"]
        stored.dispose()
    for finding in found:
        print(f"  {finding.severity:9} {finding.notes[0]}; {finding.causes[-1].evidence}")
    mass = [f for f in found if f.severity == "critical" and f.causes[-1].evidence.startswith("no mention or ad")]
    sheet.line(f"{channel}: critical losses that no mention or ad explains", len(mass), at_least=1)


def main() -> int:
    """Print every figure, and write them to --json; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=40)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sheet = Sheet()
    first = datetime.fromtimestamp(STEADY.start, UTC).toordinal()
    for rate in RATES:
        made = list(histories(replace(STEADY, channels=options.channels, posts_per_day=rate)))
        print(f"{len(made)} simulated channels of {DAYS} days, {rate:g} posts a day")
        healthy(sheet, rate, made, first)
        falls(sheet, rate, made, first)
    if options.data is not None:
        losses(sheet, options.data)
    print("bars missed: " + ("; ".join(sheet.missed) or "none"))
    if options.json is not None:
        options.json.write_text(json.dumps(sheet.figures, indent=1))
    return 1 if sheet.missed else 0


if __name__ == "__main__":
    sys.exit(main())
