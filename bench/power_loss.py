"""Loss of power: everything killed with SIGKILL at random moments under write load; is all that was acknowledged there?

    python -m bench.power_loss                     # 100 kills of the services without Ray
    python -m bench.power_loss --kills 10 --cold   # restarts with the imports of torch and Ray in them
    python -m bench.power_loss --cluster           # 5 kills of the whole application on Ray (`analyticbot up`)
    python -m bench.power_loss --database postgresql://user@host/db    # in a schema of its own, removed afterwards

Callers send predictions and feedback with keys while a replay feeds posts and readings and the followers join outcomes,
count and feed detectors. All processes are killed at once, most times under load, now and then while they start; then
everything is started again, and callers send what got no answer again, with the same key. At the end the database is
read: every acknowledged prediction, feedback item and reading is there exactly once, as it was acknowledged; every
(prediction, target) whose value is known has exactly one outcome; monitoring's sums, latency histograms and the states
of the drift detectors are those of a count from the first row.

SIGKILL takes the processes and leaves the operating system with what they wrote: that the disk keeps what it was told
to sync (SQLite: synchronous=FULL) is not measured here, and a PostgreSQL server is not killed. Moments of the kills
and requests come from --seed; how far each of them gets is up to the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import create_engine, text

from bench import _power_audit
from bench._power_audit import Count
from bench._power_host import SOURCE, Place
from bench._power_load import FEEDBACK, PREDICTIONS, Asked, Load
from bench._power_ways import Cluster, Embedded, Way, until
from core.artifacts import ArtifactStore
from core.clock import DAY, HOUR, SystemClock
from core.ingest.importer import import_path
from core.ingest.replay import Replay
from core.ingest.simulator import SimulatorConfig, simulate
from core.schemas.predictions import ENGAGEMENT
from core.schemas.rollouts import TrafficSplit
from core.settings import Settings
from core.store import migrate
from core.store.channels import ChannelStore
from core.store.database import Database, StoredClock

#: Seconds under load before a kill: from, to.
LOADED_S = (0.2, 3.0)
#: Share of the kills that come while everything is being started.
EARLY = 0.1
#: Fastest that the data's time runs, seconds a second: twelve hours.
FASTEST = 12.0 * HOUR
#: Posts are asked about from this long after the data's beginning on: before it channels have too little history.
HISTORY_S = 14 * DAY


@dataclass(frozen=True)
class Scene:
    """What is on the stage before the first start."""

    place: Place
    live: Database
    staging: Database
    artifacts: ArtifactStore
    posts: tuple[Asked, ...]
    folder: Path


@dataclass
class Figures:
    """What happened to the processes."""

    kills: int = 0
    early: int = 0
    restarts_s: list[float] = field(default_factory=list)


# ---------------------------------------------------------------- the stage


@contextmanager
def scene(data: Path | None, database: str | None, expected_s: float, channels: int = 8) -> Iterator[Scene]:
    """Half of the data fed, version 1 in service with a reference window; the other half lasts for expected_s.

    data: a bundle; None: simulated channels.
    """
    with tempfile.TemporaryDirectory(prefix="power-", ignore_cleanup_errors=True) as temp, _url(database, temp) as url:
        folder = Path(temp)
        staging, live = Database(f"sqlite:///{folder / 'staging.db'}"), Database(url)
        for each in (staging, live):
            migrate.upgrade(each)
        bundle = data or folder / "bundle"
        if data is None:
            simulate(SimulatorConfig(channels=channels), bundle)
        import_path(bundle, staging, clock=SystemClock())
        replay = Replay(staging, live)
        begin, end = replay.span()
        middle = begin + (end - begin) // 2
        replay.feed(middle, SOURCE)
        artifacts = ArtifactStore(Settings(home=folder).artifacts)
        _into_service(live, artifacts, folder)
        pace = min(FASTEST, (end - middle) / expected_s)
        place = Place(str(folder), live.engine.url.render_as_string(hide_password=False), staging.url, pace, end)
        yield Scene(place, live, staging, artifacts, _posts(staging, begin + HISTORY_S), folder)
        live.dispose()
        staging.dispose()


@contextmanager
def _url(database: str | None, folder: str) -> Iterator[str]:
    """A database of the bench's own: a file, or a schema in the server that is given."""
    if database is None:
        yield Settings(home=Path(folder)).database
        return
    server = Settings(database_url=database).database
    admin, name = create_engine(server, isolation_level="AUTOCOMMIT"), f"power_{uuid.uuid4().hex[:12]}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
    try:
        yield f"{server}{'&' if '?' in server else '?'}options=-csearch_path%3D{name}"
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
        admin.dispose()


