"""The nightly analysis: every channel's overview and findings as Parquet, sharded over the cluster.

`home/reports/nightly/<day>/{overview,anomalies}-<shard>.parquet`; `done.json` says that the day is complete (see
cluster.jobs.parts). The figures are also kept as levels of the cohorts of that many days, so that no question about
percentiles has to compute those of many channels first.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from cluster.jobs.parts import Columns, Parts, Rows, Shard, Tables, Task, shards, spread
from core import telemetry
from core.clock import DAY
from core.errors import InsufficientData
from core.schemas.analytics import AnomalyFinding, Overview
from core.schemas.channels import Channel
from core.settings import Settings
from core.store.database import Database, StoredClock

#: Part of the fingerprint: parts of another layout are made again.
_LAYOUT = 2


@dataclass(frozen=True, slots=True)
class NightlyReport:
    """What a run did."""

    day: str
    channels: int
    made: int  # shards
    kept: int  # shards that were true already
    without_data: int
    folder: str


def analyse(settings: Settings, shard: Shard, until: int, days: int) -> Tables:
    """Rows of the overview and of the findings of a shard; a channel with too little data has one row that says so.

    Stores the channels' levels. Done twice it gives and stores the same.
    """
    from actors.analytics_fusion.actor import Analytics
    from core.store.findings import AnomalyStore

    database = Database(settings.database)
    analytics = Analytics(database, StoredClock(database), settings.tenant)
    store = AnomalyStore(database, settings.tenant)
    figures: Rows = []
    findings: Rows = []
    overviews: list[tuple[Channel, Overview]] = []
    for channel in shard.channels:
        try:
            overviews.append((channel, analytics.overview(channel.name, days, until)))
            figures += _figure_rows(overviews[-1][1])
        except InsufficientData as gap:
            figures.append({**_EMPTY_FIGURE, "channel": channel.name, "missing": gap.message})
        findings += [_finding_row(finding) for finding in store.findings(channel.name, until - days * DAY)]
    analytics.keep_levels(days, overviews)
    database.dispose()
    return {"anomalies": findings, "overview": figures}


def run(settings: Settings, days: int = 30) -> NightlyReport:
    """Analyse what changed; needs a connected Ray."""
    from core.store.channels import ChannelStore

    log = telemetry.logger("nightly")
    database = Database(settings.database)
    now = StoredClock(database).now()
    until = now // DAY * DAY  # the days that are over
    day = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%d")
    parts = Parts(settings.home / "reports" / "nightly" / day, TABLES)
    channels = ChannelStore(database, settings.tenant).channels()
    cut = shards(channels)
    tasks = {
        shard.number: Task(shard.fingerprint(_LAYOUT, until, days), partial(analyse, settings, shard, until, days))
        for shard in cut
    }
    made = without = 0
    for number, tables in spread(parts, tasks):
        made += 1
        without += sum(row["metric"] is None for row in tables["overview"])
        log.info("shard analysed", shard=number, findings=len(tables["anomalies"]))
    parts.finish(len(cut), {"day": day, "channels": len(channels)})
    return NightlyReport(day, len(channels), made, len(cut) - made, without, str(parts.folder))


# ---------------------------------------------------------------- tables

_FIGURE_COLUMNS: Columns = {
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
_FINDING_COLUMNS: Columns = {
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
#: The overview is written last: it stands for the shard.
TABLES = {"anomalies": _FINDING_COLUMNS, "overview": _FIGURE_COLUMNS}
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
