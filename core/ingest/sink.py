"""Where importers put normalised rows: collects them, writes them in transactions of a bounded size, counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from core.clock import Clock
from core.ingest.report import ImportReport
from core.store.ingest import Batch, ChannelRow, IngestWriter

#: rows of one transaction: enough to make the disk's sync cheap, small enough to bound memory and lock time
BATCH_ROWS = 50_000

#: called after each transaction with a line like "150,000 rows, views.csv"
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What the user says about a source beyond its path."""

    timezone: str = "UTC"  # of times without a zone; and of channels that are new
    channel: str | None = None  # name to store a single channel under
    read_at: int | None = None  # when the counters of a dump were read, where it does not say


@dataclass(slots=True)
class Sink:
    """Collects rows of one import.

    Use: `key = sink.channel(row)`, append rows to `sink.batch`, then `sink.settle()` at a point where all rows of the
    batch belong to channels named since the last `settle`.
    """

    writer: IngestWriter
    report: ImportReport
    clock: Clock
    options: Options
    on_progress: Progress | None = None
    batch: Batch = field(init=False)
    rows: int = 0
    file: str = ""
    prefix: str = ""  # of notes, where an import has several sources

    def __post_init__(self) -> None:
        self.batch = Batch(self.writer.tenant)

    def begin(self, path: Path) -> None:
        """Another file is being read."""
        self.file = path.name
        if str(path) not in self.report.files:
            self.report.files.append(str(path))

    def note(self, text: str) -> None:
        """Say something about the source being read, once."""
        self.report.note(self.prefix + text)

    def channel(self, row: ChannelRow) -> int:
        """Name a channel in this batch; returns its id."""
        if row.name not in self.report.channels:
            self.report.channels.append(row.name)
        return self.batch.channel(row)

    def settle(self, *, everything: bool = False) -> None:
        """Write the batch when it is large enough, or in any case."""
        size = len(self.batch)
        if size < BATCH_ROWS and not (everything and (size or self.batch.channels)):
            return
        self.report.add(self.writer.write(self.batch, self.clock.now()))
        self.rows += size
        self.batch = Batch(self.writer.tenant)
        if self.on_progress is not None:
            self.on_progress(f"{self.rows:,} rows, {self.file}")
