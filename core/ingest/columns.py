"""Tables from CSV and Parquet, chunk by chunk, and their columns as whole numbers, moments, flags and names.

Conversions are vectorised; a chunk with a value that does not fit is converted value by value, to name the row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.errors import ImportRefused
from core.history import Ints
from core.ingest.files import head
from core.ingest.report import EXAMPLES, ImportReport

Mask = NDArray[np.bool_]

_READ_BLOCK = 4 * 1024 * 1024
_PARQUET_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class Column:
    """A column as integers: n values; `known` False where the field is empty, `bad` True where it does not fit."""

    values: Ints
    known: Mask
    bad: Mask

    def listed(self) -> list[int | None]:
        """Values as Python numbers, None where not known."""
        values: list[int] = self.values.tolist()
        if self.known.all():
            return list(values)
        return [v if k else None for v, k in zip(values, self.known.tolist(), strict=True)]


@dataclass(slots=True)
class Chunk:
    """Some rows of a file; rows are counted as a spreadsheet does, the header being row 1."""

    path: Path
    first_row: int
    table: pa.Table
    report: ImportReport
    kind: str  # table of the report
    gaps: tuple[int, ...] = ()  # rows of the file that are not in the table, because they could not be split
    keep: Mask = field(init=False)

    def __post_init__(self) -> None:
        self.keep = np.ones(self.table.num_rows, dtype=bool)

    def __contains__(self, name: str) -> bool:
        return name in self.table.column_names

    def row(self, position: int) -> int:
        """The row of the file that stands at a position of the table."""
        number = self.first_row + position
        for gap in self.gaps:
            number += gap <= number
        return number

    def raw(self, name: str) -> pa.Array:
        """A column as it was read."""
        return self.table.column(name).combine_chunks()

    def refuse(self, rows: Mask, name: str, reason: str) -> None:
        """Leave rows out, and say which field of the first few was wrong."""
        rows = rows & self.keep
        positions = np.flatnonzero(rows)
        if not len(positions):
            return
        self.keep &= ~rows
        column = self.raw(name) if name in self else None
        for i in positions[:EXAMPLES]:
            value = "" if column is None else f": {column[int(i)].as_py()!s:.60}"
            self.report.refuse(self.kind, reason, f"{self.path.name} row {self.row(int(i))}, field {name}{value}")
        if len(positions) > EXAMPLES:
            self.report.refuse(self.kind, reason, "", rows=len(positions) - EXAMPLES)

    def whole(self, name: str, *, low: int = 0, high: int = 10**12, required: bool = True) -> Column:
        """Whole numbers; rows outside the range, or without a required value, are refused."""
        column = whole_numbers(self.raw(name))
        self.refuse(column.bad, name, f"{name} is not a whole number")
        self.refuse(column.known & (column.values < low), name, f"{name} is below {low}")
        self.refuse(column.known & (column.values > high), name, f"{name} is above {high}")
        if required:
            self.refuse(~column.known, name, f"{name} is missing")
        return column

    def moment(self, name: str, zone: str, latest: int) -> Column:
        """Times as epoch seconds; refused where unreadable, missing, before 2000 or later than `latest`."""
        column = moments(self.raw(name), zone)
        self.refuse(column.bad, name, f"{name} is not a date and time")
        self.refuse(~column.known, name, f"{name} is missing")
        self.refuse(column.values < 946_684_800, name, f"{name} is before the year 2000")
        self.refuse(column.values > latest, name, f"{name} lies in the future")
        return column

    def flag(self, name: str) -> list[bool | None]:
        """Booleans: 0/1, true/false, yes/no."""
        values, bad = flags(self.raw(name))
        self.refuse(bad, name, f"{name} is neither yes nor no")
        return values

    def names(self, name: str, longest: int = 200) -> list[str | None]:
        """Short texts; refused where missing or too long."""
        column = pc.utf8_trim_whitespace(_strings(self.raw(name)))
        self.refuse(_mask(pc.equal(pc.fill_null(column, ""), "")), name, f"{name} is missing")
        self.refuse(
            _mask(pc.greater(pc.utf8_length(column), longest)), name, f"{name} is longer than {longest} characters"
        )
        return list(column.to_pylist())


def header(path: Path) -> tuple[str, ...]:
    """Column names of a CSV or Parquet file; ImportRefused when it cannot be read as one."""
    if path.suffix == ".parquet":
        try:
            return tuple(pq.read_schema(path).names)
        except (pa.ArrowInvalid, OSError) as error:
            raise ImportRefused(f"{path}: not a Parquet file ({error})", path=str(path)) from error
    try:
        line = head(path).decode("utf-8", errors="strict" if path.stat().st_size < 64 * 1024 else "ignore")
    except UnicodeDecodeError as error:
        raise ImportRefused(
            f"{path}: not UTF-8 (byte {error.start}); save the file as UTF-8", path=str(path)
        ) from error
    first = line.splitlines()[0] if line.strip() else ""
    return tuple(cell.strip().strip('"') for cell in first.split(_delimiter(first)))


def require(path: Path, needed: tuple[str, ...]) -> None:
    """ImportRefused naming every column that is missing."""
    missing = [name for name in needed if name not in header(path)]
    if missing:
        raise ImportRefused(
            f"{path}: no column {', '.join(missing)} (has: {', '.join(header(path)) or 'nothing'})",
            path=str(path),
            missing=missing,
        )


def chunks(path: Path, kind: str, report: ImportReport, only: tuple[str, ...] | None = None) -> Iterator[Chunk]:
    """The rows of a file in order; memory is bounded by the size of a block.

    CSV fields are read as text (empty: not known). Rows with too many or too few fields are refused by number.
    """
    if path.suffix == ".parquet":
        yield from _parquet(path, kind, report, only)
        return
    first = head(path).split(b"\n", 1)[0].decode("utf-8", "replace")
    names = header(path)
    crooked: list[int] = []

    def wrong_width(row: pacsv.InvalidRow) -> str:
        crooked.append(row.number or 0)
        reason = f"{row.actual_columns} fields instead of {row.expected_columns}"
        report.refuse(kind, reason, f"{path.name} row {row.number}: {row.text:.60}")
        return "skip"

    try:
        reader = pacsv.open_csv(
            path,
            read_options=pacsv.ReadOptions(block_size=_READ_BLOCK, use_threads=False),
            parse_options=pacsv.ParseOptions(
                delimiter=_delimiter(first), newlines_in_values=True, invalid_row_handler=wrong_width
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                null_values=[""],
                include_columns=None if only is None else [name for name in names if name in only],
            ),
        )
        row, passed = 2, 0
        for block in reader:
            after, gaps = row + block.num_rows, []
            for number in crooked[passed:]:  # in order; the block's last row moves down with each one before it
                if number <= after:
                    gaps.append(number)
                    after += 1
            yield Chunk(path, row, pa.Table.from_batches([block]), report, kind, tuple(gaps))
            row, passed = after, passed + len(gaps)
    except pa.ArrowInvalid as error:
        raise _csv_refused(path, error) from error


def _csv_refused(path: Path, error: Exception) -> ImportRefused:
    line = str(error).splitlines()[0]
    if "straddling" in line or "CSV parser got out of sync" in line:
        line = f"a line longer than {_READ_BLOCK // 2**20} MB, or an opening quote without its end"
    elif "UTF8" in line or "UTF-8" in line:
        line = f"not UTF-8 ({line}); save the file as UTF-8"
    return ImportRefused(f"{path}: {line}", path=str(path))


def _parquet(path: Path, kind: str, report: ImportReport, only: tuple[str, ...] | None) -> Iterator[Chunk]:
    names = [name for name in header(path) if only is None or name in only]
    try:
        row = 2
        for block in pq.ParquetFile(path).iter_batches(batch_size=_PARQUET_ROWS, columns=names):
            plain = pa.table({name: _plain(block.column(name)) for name in names})
            yield Chunk(path, row, plain, report, kind)
            row += block.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise ImportRefused(f"{path}: damaged Parquet file ({error})", path=str(path)) from error


def _plain(array: pa.Array) -> pa.Array:
    """Text of any encoding as plain strings, empty ones as not known: as a CSV of the same rows gives it."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type):
        array = pc.cast(array, pa.string())
    if pa.types.is_string(array.type):
        array = pc.replace_with_mask(array, pc.fill_null(pc.equal(array, ""), False), pa.scalar(None, pa.string()))
    return array


