"""When promises of a model began to be broken and were kept again: rows that are only added, and told once each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, and_, func, select, update

from core.schemas.monitoring import AlertChange
from core.store import schema
from core.store.database import Database

Open = frozenset[tuple[str, str]]  # (objective, severity) of alerts that began and did not end


@dataclass(frozen=True)
class AlertLog:
    """The log is also the outbox of notices: a row says whether people were told."""

    database: Database

    def settle(self, model: str, decide: Callable[[Open], Sequence[AlertChange]]) -> tuple[AlertChange, ...]:
        """Append what `decide` makes of the open alerts; what was new, numbered.

        Nobody else appends in between, so that a begin or an end is in the log once, whoever asks at the same time.
        """
        table = schema.slo_alert
        with self.database.write() as connection:
            self.database.serialise(connection, table)
            latest = select(func.max(table.c.seq)).where(table.c.model == model).group_by(table.c.slo, table.c.severity)
            query = select(table).where(table.c.seq.in_(latest), table.c.state == "begun")
            changes = decide(frozenset((row.slo, row.severity) for row in connection.execute(query)))
            if not changes:
                return ()
            before = connection.execute(select(func.max(table.c.seq))).scalar() or 0
            self.database.append(connection, table, [_values(change) for change in changes])
            new = select(table).where(table.c.seq > before).order_by(table.c.seq)
            return tuple(map(_change, connection.execute(new)))

    def latest(self, model: str, limit: int) -> tuple[AlertChange, ...]:
        """Newest first."""
        table = schema.slo_alert
        query = select(table).where(table.c.model == model).order_by(table.c.seq.desc()).limit(limit)
        with self.database.read() as connection:
            return tuple(map(_change, connection.execute(query)))

    def untold(self, model: str) -> tuple[AlertChange, ...]:
        """Those that nobody was told of, oldest first."""
        table = schema.slo_alert
        where = and_(table.c.model == model, table.c.told.is_(False))
        with self.database.read() as connection:
            return tuple(map(_change, connection.execute(select(table).where(where).order_by(table.c.seq))))

    def told(self, seq: int) -> None:
        """People were told of one."""
        table = schema.slo_alert
        with self.database.write() as connection:
            connection.execute(update(table).where(table.c.seq == seq).values(told=True))


def _values(change: AlertChange) -> dict[str, Any]:
    return {
        "model": change.model,
        "slo": change.slo,
        "severity": change.severity,
        "state": change.state,
        "at": change.at,
        "reason": change.reason,
        "told": False,
    }


def _change(row: Row[Any]) -> AlertChange:
    return AlertChange(row.model, row.slo, row.severity, row.state, row.at, row.reason, row.seq)
