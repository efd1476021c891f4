"""Where streaming detectors keep their state: one small JSON text a series, written with what it led to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, select

from core.store import schema
from core.store.database import Database

MAX_SERIES_NAME = 128
_IN_CHUNK = 500  # names in one IN list; engines and drivers limit the number of parameters


@dataclass(frozen=True, slots=True)
class SeriesStates:
    """States by (service, series); a service names itself, a series is named by the service (at most 128 characters).

    `save` takes the caller's transaction: state, findings and consumer offset are committed together or not at all.
    """

    database: Database

    def load(self, service: str, series: str) -> str | None:
        """The state stored last; None: never stored."""
        table = schema.series_state
        where = and_(table.c.service == service, table.c.series == series)
        with self.database.read() as connection:
            found: str | None = connection.execute(select(table.c.state).where(where)).scalar()
        return found

    def some(self, service: str, series: Sequence[str]) -> dict[str, str]:
        """The states of some series of a service, those that have one."""
        table, found = schema.series_state, dict[str, str]()
        with self.database.read() as connection:
            for start in range(0, len(series), _IN_CHUNK):
                names = series[start : start + _IN_CHUNK]
                query = select(table.c.series, table.c.state).where(
                    table.c.service == service, table.c.series.in_(names)
                )
                found.update({row.series: row.state for row in connection.execute(query)})
        return found

    def all(self, service: str) -> dict[str, str]:
        """Every state of a service, by series."""
        table = schema.series_state
        query = select(table.c.series, table.c.state).where(table.c.service == service).order_by(table.c.series)
        with self.database.read() as connection:
            return {row.series: row.state for row in connection.execute(query)}

    def save(self, connection: Connection, service: str, series: str, state_json: str, now: int) -> None:
        """Write a state over the one before, inside the caller's transaction.

        now: epoch seconds on the data's timeline. Raises ValueError for a name that the table cannot hold.
        """
        if len(series) > MAX_SERIES_NAME:
            raise ValueError(f"series name of {len(series)} characters (at most {MAX_SERIES_NAME}): {series!r}")
        table = schema.series_state
        values = {"service": service, "series": series, "state": state_json, "updated_at": now}
        insert = self.database.insert(table).values(values)
        connection.execute(
            insert.on_conflict_do_update(
                index_elements=[table.c.service, table.c.series],
                set_={"state": insert.excluded.state, "updated_at": insert.excluded.updated_at},
            )
        )
