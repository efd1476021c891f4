"""Findings of the anomaly service: stored under an id derived from what was found, so found twice is stored once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, or_, select

from core.codec import from_json, to_json
from core.schemas.analytics import AnomalyFinding, Cause
from core.store import schema
from core.store.database import Database
from core.store.ids import derived_id

_KEEP = ("id", "found_at")  # of a finding stored before: the rest follows what is known now


def finding_id(channel_id: int, metric: str, onset: int) -> str:
    """The identity of a finding: one channel, metric and first day make one finding, however often it is found."""
    return derived_id("anomaly", channel_id, metric, onset)


@dataclass(frozen=True, slots=True)
class AnomalyStore:
    """Findings of one tenant's channels."""

    database: Database
    tenant: str = "default"

    def save(self, connection: Connection, channel_id: int, findings: Sequence[AnomalyFinding], now: int) -> int:
        """Insert or bring up to date, inside the caller's transaction; returns how many were not there before."""
        if not findings:
            return 0
        table = schema.anomaly
        ids = [finding.id for finding in findings]
        known = set(connection.execute(select(table.c.id).where(table.c.id.in_(ids))).scalars())
        insert = self.database.insert(table).values([_values(channel_id, finding, now) for finding in findings])
        fresh = {column.name: insert.excluded[column.name] for column in table.c if column.name not in _KEEP}
        connection.execute(insert.on_conflict_do_update(index_elements=[table.c.id], set_=fresh))
        return len(set(ids) - known)

    def findings(self, channel: str | None = None, since: int | None = None) -> tuple[AnomalyFinding, ...]:
        """Newest onset first.

        channel: only of the channel with this name. since: only those that began then or later, or had not ended
        by then.
        """
        a, c = schema.anomaly, schema.channel
        query = (
            select(a, c.c.name.label("channel"))
            .join(c, and_(c.c.id == a.c.channel_id, c.c.tenant == self.tenant))
            .order_by(a.c.onset.desc(), a.c.id)
        )
        if channel is not None:
            query = query.where(c.c.name == channel)
        if since is not None:
            query = query.where(or_(a.c.onset >= since, a.c.ended.is_(None), a.c.ended > since))
        with self.database.read() as connection:
            return tuple(map(_finding, connection.execute(query)))


def _values(channel_id: int, finding: AnomalyFinding, now: int) -> dict[str, Any]:
    return {
        "id": finding.id,
        "channel_id": channel_id,
        "metric": finding.metric,
        "kind": finding.kind,
        "direction": finding.direction,
        "severity": finding.severity,
        "onset": finding.onset,
        "ended": finding.ended,
        "observed": finding.observed,
        "expected": finding.expected,
        "score": finding.score,
        "causes": to_json(finding.causes),
        "advice": to_json(finding.advice),
        "notes": to_json(finding.notes),
        "found_at": now,
    }


def _finding(row: Row[Any]) -> AnomalyFinding:
    return AnomalyFinding(
        id=row.id,
        channel=row.channel,
        metric=row.metric,
        kind=row.kind,
        direction=row.direction,
        severity=row.severity,
        onset=row.onset,
        ended=row.ended,
        observed=row.observed,
        expected=row.expected,
        score=row.score,
        causes=() if row.causes is None else from_json(tuple[Cause, ...], row.causes),
        advice=() if row.advice is None else from_json(tuple[str, ...], row.advice),
        notes=() if row.notes is None else from_json(tuple[str, ...], row.notes),
    )
