"""Whether the usual alert rules are silent where nothing happens, quick where readers stay away, and told once.

    python -m bench.alerts [--channels 200] [--served 2] [--deliveries 300] [--kills 10] [--seed 11]
                           [--data DIR] [--json FILE]

Simulated channels of 160 days, three posts a day unless said otherwise, seeds fixed; the first 70 days are history.
  steady   alerts of all usual rules together on channels in which nothing happens, 90 days each: at most 1 per 30 days
  fall     everything is read 30 % less from a midnight on: at least 95 % of channels alerted within 2 days of it. The
           window of a day is judged once the day is read again after its end, a reading interval later, so only the
           first day after the midnight counts. Beside it, without a bar: only posts published after the midnight get
           30 % fewer views, of which the channel's daily views feel a part at first
  service  both through the service, fed as the data came, on SQLite: the alerts of the backtest, no others, in 2 days
  delivery through a receiver that fails half of its requests, half of them after it took them, with the sender killed
           (SIGKILL) so many times: every delivery is taken once by its key; without kills, none is sent after a 2xx
With --data, a bundle of real channels: what the usual rules would have raised on them; nobody knows the truth there.
The exit code is 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actors.alerts_fusion import backtest, defaults
from actors.alerts_fusion.actor import Alerts
from actors.alerts_fusion.reading import by_days
from actors.alerts_fusion.samples import Samples, Source, samples
from actors.analytics_fusion.actor import Analytics
from bench._postman import SECRET
from bench._receiver import Receiver, half
from bench._simulated import day, histories, read_less, store, weaker_posts
from core.buckets import local_date
from core.clock import DAY, HOUR, ManualClock, SystemClock
from core.delivery import signing
from core.errors import InsufficientData
from core.history import ChannelHistory
from core.ingest.importer import import_path
from core.ingest.replay import Replay
from core.ingest.simulator import SimulatorConfig
from core.protocols import AnomalyService
from core.schemas.alerts import Notice, PastAlert, Target
from core.schemas.analytics import AnomalyFinding
from core.schemas.health import Health
from core.store import migrate
from core.store.channels import ChannelStore
from core.store.database import Database, StoredClock
from core.store.deliveries import DeliveryStore

HISTORY, JUDGED = 70, 90
FALL_DAY = HISTORY + 30
LOG = (Target("log"),)


@dataclass(frozen=True)
class Bar:
    """A figure and what it must be; `most` or `least` says which way."""

    name: str
    measured: float
    bound: float
    most: bool

    @property
    def kept(self) -> bool:
        """Whether it is."""
        return self.measured <= self.bound if self.most else self.measured >= self.bound


def config(channels: int, seed: int, posts_per_day: float = 3.0) -> SimulatorConfig:
    """Channels in which nothing happens."""
    return SimulatorConfig(
        channels=channels,
        days=HISTORY + JUDGED + 1,
        posts_per_day=posts_per_day,
        seed=seed,
        drift_at=None,
        anomalies=False,
    )


def raised(history: ChannelHistory, start: int, first: int, last: int) -> dict[str, tuple[PastAlert, ...]]:
    """Alerts of every usual rule on days of a history, counted from its start."""
    zero, known = local_date("UTC", start).toordinal(), dict[str, Samples]()
    found: dict[str, tuple[PastAlert, ...]] = {}
    for spec in defaults.specs(history, LOG):
        if not by_days(spec):
            past = backtest.of_data_age(spec, history, start + first * DAY, start + (last + 1) * DAY)
        else:
            metric = str(spec.metric)
            if metric not in known:
                known[metric] = samples(Source(history), metric, zero, zero + last)
            past = backtest.by_days(spec, known[metric], history.channel.name, "UTC", zero + first, zero + last)
        found[spec.name] = past.alerts
    return found


def steady(options: argparse.Namespace) -> tuple[list[Bar], dict[str, Any]]:
    """Alerts of channels in which nothing happens."""
    figures: dict[str, Any] = {}
    bars = []
    for posts_per_day in (3.0, 1.0, 8.0):
        channels = options.channels if posts_per_day == 3.0 else max(1, options.channels // 4)
        made = config(channels, options.seed, posts_per_day)
        by_rule, worst = Counter[str](), 0
        for history in histories(made):
            found = {name: len(a) for name, a in raised(history, made.start, HISTORY, HISTORY + JUDGED - 1).items()}
            by_rule.update(found)
            worst = max(worst, sum(found.values()))
        rate = by_rule.total() / channels / JUDGED * 30
        name = f"{posts_per_day:g} posts a day"
        figures[name] = {
            "channels": channels,
            "per_30_days": rate,
            "by_rule": {rule: n / channels / JUDGED * 30 for rule, n in by_rule.items()},
            "most_in_90_days": worst,
        }
        bars.append(Bar(f"alerts per 30 days, {name}", rate, 1.0, True))
    return bars, figures


def fall(options: argparse.Namespace) -> tuple[list[Bar], dict[str, Any]]:
    """Days from a fall to the first alert."""
    kinds: dict[str, Callable[[ChannelHistory, int, float], ChannelHistory]] = {
        "everything is read 30 % less": read_less,
        "new posts get 30 % fewer views": weaker_posts,
    }
    figures: dict[str, Any] = {}
    bars = []
    for posts_per_day in (3.0, 1.0, 8.0):
        channels = options.channels if posts_per_day == 3.0 else max(1, options.channels // 4)
        made = config(channels, options.seed + 1, posts_per_day)
        delays: dict[str, list[float]] = {kind: [] for kind in kinds}
        for history in histories(made):
            for kind, change in kinds.items():
                fallen = change(history, day(made, FALL_DAY), 0.7)
                # The days before are judged too: an alert that is open or at rest by chance can not be raised.
                found = raised(fallen, made.start, FALL_DAY - 30, FALL_DAY + 13)
                times = [a.at for alerts in found.values() for a in alerts if a.at > day(made, FALL_DAY)]
                delays[kind].append((min(times) - day(made, FALL_DAY)) / DAY if times else math.inf)
        for kind, all_ in delays.items():
            name = f"{kind}, {posts_per_day:g} posts a day"
            shares = {f"within_{d}_days": float(np.mean(np.array(all_) <= d)) for d in (1, 2, 4, 9, 14)}
            figures[name] = {"channels": channels, **shares}
            if kind == "everything is read 30 % less":
                bars.append(
                    Bar(f"{name}: share alerted in the first day's window", shares["within_1_days"], 0.95, False)
                )
    return bars, figures


class _Nobody:
    """An anomaly service that finds nothing: the usual rules do not ask it."""

    def findings(self, channel: str | None = None, since: int | None = None) -> tuple[AnomalyFinding, ...]:
        return ()

    def catch_up(self) -> int:
        return 0

    def health(self) -> Health:
        return Health("anomaly_analysis", "ok", "answered", os.getpid())


def _service(database: Database, clock: Any) -> Alerts:
    nobody: AnomalyService = _Nobody()
    return Alerts(database, clock, nobody, Analytics(database, clock), wall=ManualClock(), autostart=False)


def service(options: argparse.Namespace) -> tuple[list[Bar], dict[str, Any]]:
    """Channels through the service as their data came; everything is read 30 % less in every second one."""
    made = config(2 * options.served, options.seed + 2)
    channels = list(histories(made))
    fallen = {h.channel.name for h in channels[1::2]}
    channels = [read_less(h, day(made, FALL_DAY), 0.7) if h.channel.name in fallen else h for h in channels]
    with tempfile.TemporaryDirectory() as folder:
        staging, live = (Database(f"sqlite:///{folder}/{name}.db") for name in ("staging", "live"))
        for database in (staging, live):
            migrate.upgrade(database)
        for history in channels:
            store(history, staging)
        replay, turns = Replay(staging, live), 0
        replay.feed(day(made, HISTORY), "bench")
        alerts = _service(live, StoredClock(live))
        for channel in ChannelStore(live).channels():
            alerts.add_defaults(channel.name)
        begun = time.process_time()
        for until in range(day(made, HISTORY), day(made, HISTORY + JUDGED) + 1, 4 * HOUR):
            replay.feed(until, "bench")
            alerts.judge._swept_at = -math.inf  # the machine's minute between sweeps does not pass here
            alerts.catch_up()
            turns += 1
        spent = time.process_time() - begun
        stored = alerts.alerts(limit=1000)
        staging.dispose()
        live.dispose()
    got = Counter((a.channel, a.rule) for a in stored)
    wanted = Counter(
        (history.channel.name, rule)
        for history in channels
        for rule, found in raised(history, made.start, HISTORY - 1, HISTORY + JUDGED - 1).items()
        for _ in found
    )
    first = [
        min((a.raised_at for a in stored if a.channel == name and a.raised_at > day(made, FALL_DAY)), default=math.inf)
        for name in sorted(fallen)
    ]
    delays = [(at - day(made, FALL_DAY)) / DAY for at in first]
    quiet = sum(n for (channel, _), n in got.items() if channel not in fallen) / options.served / JUDGED * 30
    differ = ((got - wanted) + (wanted - got)).total()
    figures = {
        "channels": len(channels),
        "turns": turns,
        "alerts": got.total(),
        "days_from_the_fall_to_the_alert": delays,
        "cpu_ms_a_turn": spent / turns * 1000,
    }
    return [
        Bar("alerts that only the service or only the backtest has", differ, 0, True),
        Bar("alerts per 30 days on the steady channels", quiet, 1.0, True),
        Bar("most days from the fall to the alert", max(delays), 2.0, True),
    ], figures


def delivery(options: argparse.Namespace) -> tuple[list[Bar], dict[str, Any]]:
    """Every delivery once, with and without kills."""
    figures: dict[str, Any] = {}
    bars = []
    for kills in (0, options.kills):
        receiver = Receiver(half(options.seed))
        with tempfile.TemporaryDirectory() as folder:
            database = Database(f"sqlite:///{folder}/outbox.db")
            migrate.upgrade(database)
            names = [f"d{i}" for i in range(options.deliveries)]
            outbox, target = DeliveryStore(database), Target("webhook", receiver.url)
            with database.write() as connection:
                for name in names:
                    outbox.add(connection, f"a{name}", target, Notice(name, "raised", 0, name), 0)
            killed = _deliver(database, kills, options.seed)
            states = outbox.tally()
            database.dispose()
        receiver.close()
        unsigned = sum(
            not signing.genuine(SECRET, headers, body, int(headers[signing.TIMESTAMP]))
            for _, headers, body in receiver.requests
        )
        once = sum(receiver.accepted[name] >= 1 for name in names) / len(names)
        repeated = receiver.after_accepted.total()
        figures[f"{kills} kills"] = {
            "deliveries": len(names),
            "requests": len(receiver.requests),
            "killed": killed,
            "states": states,
            "handed_over_more_than_once": sum(n > 1 for n in receiver.taken.values()),
            "requests_after_a_2xx": repeated,
        }
        strangers = len(receiver.taken.keys() - set(names))
        bars += [
            Bar(f"share of deliveries taken, one key each, {kills} kills", once, 1.0, False),
            Bar(
                f"keys that nobody sent, and requests without a true signature, {kills} kills",
                strangers + unsigned,
                0,
                True,
            ),
            # A kill between the receiver's 2xx and its commit costs one more request with the same key, and no more.
            Bar(f"requests after a 2xx, {kills} kills", repeated, killed, True),
        ]
    return bars, figures


def _deliver(database: Database, kills: int, seed: int) -> int:
    """Run senders until the outbox is done, killing the first ones at random moments; how many were killed."""
    rng, killed, now = np.random.default_rng([seed, kills]), 0, int(time.time())
    while True:
        worker = subprocess.Popen([sys.executable, "-m", "bench._postman", database.url, str(now)])
        now += 1_000_000  # beyond whatever the one before put off
        if killed >= kills:
            worker.wait()
            return killed
        # Imports take a second or two: the moment of the kill is counted from the first delivery on.
        waiting = DeliveryStore(database).tally().get("pending", 0)
        while worker.poll() is None and DeliveryStore(database).tally().get("pending", 0) == waiting > 0:
            time.sleep(0.01)
        time.sleep(float(rng.uniform(0, 0.3)))
        if worker.poll() is not None:
            return killed
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
        killed += 1


def real(data: Path) -> dict[str, Any]:
    """What the usual rules would have raised on imported channels."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/real.db")
        migrate.upgrade(database)
        import_path(data, database, clock=SystemClock())
        channels = ChannelStore(database)
        newest = max(t for c in channels.channels() if (t := channels.newest(c, 2**40)) is not None)
        clock = ManualClock(newest + DAY)
        alerts, figures = _service(database, clock), dict[str, Any]()
        for channel in channels.channels():
            history = channels.history(channel)
            found: dict[str, Any] = {}
            for spec in defaults.specs(history, LOG):
                try:
                    past = alerts.backtest(spec, 365)
                except InsufficientData as gap:
                    found[spec.name] = gap.message
                    continue
                found[spec.name] = {
                    "alerts": past.alerts,
                    "per_30_days": past.per_30_days,
                    "judged": past.channels[0].judged,
                }
            figures[channel.name] = found
        database.dispose()
    rules = {name for found in figures.values() for name in found}
    judged = {rule: [f[rule] for f in figures.values() if isinstance(f.get(rule), dict)] for rule in sorted(rules)}
    summary = {
        rule: {
            "channels": len(all_),
            "per_30_days": sum(f["alerts"] for f in all_) / max(1, sum(f["judged"] for f in all_)) * 30,
        }
        for rule, all_ in judged.items()
    }
    return {"by_rule": summary, "by_channel": figures}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every figure and bar; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=200)
    parser.add_argument("--served", type=int, default=2)
    parser.add_argument("--deliveries", type=int, default=300)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--json", type=Path)
    options, _ = parser.parse_known_args(arguments)
    begin = time.monotonic()
    result: dict[str, Any] = {}
    missed: list[str] = []
    for name, part in (("steady", steady), ("fall", fall), ("service", service), ("delivery", delivery)):
        bars, result[name] = part(options)
        print(f"\n{name}")
        for key, value in result[name].items():
            print(f"  {key:50} {json.dumps(value)}")
        for bar in bars:
            sign = "kept  " if bar.kept else "MISSED"
            print(
                f"  {sign} {bar.name}: {bar.measured:.4g}, at {'most' if bar.most else 'least'} {bar.bound:g}",
                flush=True,
            )
        missed += [bar.name for bar in bars if not bar.kept]
    if options.data is not None:
        result["real"] = real(options.data)
        print("\nreal channels")
        for rule, figures in result["real"]["by_rule"].items():
            print(f"  {rule:50} {json.dumps(figures)}")
    print(f"\n{len(missed)} bars missed{': ' if missed else ''}{'; '.join(missed)}; {time.monotonic() - begin:.0f} s")
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
