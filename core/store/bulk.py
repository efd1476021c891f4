"""Merges many rows into a keyed table and says of each whether it was new, changed or there already.

Plain INSERT statements by way of SQLAlchemy cost ten times as much, so the driver is used directly: executemany on
SQLite, COPY on PostgreSQL. Rows of a merge go in key order, which halves the cost of a clustered table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from core.store.database import Database

Values = tuple[Any, ...]


class Merged(IntEnum):
    """What became of a row."""

    DUPLICATE = 0  # the stored row says the same, or more
    NEW = 1
    UPDATED = 2  # the key was there with other values


#: Where the stored row (t) stands although the incoming one (i) says otherwise. Two dumps that do not say when they
#: were read may prove the same moment: views and reactions grow, so the larger count is the later one, in any order.
_STANDS = {
    "post_snapshot": "(i.precision = 2 AND (t.precision < 2 OR t.views >= i.views))",
    "reaction_snapshot": "(t.count >= i.count)",
}


def merge(database: Database, connection: Connection, table: Table, rows: Sequence[Values]) -> list[Merged]:
    """Insert new rows and change those that differ; None in a row never overwrites a known value.

    rows: values in the order of the table's columns, sorted by primary key, no key twice. The caller's transaction
    must already keep other writers of the same keys out.
    """
    if not rows:
        return []
    plan = _Plan(table, database.is_sqlite)
    driver = connection.connection.driver_connection
    if not _any_stored(driver, plan, rows):
        _append(driver, plan, rows)
        return [Merged.NEW] * len(rows)
    outcome = [Merged.NEW] * len(rows)
    for n, same in _stage(driver, plan, rows):
        outcome[n] = Merged.DUPLICATE if same else Merged.UPDATED
    _append(driver, plan, [row for row, merged in zip(rows, outcome, strict=True) if merged is Merged.NEW])
    changed = [row for row, merged in zip(rows, outcome, strict=True) if merged is Merged.UPDATED]
    if changed:
        keys = len(plan.keys)
        _cursor(driver).executemany(plan.update, [(*row[keys:], *row[:keys]) for row in changed])
    return outcome


class _Plan:
    """The statements for a table; its primary key columns must come first."""

    def __init__(self, table: Table, is_sqlite: bool) -> None:
        self.is_sqlite = is_sqlite
        self.name = table.name
        self.columns = [column.name for column in table.columns]
        self.keys = [column.name for column in table.primary_key.columns]
        if self.columns[: len(self.keys)] != self.keys:
            raise ValueError(f"the primary key of {self.name} must be its first columns")
        self.incoming = f"incoming_{self.name}"
        dialect = sqlite.dialect() if is_sqlite else postgresql.dialect()  # type: ignore[no-untyped-call]
        kinds = {column.name: column.type.compile(dialect) for column in table.columns}
        self.types = ", ".join(f'"{name}" {kinds[name]}' for name in self.columns)
        mark, same = ("?", "IS") if is_sqlite else ("%s", "IS NOT DISTINCT FROM")
        self.quoted = ", ".join(f'"{name}"' for name in self.columns)
        values = self.columns[len(self.keys) :]
        on = " AND ".join(f't."{key}" = i."{key}"' for key in self.keys)
        equal = " AND ".join(f'(i."{v}" IS NULL OR i."{v}" {same} t."{v}")' for v in values) or "1 = 1"
        if self.name in _STANDS:
            equal = f"({equal}) OR COALESCE({_STANDS[self.name]}, {'0' if is_sqlite else 'FALSE'})"
        # CROSS JOIN keeps SQLite from walking the big table to look rows up in the small one.
        join = f'CROSS JOIN "{self.name}" t WHERE {on}' if is_sqlite else f'JOIN "{self.name}" t ON {on}'
        self.compare = f'SELECT i.n, {equal} FROM "{self.incoming}" i {join}'
        self.insert = f'INSERT INTO "{self.name}" ({self.quoted}) VALUES ({", ".join([mark] * len(self.columns))})'
        self.stage = f'INSERT INTO "{self.incoming}" VALUES ({", ".join(["?"] * (len(self.columns) + 1))})'
        where = " AND ".join(f'"{key}" = {mark}' for key in self.keys)
        sets = ", ".join(f'"{v}" = COALESCE({mark}, "{v}")' for v in values)
        self.update = f'UPDATE "{self.name}" SET {sets} WHERE {where}'
        self.probe = (
            f'SELECT EXISTS (SELECT 1 FROM "{self.name}" WHERE "{self.keys[0]}" = {mark} '
            f'AND "{self.keys[1]}" BETWEEN {mark} AND {mark})'
        )


def _any_stored(driver: Any, plan: _Plan, rows: Sequence[Values]) -> bool:
    """Whether the span of keys holds any row yet: a first import in key order never compares."""
    spans: dict[Any, tuple[Any, Any]] = {}
    for row in rows:  # sorted, so the last one of a first key has the largest second key
        spans[row[0]] = (spans[row[0]][0] if row[0] in spans else row[1], row[1])
    cursor = _cursor(driver)
    return any(cursor.execute(plan.probe, (key, low, high)).fetchone()[0] for key, (low, high) in spans.items())


def _stage(driver: Any, plan: _Plan, rows: Sequence[Values]) -> Iterable[tuple[int, bool]]:
    """Put the rows beside the table; gives (position, same) of those whose key is stored."""
    cursor = _cursor(driver)
    numbered = ((n, *row) for n, row in enumerate(rows))
    if plan.is_sqlite:
        cursor.execute(f'CREATE TEMP TABLE IF NOT EXISTS "{plan.incoming}" (n INTEGER PRIMARY KEY, {plan.types})')
        cursor.execute(f'DELETE FROM "{plan.incoming}"')
        cursor.executemany(plan.stage, numbered)
        found = cursor.execute(plan.compare).fetchall()
        cursor.execute(f'DELETE FROM "{plan.incoming}"')
    else:
        cursor.execute(f'CREATE TEMP TABLE IF NOT EXISTS "{plan.incoming}" (n bigint, {plan.types}) ON COMMIT DROP')
        cursor.execute(f'TRUNCATE "{plan.incoming}"')
        _copy(cursor, f'COPY "{plan.incoming}" FROM STDIN', numbered)
        cursor.execute(f'ANALYZE "{plan.incoming}"')  # the planner knows nothing of a table this young
        found = cursor.execute(plan.compare).fetchall()
    return [(int(n), bool(same)) for n, same in found]


def _append(driver: Any, plan: _Plan, rows: Sequence[Values]) -> None:
    if not rows:
        return
    if plan.is_sqlite:
        _cursor(driver).executemany(plan.insert, rows)
    else:
        _copy(_cursor(driver), f'COPY "{plan.name}" ({plan.quoted}) FROM STDIN', rows)


def _copy(cursor: Any, statement: str, rows: Iterable[Values], block: int = 5_000) -> None:
    """COPY in text blocks: a call a row would cost more than the server's work."""
    with cursor.copy(statement) as copy:
        lines: list[str] = []
        for row in rows:
            lines.append("\t".join([_text(value) for value in row]))
            if len(lines) >= block:
                copy.write("\n".join(lines) + "\n")
                lines.clear()
        if lines:
            copy.write("\n".join(lines) + "\n")


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": None})


def _text(value: Any) -> str:
    """A value in COPY's text format; PostgreSQL's text cannot hold NUL, so it is left out."""
    if value is None:
        return "\\N"
    if value is True or value is False:
        return "t" if value else "f"
    return value.translate(_ESCAPES) if isinstance(value, str) else str(value)


def _cursor(driver: Any) -> Any:
    return driver.cursor()