def _into_service(live: Database, artifacts: ArtifactStore, folder: Path) -> None:
    """Register an untrained network with a made-up reference window, make it champion and give it all traffic."""
    from actors.adaptive_learning.drift.actor import Drift
    from actors.adaptive_learning.versioning.actor import Versioning
    from core.schemas.models import Lineage, NewVersion, Signature
    from core.schemas.predictions import TARGETS
    from core.store.splits import SplitStore
    from training.calibration import Calibration
    from training.features import FEATURES, SCHEMA
    from training.model import EngagementModel
    from training.network import EngagementNet
    from training.reference import Reference, to_arrow

    import torch  # isort: skip

    rng, hidden = np.random.default_rng(1), (64, 64)
    signature = Signature(FEATURES, TARGETS, SCHEMA)
    net = EngagementNet(len(FEATURES), len(TARGETS), hidden, torch.Generator().manual_seed(1)).eval()
    golden = rng.normal(size=(4, len(FEATURES))).astype(np.float32)
    learned = rng.normal(size=(500, len(FEATURES))).astype(np.float32)
    errors = {target: rng.normal(0, 0.3, 500) for target in TARGETS[:2]}
    ages = {target: np.zeros(500, dtype=np.int64) for target in errors}
    window = to_arrow(Reference(FEATURES, learned, errors, ages))
    files = EngagementModel(net, signature, Calibration.none(), hidden).to_artifact(golden, window)
    clock = StoredClock(live)
    versioning = Versioning(live, clock, artifacts)
    lineage = Lineage(None, 0, 0, 0, "0" * 64, "bench", 1, "batch")
    versioning.register(NewVersion(ENGAGEMENT, artifacts.put(files), signature, {}, None, lineage, "bench-1"))
    versioning.set_alias(ENGAGEMENT, "champion", 1, expect=None, reason="the first version", actor="bench")
    SplitStore(live).write(TrafficSplit(ENGAGEMENT, 1, 1, None, 0.0, False, 30.0, 300.0, 0), clock)
    Drift(live, artifacts, clock, versioning).set_reference(ENGAGEMENT, 1)


def _posts(staging: Database, since: int) -> tuple[Asked, ...]:
    store, found = ChannelStore(staging), list[Asked]()
    for channel in store.channels():
        history = store.history(channel)
        pairs = zip(history.published_at.tolist(), history.post_ids.tolist(), strict=True)
        found += [Asked(at, channel.name, post) for at, post in pairs if at >= since]
    return tuple(sorted(found, key=lambda post: (post.published_at, post.channel, post.post_id)))


# ---------------------------------------------------------------- the kills


def killed(way: Way, load: Load, kills: int, rng: np.random.Generator, early: float) -> Figures:
    """Start, load, kill, again and again; then start once more and settle what is open."""
    figures = Figures()
    for number in range(kills):
        again = figures.restarts_s[1:]  # the first start is no restart: the nursery is still importing
        if again and rng.random() < early:
            figures.early += 1
            way.start(kill_after=float(rng.uniform(0.0, statistics.median(again))))
        else:
            url = _started(way, figures)
            asyncio.run(load.until_killed(url, float(rng.uniform(*LOADED_S)), way.kill))
        until(way.ended, "the end of what was killed")
        figures.kills += 1
        print(f"   kill {number + 1}: {len(load.calls)} requests, {len(load.waiting)} without an answer", flush=True)
    asyncio.run(load.settle(_started(way, figures, feeding=False)))
    return figures


