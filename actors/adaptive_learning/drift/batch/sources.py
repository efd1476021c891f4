"""Reads a table block by block, whether it is an array, an Arrow table or Parquet files, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from actors.adaptive_learning.drift.batch.grid import Numbers, matrix
from core.errors import InvalidInput
from core.schemas.drift import ColumnKind

#: Rows that are read from a file at a time.
BLOCK_ROWS = 1 << 17
#: Columns of a table at most: a report has a line for each. Wider ones are refused before anything of them is read.
WIDEST = 1 << 14

Kind = ColumnKind | Literal["unsupported"]


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of chosen columns: numeric, n x F; categorical, one Arrow array of n texts each."""

    numeric: Numbers
    categorical: tuple[pa.Array, ...]

    def __len__(self) -> int:
        return len(self.numeric)


class Source(Protocol):
    """A table that can be read again and again."""

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """Kind of each column, in order."""

    @property
    def rows(self) -> int:
        """Number of rows."""

    def blocks(self, numeric: Sequence[str], categorical: Sequence[str]) -> Iterator[Block]:
        """The rows of these columns, in order."""


class ArraySource:
    """An n x F array of numbers; columns are named f0, f1, ... unless names are given."""

    def __init__(self, table: Numbers, names: Sequence[str] | None = None) -> None:
        _narrow(_width(table))
        self._table = matrix(table)
        width = self._table.shape[1]
        named = [f"f{i}" for i in range(width)] if names is None else [str(name) for name in names]
        if len(named) != width or len(set(named)) != width:
            raise InvalidInput(f"{width} columns need as many different names: {len(set(named))} of {len(named)} given")
        self._places = {name: i for i, name in enumerate(named)}
        self._kinds: dict[str, Kind] = dict.fromkeys(named, "numeric")

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """All numeric."""
        return self._kinds

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self._table)

    def blocks(self, numeric: Sequence[str], categorical: Sequence[str]) -> Iterator[Block]:
        """One block; neighbouring columns are not copied."""
        places = [self._places[name] for name in numeric]
        if places and places == list(range(places[0], places[0] + len(places))):
            yield Block(self._table[:, places[0] : places[-1] + 1], ())
        else:
            yield Block(self._table[:, places], ())


class ArrowSource:
    """An Arrow table, or anything that hands one over (a pandas or polars frame)."""

    def __init__(self, table: Any) -> None:
        self._table = table if isinstance(table, pa.Table) else pa.table(table)
        self._kinds = _kinds(self._table.schema)

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """By Arrow type."""
        return self._kinds

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self._table.num_rows)

    def blocks(self, numeric: Sequence[str], categorical: Sequence[str]) -> Iterator[Block]:
        """Slices of BLOCK_ROWS rows."""
        chosen = self._table.select([*numeric, *categorical])
        for start in range(0, max(self.rows, 1), BLOCK_ROWS):
            yield _block(chosen.slice(start, BLOCK_ROWS), numeric, categorical)


class ParquetSource:
    """One or more Parquet files of the same columns, read a row group at a time."""

    def __init__(self, *paths: str | Path) -> None:
        if not paths:
            raise InvalidInput("no Parquet file is given")
        self._paths = [str(path) for path in paths]
        try:
            files = [pq.ParquetFile(path) for path in self._paths]
        except (OSError, pa.ArrowException) as error:
            raise InvalidInput(f"not a readable Parquet file: {error}") from error
        for file in files:
            _narrow(file.metadata.num_columns)
        self._kinds = _kinds(files[0].schema_arrow)
        for path, file in zip(self._paths, files, strict=True):
            if _kinds(file.schema_arrow) != self._kinds:
                raise InvalidInput(f"{path} does not have the columns of {self._paths[0]}")
        self._rows = sum(file.metadata.num_rows for file in files)

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """By Arrow type."""
        return self._kinds

    @property
    def rows(self) -> int:
        """Rows in all files, from their footers."""
        return int(self._rows)

    def blocks(self, numeric: Sequence[str], categorical: Sequence[str]) -> Iterator[Block]:
        """At most BLOCK_ROWS rows of a row group; only the chosen columns are read."""
        chosen = [*numeric, *categorical]
        for path in self._paths:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=BLOCK_ROWS, columns=chosen):
                    yield _block(pa.Table.from_batches([batch]), numeric, categorical)


