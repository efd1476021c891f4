"""What an import did: rows accepted, repeated and refused by table and reason, and what the source cannot hold."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.store.ingest import Counts, Written

EXAMPLES = 3  # refused rows named for each reason


@dataclass(frozen=True, slots=True)
class Refusal:
    """Rows refused for one reason, with the first of them."""

    table: str
    reason: str
    rows: int
    examples: tuple[str, ...]  # "views.csv row 17, field views: -5"


@dataclass(slots=True)
class ImportReport:
    """The result of an import; `core.codec.to_json` gives it to programs, `lines()` to people.

    accepted rows of a table = new + updated + duplicate. `incomplete` names files that broke off: what stood before
    the break is stored, and importing the whole file later adds the rest.
    """

    source: str
    format: str
    started_at: int
    finished_at: int | None = None
    files: list[str] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)
    tables: dict[str, Counts] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything stored is new or different now."""
        return any(counts.new or counts.updated for counts in self.tables.values())

    @property
    def refused_rows(self) -> int:
        """Rows that were not taken."""
        return sum(refusal.rows for refusal in self.refused)

    def add(self, written: Written) -> None:
        """Count what a transaction did."""
        for table, counts in written.tables.items():
            self.tables.setdefault(table, Counts()).add(counts)

    def repeat(self, table: str, rows: int) -> None:
        """Count rows that repeat a key of the same import."""
        if rows:
            self.tables.setdefault(table, Counts()).duplicate += rows

    def note(self, text: str) -> None:
        """Say something about the source, once."""
        if text not in self.notes:
            self.notes.append(text)

    def refuse(self, table: str, reason: str, example: str, rows: int = 1) -> None:
        """Count refused rows, and keep the first few of each reason by name."""
        for i, known in enumerate(self.refused):
            if (known.table, known.reason) == (table, reason):
                examples = known.examples if len(known.examples) >= EXAMPLES else (*known.examples, example)
                self.refused[i] = Refusal(table, reason, known.rows + rows, examples)
                return
        self.refused.append(Refusal(table, reason, rows, (example,)))

    def lines(self) -> list[str]:
        """The report for a terminal."""
        lines = [f"{self.source}: {self.format}, {len(self.channels)} channel{'s' * (len(self.channels) != 1)}"]
        for table, counts in self.tables.items():
            if counts.new or counts.updated or counts.duplicate:
                lines.append(
                    f"  {table}: {counts.new:,} new, {counts.updated:,} changed, {counts.duplicate:,} there already"
                )
        if not self.changed:
            lines.append("  nothing new: every row was stored before")
        lines += [f"  {r.table}: {r.rows:,} refused, {r.reason} ({'; '.join(r.examples)})" for r in self.refused]
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  incomplete: {text}" for text in self.incomplete]
        return lines
