"""The nightly analysis: every channel's overview and findings as Parquet, sharded over the cluster.

`home/reports/nightly/<day>/{overview,anomalies}-<shard>.parquet`; `done.json` says that the day is complete. A part
carries a fingerprint of the data it was made from: run again, parts that are still true are left alone, so a job that
was killed goes on where it stopped, and a finished one changes nothing. The figures are also kept as levels of the
cohorts of that many days, so that no question about percentiles has to compute those of many channels first.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from core import telemetry
from core.errors import InsufficientData
from core.schemas.analytics import AnomalyFinding, Overview
from core.schemas.channels import Channel
from core.settings import Settings
from core.store.database import Database, StoredClock

CHANNELS_A_SHARD = 50
_FINGERPRINT = b"analyticbot.fingerprint"
#: Part of the fingerprint: parts of another layout are made again.
_LAYOUT = 2


@dataclass(frozen=True, slots=True)
class Shard:
    """Some channels, always the same for the same set of channels."""

    number: int
    channels: tuple[Channel, ...]

    def fingerprint(self, until: int, days: int) -> str:
        """Changes with the data of a channel, the day, or the layout."""
        parts = [f"{_LAYOUT}:{until}:{days}", *(f"{c.id}:{c.data_version}" for c in self.channels)]
        return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class NightlyReport:
    """What a run did."""

    day: str
    channels: int
    made: int  # parts written
    kept: int  # parts that were true already
    without_data: int
    folder: str


def shards(channels: Sequence[Channel], size: int = CHANNELS_A_SHARD) -> tuple[Shard, ...]:
    """Channels in order of id, cut into shards."""
    ordered = sorted(channels, key=lambda channel: channel.id)
    return tuple(Shard(i // size, tuple(ordered[i : i + size])) for i in range(0, len(ordered), size))


def analyse(
    settings: Settings, shard: Shard, until: int, days: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    """Rows of the overview and of the findings of a shard, and how many channels have too little data.

    Stores the channels' levels. Done twice it gives and stores the same.
    """
    from actors.analytics_fusion.actor import Analytics
    from core.store.findings import AnomalyStore

    database = Database(settings.database)
    analytics = Analytics(database, StoredClock(database), settings.tenant)
    store = AnomalyStore(database, settings.tenant)
    figures: list[dict[str, Any]] = []
    findings: list[dict[str, Any]] = []
    overviews: list[tuple[Channel, Overview]] = []
    without = 0
    for channel in shard.channels:
        try:
            overviews.append((channel, analytics.overview(channel.name, days, until)))
            figures += _figure_rows(overviews[-1][1])
        except InsufficientData as gap:
            without += 1
            figures.append({**_EMPTY_FIGURE, "channel": channel.name, "missing": gap.message})
        findings += [_finding_row(finding) for finding in store.findings(channel.name, until - days * 86400)]
    analytics.keep_levels(days, overviews)
    database.dispose()
    return figures, findings, without


def run(settings: Settings, days: int = 30) -> NightlyReport:
    """Analyse what changed; needs a connected Ray."""
    import ray

    from core.store.channels import ChannelStore

    log = telemetry.logger("nightly")
    database = Database(settings.database)
    now = StoredClock(database).now()
    until = now // 86400 * 86400  # the days that are over
    day = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%d")
    folder = settings.home / "reports" / "nightly" / day
    folder.mkdir(parents=True, exist_ok=True)
    channels = ChannelStore(database, settings.tenant).channels()
    todo = [s for s in shards(channels) if not _is_current(folder, s, s.fingerprint(until, days))]
    total = len(shards(channels))
    task = ray.remote(num_cpus=0.1, max_retries=3)(analyse)
    pending = {task.remote(settings, shard, until, days): shard for shard in todo}
    without = 0
    while pending:
        (ready,), _ = ray.wait(list(pending), num_returns=1)
        shard = pending.pop(ready)
        figures, findings, empty = ray.get(ready)
        without += empty
        mark = shard.fingerprint(until, days)
        _write(_part(folder, "anomalies", shard), findings, _FINDING_COLUMNS, mark)
        _write(_part(folder, "overview", shard), figures, _FIGURE_COLUMNS, mark)  # last: it stands for the shard
        log.info("shard analysed", shard=shard.number, channels=len(shard.channels), findings=len(findings))
    _finish(folder, total, day, len(channels))
    return NightlyReport(day, len(channels), len(todo), total - len(todo), without, str(folder))


# ---------------------------------------------------------------- parts

_FIGURE_COLUMNS = {
    "channel": "string",
    "since": "int64",
    "until": "int64",
    "metric": "string",
    "unit": "string",
    "value": "float64",
    "n": "int64",
    "previous": "float64",
    "previous_n": "int64",
    "change": "float64",
    "change_low": "float64",
    "change_high": "float64",
    "missing": "string",
}
_FINDING_COLUMNS = {
    "id": "string",
    "channel": "string",
    "metric": "string",
    "kind": "string",
    "direction": "string",
    "severity": "string",
    "onset": "int64",
    "ended": "int64",
    "observed": "float64",
    "expected": "float64",
    "score": "float64",
    "causes": "string",
}
_EMPTY_FIGURE: dict[str, Any] = dict.fromkeys(_FIGURE_COLUMNS)


def _figure_rows(overview: Overview) -> list[dict[str, Any]]:
    shared = {"channel": overview.channel, "since": overview.since, "until": overview.until}
    return [
        {**shared, **{name: getattr(figure, name) for name in _FIGURE_COLUMNS if name not in shared}}
        for figure in overview.figures
    ]


def _finding_row(finding: AnomalyFinding) -> dict[str, Any]:
    causes = [{"factor": c.factor, "share": c.share, "evidence": c.evidence} for c in finding.causes]
    plain = {name: getattr(finding, name) for name in _FINDING_COLUMNS if name != "causes"}
    return {**plain, "causes": json.dumps(causes, ensure_ascii=False)}


def _part(folder: Path, name: str, shard: Shard) -> Path:
    return folder / f"{name}-{shard.number:04d}.parquet"


def _is_current(folder: Path, shard: Shard, fingerprint: str) -> bool:
    import pyarrow.parquet as pq
    from pyarrow import ArrowInvalid

    try:
        metadata = pq.read_schema(_part(folder, "overview", shard)).metadata or {}
    except (FileNotFoundError, ArrowInvalid):
        return False
    return metadata.get(_FINGERPRINT) == fingerprint.encode() and _part(folder, "anomalies", shard).exists()


def _write(path: Path, rows: list[dict[str, Any]], columns: dict[str, str], fingerprint: str) -> None:
    """Under another name, then renamed: a part is whole or absent."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64()}
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    table = pa.Table.from_pylist(rows, schema=schema).replace_schema_metadata({_FINGERPRINT: fingerprint})
    partial = path.with_suffix(f".{os.getpid()}.tmp")
    pq.write_table(table, partial, compression="zstd")
    partial.replace(path)


def _finish(folder: Path, total: int, day: str, channels: int) -> None:
    """Parts of channels that are no longer there go; then the day is complete."""
    for path in folder.glob("*.parquet"):
        if int(path.stem.rsplit("-", 1)[1]) >= total:
            path.unlink()
    partial = folder / f"done.{os.getpid()}.tmp"
    partial.write_text(json.dumps({"day": day, "channels": channels, "parts": total}))
    partial.replace(folder / "done.json")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the job."""
    from cluster.jobs.session import job
    from core.codec import to_json

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=30, help="length of the period, compared with the one before")
    options = parser.parse_args(arguments)
    with job("nightly") as settings:
        print(to_json(run(settings, options.days)))


if __name__ == "__main__":
    main()
