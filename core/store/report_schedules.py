"""Schedules of reports and the files made for them."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import Connection, Row, and_, select

from core.codec import from_json, to_json
from core.errors import NotFound
from core.schemas.report_schedules import ReportSchedule, ReportSpec
from core.schemas.reports import FileRef, Report
from core.store import schema
from core.store.database import Database
from core.store.ids import new_id


@dataclass(frozen=True)
class ReportScheduleStore:
    """Schedules of one tenant, with addresses as they were given."""

    database: Database
    tenant: str = "default"

    def add(self, spec: ReportSpec, key: str, now: int, next_due: int) -> ReportSchedule:
        """Store a schedule; the same key gives the one that was stored under it first."""
        table = schema.report_schedule
        row = {
            "id": new_id(),
            "tenant": self.tenant,
            "spec": to_json(spec),
            "request_key": f"{self.tenant}:{key}",
            "created_at": now,
            "next_due": next_due,
        }
        insert = self.database.insert(table).values(row).on_conflict_do_nothing(index_elements=["request_key"])
        with self.database.write() as connection:
            connection.execute(insert)
            found = connection.execute(select(table).where(table.c.request_key == row["request_key"])).one()
        return _schedule(found)

    def all(self, due_by: int | None = None) -> tuple[ReportSchedule, ...]:
        """By the next due moment; due_by: only those that are due by then."""
        table = schema.report_schedule
        query = select(table).where(table.c.tenant == self.tenant)
        if due_by is not None:
            query = query.where(table.c.next_due <= due_by)
        with self.database.read() as connection:
            return tuple(map(_schedule, connection.execute(query.order_by(table.c.next_due, table.c.id))))

    def get(self, schedule_id: str) -> ReportSchedule:
        """One; NotFound."""
        with self.database.read() as connection:
            return self._one(connection, schedule_id)

    def stands(self, connection: Connection, schedule: ReportSchedule) -> bool:
        """Whether it is there and due as it was read; kept so until the transaction ends."""
        table = schema.report_schedule
        same = and_(table.c.id == schedule.id, table.c.next_due == schedule.next_due)
        return connection.execute(select(table.c.id).where(same).with_for_update()).first() is not None

    def done(self, connection: Connection, schedule_id: str, due: int, next_due: int) -> None:
        """Note that what was due is written for delivery."""
        table = schema.report_schedule
        change = table.update().where(table.c.id == schedule_id)
        connection.execute(change.values(last_due=due, next_due=next_due))

    def remove(self, schedule_id: str) -> ReportSchedule:
        """Take one away; what it wrote for delivery stays. NotFound."""
        with self.database.write() as connection:
            found = self._one(connection, schedule_id)
            connection.execute(schema.report_schedule.delete().where(schema.report_schedule.c.id == schedule_id))
        return found

    def _one(self, connection: Connection, schedule_id: str) -> ReportSchedule:
        table = schema.report_schedule
        where = and_(table.c.id == schedule_id, table.c.tenant == self.tenant)
        row = connection.execute(select(table).where(where)).one_or_none()
        if row is None:
            raise NotFound(f"no report schedule {schedule_id!r}", schedule=schedule_id)
        return _schedule(row)


@dataclass(frozen=True)
class ReportFiles:
    """Files that deliveries name, until they are old."""

    database: Database
    tenant: str = "default"

    def add(self, connection: Connection, file_id: str, report: Report, now: int) -> FileRef:
        """Keep a file; one that is there under the id stays, and is the one that is named."""
        table = schema.report_file
        row = {
            "id": file_id,
            "tenant": self.tenant,
            "name": report.name,
            "media_type": report.media_type,
            "content": report.content,
            "made_at": now,
        }
        connection.execute(self.database.insert(table).values(row).on_conflict_do_nothing(index_elements=["id"]))
        kept = connection.execute(select(table).where(table.c.id == file_id)).one()
        return FileRef(file_id, kept.name, kept.media_type, len(kept.content), sha256(kept.content).hexdigest())

    def get(self, file_id: str) -> Report | None:
        """A file; None: it is kept no longer."""
        table = schema.report_file
        query = select(table).where(table.c.id == file_id, table.c.tenant == self.tenant)
        with self.database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else Report(row.name, row.media_type, bytes(row.content))

    def forget(self, before: int) -> int:
        """Delete what was made before a moment; how many."""
        table = schema.report_file
        old = table.delete().where(table.c.tenant == self.tenant, table.c.made_at < before)
        with self.database.write() as connection:
            return connection.execute(old).rowcount


def _schedule(row: Row[*tuple[object, ...]]) -> ReportSchedule:
    return ReportSchedule(row.id, from_json(ReportSpec, row.spec), row.created_at, row.last_due, row.next_due)