def _delimiter(first_line: str) -> str:
    return max((",", ";", "\t"), key=first_line.count)


def whole_numbers(array: pa.Array) -> Column:
    """Integers from integers, integral floats ("505.0") or text; NaN, infinity and fractions are bad."""
    known = _mask(pc.is_valid(array))
    if pa.types.is_integer(array.type) or pa.types.is_boolean(array.type):
        return Column(_ints(pc.cast(array, pa.int64())), known, np.zeros(len(array), dtype=bool))
    if not pa.types.is_floating(array.type):
        text = pc.utf8_trim_whitespace(_strings(array))
        try:
            return Column(_ints(pc.cast(text, pa.int64())), known, np.zeros(len(array), dtype=bool))
        except pa.ArrowInvalid:
            pass
        try:
            array = pc.cast(text, pa.float64())
        except pa.ArrowInvalid:
            array = pa.array([_number(value) for value in text.to_pylist()], type=pa.float64())
    numbers = np.asarray(array.to_numpy(zero_copy_only=False), dtype=np.float64)
    fits = np.isfinite(numbers) & (np.abs(numbers) < 2**53)
    fits &= np.where(fits, numbers, 0.5) % 1 == 0
    return Column(np.where(fits, numbers, 0).astype(np.int64), known & fits, known & ~fits)


