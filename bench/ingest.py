"""Import speed: a bundle of a million view readings through the importer, beside plain SQLAlchemy inserts.

    python -m bench.ingest [--rows 1000000] [--data DIR] [--json FILE]

--data: also time the import of a bundle folder (twice: the second must change nothing). Each measurement runs in a
process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import tempfile
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from core.clock import SystemClock
from core.ingest.importer import import_path
from core.store import schema
from core.store.database import Database
from core.store.ids import channel_id
from core.store.migrate import upgrade

READINGS_A_POST = 50
POSTS_A_CHANNEL = 100
PLAIN_ROWS = 100_000  # the plain way is timed on a part; its rate does not depend on the size
START = 1_735_689_600


def main() -> int:
    """Print the figures; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--data", type=Path, help="a bundle folder to import as well")
    parser.add_argument("--json", type=Path)
    options, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="bench-ingest-") as scratch:
        folder = Path(scratch) / "bundle"
        _write_bundle(folder, options.rows)
        result = {
            "importer": _alone(_import, folder, f"sqlite:///{scratch}/importer.db"),
            "importer_again": _alone(_import, folder, f"sqlite:///{scratch}/importer.db"),
            "plain_sqlalchemy": _alone(
                _plain, folder / "views.csv", min(options.rows, PLAIN_ROWS), f"sqlite:///{scratch}/plain.db"
            ),
        }
        if options.data is not None:
            for name in ("data", "data_again"):
                result[name] = _alone(_import, options.data, f"sqlite:///{scratch}/data.db")
    result["importer / plain"] = {
        name: result["importer"][name] / result["plain_sqlalchemy"][name] for name in ("rows_s", "rows_cpu_s")
    }
    for name, figures in result.items():
        print(f"{name:18}" + "  ".join(f"{key} {value:,.1f}" for key, value in figures.items()))
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1))
    return 0


def _write_bundle(folder: Path, rows: int) -> None:
    """Readings in the order in which a collector writes them: channel by channel, post by post."""
    folder.mkdir()
    rng = np.random.default_rng(7)
    post = np.arange(rows) // READINGS_A_POST
    step = np.arange(rows) % READINGS_A_POST
    channel = np.char.add("channel", (post // POSTS_A_CHANNEL).astype(str))
    published = START + (post % POSTS_A_CHANNEL) * 9_000
    views = np.where(step == 0, 0, rng.poisson(40, rows))
    views = np.cumsum(views) - np.repeat(np.cumsum(views)[::READINGS_A_POST], READINGS_A_POST)[:rows]
    ts = (published + (step + 1) * 14_400).astype("datetime64[s]")
    table = {
        "channel": channel,
        "post_id": post % POSTS_A_CHANNEL + 1,
        "ts": pa.array(ts, pa.timestamp("s")),
        "views": views,
    }
    pacsv.write_csv(pa.table(table), folder / "views.csv")
    first = np.arange(0, rows, READINGS_A_POST)
    posts = {
        "channel": channel[first],
        "post_id": table["post_id"][first],
        "published_at": pa.array(published[first].astype("datetime64[s]"), pa.timestamp("s")),
    }
    pacsv.write_csv(pa.table(posts), folder / "posts.csv")


def _alone(work: Any, *args: Any) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    worker = context.Process(target=_measure, args=(queue, work, args))
    worker.start()
    figures: dict[str, float] = queue.get()
    worker.join()
    return figures


def _measure(queue: Any, work: Any, args: tuple[Any, ...]) -> None:
    started, cpu = time.monotonic(), time.process_time()
    figures = work(*args)
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    status = Path("/proc/self/status").read_text()
    peak = (
        int(status.split("VmHWM:")[1].split()[0]) / 1024
    )  # getrusage would count the parent's memory from before exec
    rate = {"rows_s": figures["rows"] / seconds, "rows_cpu_s": figures["rows"] / cpu}
    figures |= {"seconds": seconds, "cpu_s": cpu, **rate, "rss_mb": peak}
    queue.put(figures)


def _import(folder: Path, url: str) -> dict[str, float]:
    database = Database(url)
    upgrade(database)
    tables = import_path(folder, database, clock=SystemClock()).tables.values()
    return {
        "rows": float(sum(c.new + c.updated + c.duplicate for c in tables)),
        "changed": float(sum(c.new + c.updated for c in tables)),
    }


def _plain(path: Path, rows: int, url: str) -> dict[str, float]:
    """What one would write first: csv.DictReader, datetime, dicts into SQLAlchemy's insert, a thousand a transaction.

    It checks nothing, counts nothing and fails on the second run.
    """
    database = Database(url)
    upgrade(database)
    with path.open(encoding="utf-8") as file:
        reader = csv.DictReader(file)
        for start in range(0, rows, 1_000):
            values = [
                {
                    "channel_id": channel_id("default", row["channel"]),
                    "post_id": int(row["post_id"]),
                    "ts": int(datetime.fromisoformat(row["ts"]).replace(tzinfo=UTC).timestamp()),
                    "views": int(row["views"]),
                    "precision": 0,
                }
                for row in islice(reader, min(1_000, rows - start))
            ]
            with database.write() as connection:
                connection.execute(schema.post_snapshot.insert(), values)
    return {"rows": float(rows), "changed": float(rows)}


if __name__ == "__main__":
    raise SystemExit(main())