def _started(way: Way, figures: Figures, *, feeding: bool = True) -> str:
    begun = time.monotonic()
    url = way.start(feeding=feeding)
    if url is None:
        raise RuntimeError("killed by somebody else")
    figures.restarts_s.append(time.monotonic() - begun)
    return url


def run(
    kills: int,
    seed: int,
    *,
    cluster: bool = False,
    cold: bool = False,
    data: Path | None = None,
    database: str | None = None,
    channels: int = 8,
) -> dict[str, Any]:
    """The whole bench; returns its figures, `bars` among them."""
    of_kills, of_requests = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2))
    expected_s = kills * (60.0 if cluster else sum(LOADED_S) / 2 + 1.0)
    with scene(data, database, expected_s, channels) as made:
        log = made.folder / "services.log"
        way: Way = Cluster(made.place, log) if cluster else Embedded(made.place, log, cold=cold)
        begun = StoredClock(made.live).now()
        load = Load(made.posts, lambda: max(way.fed, begun), of_requests)
        try:
            # `up` is a long start of many processes, of which most kills would hit nothing but Ray.
            figures = killed(way, load, kills, of_kills, 0.0 if cluster else EARLY)
            until(lambda: not _power_audit.behind(made.live), "the followers have read everything", 120.0)
        finally:
            way.close()
        counts = _power_audit.audit(made.live, made.staging, made.artifacts, load.calls, way.fed, made.folder)
    return _result(figures, load, counts)


def _result(figures: Figures, load: Load, counts: dict[str, Count]) -> dict[str, Any]:
    restarts = sorted(figures.restarts_s[1:])  # the first one is no restart
    there = sum(call.there for call in load.answered[FEEDBACK])
    return {
        "kills": figures.kills,
        "while starting": figures.early,
        "requests": load.counts["requests"],
        "acknowledged": {
            "predictions": len(load.answered[PREDICTIONS]),
            "feedback": len(load.answered[FEEDBACK]),
        },
        "unanswered": load.counts["unanswered"],
        "answered 5xx": load.counts["answered 5xx"],
        "repeated": load.counts["repeated"],
        "feedback stored though unanswered": there,
        "restart_s": {"median": statistics.median(restarts), "max": restarts[-1]} if restarts else None,
        "counts": {name: count.shown() for name, count in counts.items()},
        "wrong answers": load.wrong[:5],
        "bars": {
            **{f"{name}: each once, as it was said": count.whole for name, count in counts.items()},
            "every repeated request got the same answer": not load.wrong,
            "every request got an answer in the end": not load.unsettled,
        },
    }


def show(result: dict[str, Any]) -> None:
    """As tables."""
    for name, value in result.items():
        if name not in ("counts", "bars", "wrong answers"):
            print(f"{name:36}{value}")
    print(f"\n{'':24}{'expected':>10}{'missing':>10}{'doubled':>10}{'differing':>10}   (bars: 0, 0, 0)")
    for name, count in result["counts"].items():
        print(f"{name:24}" + "".join(f"{count[c]:>10}" for c in ("expected", "missing", "doubled", "differing")))
        for case in count["cases"]:
            print(f"    {case}")
    for line in result["wrong answers"]:
        print(f"wrong: {line}")
    print()
    for bar, kept in result["bars"].items():
        print(f"{'ok  ' if kept else 'MISS'} {bar}")


def main() -> int:
    """Exit code 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, help="default: 100, with --cluster 5")
    parser.add_argument("--cluster", action="store_true", help="kill the whole application on Ray")
    parser.add_argument("--cold", action="store_true", help="import everything anew at each start")
    parser.add_argument("--database", help="a PostgreSQL server instead of a SQLite file")
    parser.add_argument("--data", type=Path, help="a bundle instead of simulated channels")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    if args.cluster and args.cold:
        parser.error("--cold says nothing of a cluster: it always starts from nothing")
    kills = args.kills or (5 if args.cluster else 100)
    result = run(kills, args.seed, cluster=args.cluster, cold=args.cold, data=args.data, database=args.database)
    show(result)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if all(result["bars"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
