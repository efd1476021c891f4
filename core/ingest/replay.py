"""Replays stored data along its own timeline: copies what became known from a staging database into the live one.

The live database's clock (`replay_clock`) moves in the transaction of the rows that it lets in, so a reader never
sees a row before its time, and a replay killed at any moment goes on where the clock stands.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table, and_, func, select, text

from core.clock import HOUR
from core.errors import NoData, Refused
from core.schemas.channels import Channel, Precision
from core.schemas.predictions import TARGET_AGE_H
from core.store import schema
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.ingest import Batch, ChannelRow, IngestWriter, MentionRow, PostRow, ReactionRow, SubscriberRow

#: rows in one transaction: more are fed in several, each with its own time
SLICE_ROWS = 50_000

#: When each view reading became known. For channels of which no post was read twice see core.history.target_values.
_TIMETABLE = """
CREATE TABLE replay_view (known_at INTEGER, channel_id INTEGER, post_id INTEGER, ts INTEGER,
                          PRIMARY KEY (known_at, channel_id, post_id, ts)) WITHOUT ROWID
"""
_FILL = """
INSERT INTO replay_view
SELECT CASE WHEN s.channel_id IN (SELECT channel_id FROM replay_single)
                 AND s.precision <> :assumed AND s.ts >= COALESCE(p.published_at, s.ts) + :ripe
            THEN p.published_at + :ripe ELSE MAX(s.ts, COALESCE(p.published_at, s.ts)) END,
       s.channel_id, s.post_id, s.ts
FROM post_snapshot s LEFT JOIN post p ON p.channel_id = s.channel_id AND p.post_id = s.post_id
ORDER BY 1, 2, 3, 4
"""
_SINGLE = """
CREATE TABLE replay_single AS SELECT channel_id FROM
(SELECT channel_id, post_id, COUNT(*) AS n FROM post_snapshot GROUP BY channel_id, post_id)
GROUP BY channel_id HAVING MAX(n) = 1
"""


@dataclass(slots=True)
class FedReport:
    """Rows let in by one call, by table."""

    now: int = 0
    rows: dict[str, int] = field(default_factory=dict)


class Replay:
    """Feeds a live database from a staging one (SQLite, private to the replay)."""

    def __init__(self, staging: Database, live: Database, tenant: str = "default") -> None:
        self._staging, self._live, self._tenant = staging, live, tenant
        self._writer = IngestWriter(live, tenant)
        self._channels: dict[int, Channel] = {c.id: c for c in ChannelStore(staging, tenant).channels()}
        if not self._channels:
            raise NoData("the staging database holds no channel")
        with staging.write() as connection:
            _prepare(connection)

    def now(self) -> int | None:
        """Up to when the live database was fed; None before the first feed."""
        with self._live.read() as connection:
            found = connection.execute(select(schema.replay_clock.c.now)).scalar()
        return None if found is None else int(found)

    def span(self) -> tuple[int, int]:
        """First and last moment at which something becomes known."""
        with self._staging.read() as connection:
            ends = [connection.execute(select(func.min(c), func.max(c))).one() for c in _TIMES.values()]
            ends.append(connection.execute(text("SELECT MIN(known_at), MAX(known_at) FROM replay_view")).one())
        found = [(int(low), int(high)) for low, high in ends if low is not None]
        if not found:
            raise NoData("the staging database holds no posts and no readings")
        return min(low for low, _ in found), max(high for _, high in found)

    def feed(self, until: int, source: str) -> FedReport:
        """Let in everything that became known up to `until`; nothing where the clock is there already.

        Refused when the clock belongs to another source: two replays do not share a live database.
        """
        report = FedReport(now=until)
        while True:
            with self._live.write() as connection:
                since = self._since(connection, source)
                if since >= until:
                    return report
                upto = self._slice_end(since, until)
                batch = self._batch(since, upto)
                self._writer.apply(connection, batch, upto)
                self._set_clock(connection, upto, source)
            for name, rows in batch.tables().items():
                report.rows[name] = report.rows.get(name, 0) + len(rows)

    def _since(self, connection: Connection, source: str) -> int:
        row = connection.execute(select(schema.replay_clock)).one_or_none()
        if row is None:
            return self.span()[0] - 1
        if row.source != source:
            raise Refused(f"this database already replays {row.source!r}: choose an empty one for {source!r}")
        return int(row.now)

    def _set_clock(self, connection: Connection, now: int, source: str) -> None:
        table = schema.replay_clock
        new = self._live.insert(table).values(id=1, now=now, source=source, state="{}")
        connection.execute(new.on_conflict_do_update(index_elements=["id"], set_={"now": now}))

    def _slice_end(self, since: int, until: int) -> int:
        """As far as one transaction should go."""
        query = text("SELECT COUNT(*) FROM replay_view WHERE known_at > :since AND known_at <= :until")
        with self._staging.read() as connection:
            while until - since > HOUR:
                if connection.execute(query, {"since": since, "until": until}).scalar_one() <= SLICE_ROWS:
                    break
                until = since + (until - since) // 2
        return until

    def _batch(self, since: int, until: int) -> Batch:
        batch = Batch(self._tenant)
        for channel in self._channels.values():
            batch.channel(ChannelRow(channel.name, channel.timezone, channel.source, channel.title, channel.category))
        with self._staging.read() as connection:
            batch.posts = [PostRow(*row) for row in _rows(connection, schema.post, since, until)]
            batch.reactions = [ReactionRow(*row) for row in _rows(connection, schema.reaction_snapshot, since, until)]
            batch.subscribers = [
                SubscriberRow(*row) for row in _rows(connection, schema.channel_snapshot, since, until)
            ]
            batch.mentions = [MentionRow(*row) for row in _rows(connection, schema.mention, since, until)]
            batch.views = _views(connection, since, until)
        return batch


#: the column by which the rows of a table become known; views have the timetable of their own
_TIMES = {
    schema.post: schema.post.c.published_at,
    schema.reaction_snapshot: schema.reaction_snapshot.c.ts,
    schema.channel_snapshot: schema.channel_snapshot.c.ts,
    schema.mention: schema.mention.c.published_at,
}


def _rows(connection: Connection, table: Table, since: int, until: int) -> list[Any]:
    when = _TIMES[table]
    return list(connection.execute(select(table).where(and_(when > since, when <= until))))


def _views(connection: Connection, since: int, until: int) -> list[tuple[Any, ...]]:
    query = text(
        "SELECT s.* FROM replay_view v CROSS JOIN post_snapshot s ON s.channel_id = v.channel_id "
        "AND s.post_id = v.post_id AND s.ts = v.ts WHERE v.known_at > :since AND v.known_at <= :until"
    )
    return [tuple(row) for row in connection.execute(query, {"since": since, "until": until})]


def _prepare(connection: Connection) -> None:
    """Build the timetable and the indices by time; a staging database belongs to one replay."""
    connection.execute(text("DROP TABLE IF EXISTS replay_view"))
    connection.execute(text("DROP TABLE IF EXISTS replay_single"))
    connection.execute(text(_SINGLE))
    connection.execute(text(_TIMETABLE))
    ripe = TARGET_AGE_H["views_final"] * HOUR
    connection.execute(text(_FILL), {"assumed": int(Precision.TIME_ASSUMED), "ripe": ripe})
    for table, column in _TIMES.items():
        name = f"replay_{table.name}"
        connection.execute(text(f"CREATE INDEX IF NOT EXISTS {name} ON {table.name} ({column.name})"))