def moments(array: pa.Array, zone: str) -> Column:
    """Epoch seconds from timestamps, ISO 8601 text or epoch seconds; times without a zone are in the given one."""
    known = _mask(pc.is_valid(array))
    fine = np.zeros(len(array), dtype=bool)
    if pa.types.is_timestamp(array.type) or pa.types.is_date(array.type):
        return Column(_epoch(pc.cast(array, pa.timestamp("us", getattr(array.type, "tz", None))), zone), known, fine)
    if pa.types.is_integer(array.type):
        return Column(_ints(array), known, fine)
    text = pc.utf8_trim_whitespace(_strings(array))
    conversions: tuple[Callable[[], Ints], ...] = (
        lambda: _epoch(pc.cast(text, pa.timestamp("us")), zone),
        lambda: _epoch(pc.cast(text, pa.timestamp("us", "UTC")), zone),
        lambda: _ints(pc.cast(text, pa.int64())),
    )
    for convert in conversions:
        try:
            return Column(convert(), known, fine)
        except pa.ArrowInvalid:
            continue
    parsed = [moment(value, zone) for value in text.to_pylist()]
    bad = known & np.array([value is None for value in parsed], dtype=bool)
    values = np.array([0 if value is None else value for value in parsed], dtype=np.int64)
    return Column(values, known & ~bad, bad)


def moment(text: str | None, zone: str) -> int | None:
    """Epoch seconds of one ISO 8601 text or number; None when it is neither."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        return int((found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))).timestamp())
    except (ValueError, OverflowError):
        number = _number(text)
        return None if number is None or not math.isfinite(number) else int(number)


def flags(array: pa.Array) -> tuple[list[bool | None], Mask]:
    """(values, which do not fit)."""
    words = pc.utf8_lower(pc.utf8_trim_whitespace(_strings(array))).to_pylist()
    bad = np.array([word is not None and word not in _FLAGS for word in words], dtype=bool)
    return [None if word is None else _FLAGS.get(word) for word in words], bad


_FLAGS = {"0": False, "false": False, "no": False, "0.0": False, "1": True, "true": True, "yes": True, "1.0": True}


def _epoch(array: pa.Array, zone: str) -> Ints:
    if array.type.tz is None:
        array = pc.assume_timezone(array, zone, ambiguous="earliest", nonexistent="earliest")
    micros = _ints(pc.cast(array, pa.int64()))
    return micros // 1_000_000


def _ints(array: pa.Array) -> Ints:
    return np.asarray(pc.fill_null(pc.cast(array, pa.int64()), 0).to_numpy(zero_copy_only=False), dtype=np.int64)


def _strings(array: pa.Array) -> pa.Array:
    return array if pa.types.is_string(array.type) else pc.cast(array, pa.string())


def _mask(array: pa.Array) -> Mask:
    return np.asarray(pc.fill_null(array, False).to_numpy(zero_copy_only=False), dtype=bool)


def _number(text: Any) -> float | None:
    """A float, NaN for text that is none (so that it is bad rather than unknown)."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return math.nan


def iso(ts: int) -> str:
    """A moment for people."""
    return datetime.fromtimestamp(ts, UTC).isoformat().replace("+00:00", "Z")
