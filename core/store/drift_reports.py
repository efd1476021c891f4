"""Drift reports as they were made, newest first."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from core.codec import from_json, to_json
from core.schemas.monitoring import DriftReport
from core.store import schema
from core.store.database import Database
from core.store.ids import derived_id


@dataclass(frozen=True)
class DriftReportStore:
    """One report a version and moment: a later one of the same moment replaces it."""

    database: Database

    def put(self, report: DriftReport) -> None:
        """Store a report."""
        table = schema.drift_report
        values = {
            "id": derived_id(report.model, report.version, report.at),
            "model": report.model,
            "version": report.version,
            "at": report.at,
            "severity": report.severity,
            "report": to_json(report),
        }
        new = self.database.insert(table).values(values)
        changed = {"severity": new.excluded.severity, "report": new.excluded.report}
        with self.database.write() as connection:
            connection.execute(new.on_conflict_do_update(index_elements=["id"], set_=changed))

    def latest(self, model: str, version: int, before: int | None = None) -> DriftReport | None:
        """The last report of a version, or the last one made before a moment; None: there is none."""
        table = schema.drift_report
        query = select(table.c.report).where(table.c.model == model, table.c.version == version)
        if before is not None:
            query = query.where(table.c.at < before)
        query = query.order_by(table.c.at.desc()).limit(1)
        with self.database.read() as connection:
            text = connection.execute(query).scalar()
        return None if text is None else from_json(DriftReport, text)