def source_of(table: Any, names: Sequence[str] | None = None) -> Source:
    """The source of a table: one already, an array of numbers or objects, a mapping of columns, or an Arrow table.

    InvalidInput for what is no table, or has more than WIDEST columns.
    """
    if isinstance(table, (ArraySource, ArrowSource, ParquetSource)):
        return table
    _narrow(_width(table))
    if isinstance(table, np.ndarray) and table.dtype.kind in "fiub":
        return ArraySource(table, names)
    if isinstance(table, np.ndarray):
        if table.ndim != 2:
            raise InvalidInput(f"a table has two axes: this one has {table.ndim}")
        labels = [f"f{i}" for i in range(table.shape[1])] if names is None else names
        return ArrowSource(pa.table({str(n): _column(table[:, i]) for i, n in enumerate(labels)}))
    if isinstance(table, Mapping):
        return ArrowSource(pa.table({str(name): _column(column) for name, column in table.items()}))
    try:
        return ArrowSource(table)
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise InvalidInput(f"not a table: {type(table).__name__} ({error})") from error


def _width(table: Any) -> int:
    """Columns of whatever looks like a table; 0: not known."""
    if isinstance(table, Mapping):
        return len(table)
    shape = getattr(table, "shape", ())
    return int(shape[1]) if isinstance(shape, tuple) and len(shape) == 2 else 0


def _narrow(width: int) -> None:
    if width > WIDEST:
        raise InvalidInput(
            f"a table has {width:,} columns: at most {WIDEST:,} are compared in one report; compare it in parts",
            field="columns",
            columns=width,
            most=WIDEST,
        )


def _column(values: Any) -> pa.Array:
    """An Arrow array of a column; values of several types become texts."""
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    array = np.asarray(values)
    if array.dtype.kind in "fiubM":
        return pa.array(array)
    plain = [None if v is None or (isinstance(v, float) and np.isnan(v)) else v for v in array.tolist()]
    try:
        return pa.array(plain)
    except pa.ArrowException:
        return pa.array([None if v is None else str(v) for v in plain])


def _kinds(schema: pa.Schema) -> dict[str, Kind]:
    _narrow(len(schema.names))
    if len(set(schema.names)) != len(schema.names):
        raise InvalidInput("a table has two columns of one name")
    return {field.name: _kind(field.type) for field in schema}


def _kind(kind: pa.DataType) -> Kind:
    types = pa.types
    if types.is_null(kind):
        return "empty"
    if types.is_dictionary(kind):
        return _kind(kind.value_type) if types.is_nested(kind.value_type) else "categorical"
    if types.is_interval(kind):
        return "unsupported"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_temporal(kind):
        return "numeric"
    if types.is_boolean(kind) or types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "categorical"
    return "unsupported"


def _block(table: pa.Table, numeric: Sequence[str], categorical: Sequence[str]) -> Block:
    columns = [table.column(name) for name in numeric]
    short = all(_fits_float32(column.type) for column in columns)
    values = np.empty((len(columns), table.num_rows), np.float32 if short else np.float64)
    for into, column in zip(values, columns, strict=True):
        into[:] = _numbers(column)
    texts = tuple(_texts(table.column(name)) for name in categorical)
    return Block(values.T, texts)


def _fits_float32(kind: pa.DataType) -> bool:
    types = pa.types
    short = types.is_int8(kind) or types.is_uint8(kind) or types.is_int16(kind) or types.is_uint16(kind)
    return bool(short or types.is_float32(kind) or types.is_float16(kind) or types.is_null(kind))


def _numbers(column: pa.ChunkedArray) -> Numbers:
    """Floats, NaN where null; times as seconds, durations too."""
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan, np.float32)
    if pa.types.is_temporal(column.type):
        whole = column.cast(pa.int64() if column.type.bit_width == 64 else pa.int32())
        return np.asarray(whole.cast(pa.float64(), safe=False).to_numpy() * _seconds(column.type), dtype=np.float64)
    if pa.types.is_decimal(column.type) or (pa.types.is_integer(column.type) and column.null_count):
        column = column.cast(pa.float64(), safe=False)
    result: Numbers = column.to_numpy()
    return result


def _seconds(kind: pa.DataType) -> float:
    if pa.types.is_date(kind):
        return 86400.0 if kind.bit_width == 32 else 1e-3
    return {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}[kind.unit]


def _texts(column: pa.ChunkedArray) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    column = column.cast(pa.string())
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
