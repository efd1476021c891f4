"""Imports a file or folder as a job, for data that lies on the cluster; safe to repeat."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from core import telemetry
from core.store.database import Database, StoredClock


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the job."""
    from cluster.jobs.session import job
    from core.ingest.importer import import_path

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--format", default="auto")
    parser.add_argument("--timezone", default="UTC", help="zone of times that carry none")
    options = parser.parse_args(arguments)
    with job("importing") as settings:
        log = telemetry.logger("importing")
        database = Database(settings.database)
        report = import_path(
            options.path,
            database,
            settings.tenant,
            format=options.format,
            timezone=options.timezone,
            on_progress=lambda done: log.info("progress", done=str(done)),
            clock=StoredClock(database),
        )
        print("\n".join(report.lines()))


if __name__ == "__main__":
    main()
