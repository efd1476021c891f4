"""How far the prediction log has grown, and which posts a comparison has counted: what evidence cursors rest on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import and_, func, select

from core.store import schema
from core.store.database import Database


@dataclass(frozen=True, slots=True)
class LogEnds:
    """Last sequence numbers; 0: the table is empty."""

    event: int
    prediction: int
    shadow: int
    outcome: int


@dataclass(frozen=True)
class EvidenceLog:
    """Reads over the tables of predictions, shadow scores, outcomes and arrived data."""

    database: Database

    def ends(self) -> LogEnds:
        """Where the logs end now."""
        tables = (schema.event, schema.prediction, schema.shadow_score, schema.outcome)
        with self.database.read() as connection:
            event, prediction, shadow, outcome = (
                connection.execute(select(func.max(table.c.seq))).scalar() or 0 for table in tables
            )
        return LogEnds(event, prediction, shadow, outcome)

    def counted(
        self, model: str, posts: Collection[tuple[int, int]], targets: Collection[str], after: int, until: int
    ) -> set[tuple[int, int]]:
        """Which of the posts (channel_id, post_id) had a pair with outcome in (after, until]."""
        p, s, o = schema.prediction, schema.shadow_score, schema.outcome
        wanted, found = sorted(set(posts)), set[tuple[int, int]]()
        with self.database.read() as connection:
            for start in range(0, len(wanted), 400):
                part = wanted[start : start + 400]
                query = (
                    select(p.c.channel_id, p.c.post_id)
                    .distinct()
                    .join_from(p, o, o.c.prediction_id == p.c.id)
                    .join(s, s.c.prediction_id == p.c.id)
                    .where(p.c.channel_id.in_({channel for channel, _ in part}))
                    .where(p.c.post_id.in_({post for _, post in part}))
                    .where(and_(p.c.model == model, o.c.seq > after, o.c.seq <= until, o.c.target.in_(targets)))
                )
                found |= {(row.channel_id, row.post_id) for row in connection.execute(query)}
        return found & set(wanted)
