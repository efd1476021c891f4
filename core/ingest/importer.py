"""Imports what a path holds: finds the format, runs its reader, keeps the record of what happened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import update

from core.clock import Clock
from core.codec import to_json
from core.errors import AnalyticBotError, ImportRefused, InvalidInput
from core.ingest import bundle, flat_csv, telegram_desktop, telethon
from core.ingest.detect import Found, detect
from core.ingest.files import must_exist
from core.ingest.report import ImportReport
from core.ingest.sink import Options, Progress, Sink
from core.store import schema
from core.store.database import Database
from core.store.ids import new_id
from core.store.ingest import IngestWriter

READERS: dict[str, Callable[[Path, Sink], None]] = {
    "bundle": bundle.read,
    "telegram-desktop": telegram_desktop.read,
    "telethon": telethon.read,
    "flat-csv": flat_csv.read,
}
FORMATS = ("auto", *READERS)


def import_path(
    path: Path | str,
    database: Database,
    tenant: str = "default",
    *,
    clock: Clock,
    format: str = "auto",
    timezone: str = "UTC",
    channel: str | None = None,
    read_at: int | None = None,
    on_progress: Progress | None = None,
) -> ImportReport:
    """Import a file or folder; safe to repeat, and to continue after it was cut off at any moment.

    timezone: of times that carry none, and of channels that are new. channel: the name to store under, where the
    source holds one channel. read_at: when the counters of a dump were read, where it does not say. on_progress:
    called after each transaction with a line that says how far it is.

    Rows go in by transactions of bounded size. A file that breaks off (truncated, bad bytes) keeps the rows before
    the break: `report.incomplete` says where it broke. ImportRefused: nothing was imported; InvalidInput: an option.
    """
    path = Path(path)
    _check_options(format, timezone)
    must_exist(path)
    found = detect(path) if format == "auto" else Found([(format, path)])  # type: ignore[list-item]
    report = ImportReport(str(path), _named(found), clock.now())
    options = Options(timezone=timezone, channel=channel, read_at=read_at)
    sink = Sink(IngestWriter(database, tenant), report, clock, options, on_progress)
    record = _begin(database, tenant, report)
    try:
        _read_all(found, sink)
    except AnalyticBotError as error:
        report.incomplete.append(error.message)
        raise
    finally:
        report.finished_at = clock.now()
        _finish(database, record, report)
    return report


def _read_all(found: Found, sink: Sink) -> None:
    refused: ImportRefused | None = None
    for kind, path in found.sources:
        before = sink.rows
        sink.prefix = f"{kind}: " if sink.report.format == "mixed" else ""
        try:
            READERS[kind](path, sink)
        except ImportRefused as error:
            sink.settle(everything=True)  # what stood before the break
            kept = sink.rows - before
            sink.report.incomplete.append(
                f"{error.message}; {kept:,} rows before it are stored" if kept else error.message
            )
            refused = refused or error
    for text in found.aside[:5]:
        sink.report.note(f"left aside: {text}")
    if len(found.aside) > 5:
        sink.report.note(f"left aside: {len(found.aside) - 5} files more")
    if refused is not None and not sink.rows:
        sink.report.incomplete.clear()
        raise refused


def _check_options(format: str, timezone: str) -> None:
    if format not in FORMATS:
        raise InvalidInput(f"format {format!r} is none of {', '.join(FORMATS)}", field="format")
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:
        raise InvalidInput(
            f"unknown time zone {timezone!r}: use a name like Europe/Berlin", field="timezone"
        ) from error


def _named(found: Found) -> str:
    kinds = {kind for kind, _ in found.sources}
    return kinds.pop() if len(kinds) == 1 else "mixed"


def _begin(database: Database, tenant: str, report: ImportReport) -> str:
    key = new_id()
    row = {"id": key, "tenant": tenant, "source": report.source, "format": report.format}
    with database.write() as connection:
        connection.execute(schema.ingest_batch.insert(), {**row, "started_at": report.started_at})
    return key


def _finish(database: Database, key: str, report: ImportReport) -> None:
    table = schema.ingest_batch
    with database.write() as connection:
        done = update(table).where(table.c.id == key)
        connection.execute(done.values(finished_at=report.finished_at, report=to_json(report)))
