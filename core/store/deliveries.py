"""The outbox of notices: what is to be told to whom, claimed by one sender at a time, kept until somebody took it.

Two timelines: `not_before` is the data's (quiet hours), `retry_at` and `lease_until` are the machine's, so that a
replay that stands still does not keep a second try from being made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Row, and_, exists, func, select

from core.codec import from_json, to_json
from core.errors import NotFound
from core.schemas.alerts import About, Delivery, DeliveryState, Notice, Target
from core.store import schema
from core.store.database import Database

#: A sender that died holds what it was sending for so long.
LEASE_S = 60
_WAITING = ("pending", "failed")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A claimed delivery, with the address as it was given."""

    id: str
    target: Target
    notice: Notice
    attempts: int  # this one included


@dataclass(frozen=True)
class DeliveryStore:
    """Deliveries of one tenant, in the order in which they were written."""

    database: Database
    tenant: str = "default"

    def add(
        self, connection: Connection, alert_id: str | None, target: Target, notice: Notice, not_before: int
    ) -> None:
        """Write one in the transaction of what it tells; a delivery with this id that is there already stays."""
        table = schema.delivery
        self.database.serialise(connection, table)
        row = {
            "id": notice.id,
            "tenant": self.tenant,
            "alert_id": alert_id,
            "about": notice.about,
            "target_kind": target.kind,
            "target": target.address,
            "notice": to_json(notice),
            "state": "pending",
            "attempts": 0,
            "not_before": not_before,
            "retry_at": 0,
            "lease_until": 0,
            "created_at": notice.at,
        }
        connection.execute(self.database.insert(table).values(row).on_conflict_do_nothing(index_elements=["id"]))

    def pending(self, connection: Connection, delivery_id: str) -> Notice | None:
        """The notice of a delivery that nobody began to send, locked until the transaction ends."""
        table = schema.delivery
        self.database.serialise(connection, table)  # two that find nothing would both write their own
        where = and_(table.c.id == delivery_id, table.c.tenant == self.tenant, table.c.attempts == 0)
        found = connection.execute(select(table.c.notice).where(where).with_for_update()).scalar_one_or_none()
        return None if found is None else from_json(Notice, found)

    def rewrite(self, connection: Connection, notice: Notice) -> None:
        """Put another notice in the place of the one with its id."""
        table = schema.delivery
        connection.execute(table.update().where(table.c.id == notice.id).values(notice=to_json(notice)))

    def known(self, ids: Sequence[str]) -> frozenset[str]:
        """Which of some ids are in the outbox."""
        table = schema.delivery
        with self.database.read() as connection:
            return frozenset(connection.execute(select(table.c.id).where(table.c.id.in_(ids))).scalars())

    def due(self, now: int, wall: int, limit: int = 100) -> tuple[tuple[str, Target], ...]:
        """What may be sent and where, oldest first: not before its time, and after whatever its alert told before.

        now: the data's time; wall: the machine's.
        """
        table = schema.delivery
        earlier = table.alias("earlier")
        held_up = exists().where(
            earlier.c.alert_id == table.c.alert_id,
            earlier.c.target_kind == table.c.target_kind,
            earlier.c.target == table.c.target,
            earlier.c.seq < table.c.seq,
            earlier.c.state.in_(_WAITING),
        )
        query = (
            select(table.c.id, table.c.target_kind, table.c.target)
            .where(
                table.c.tenant == self.tenant,
                table.c.state.in_(_WAITING),
                table.c.not_before <= now,
                table.c.retry_at <= wall,
                table.c.lease_until <= wall,
                ~held_up,
            )
            .order_by(table.c.seq)
            .limit(limit)
        )
        with self.database.read() as connection:
            return tuple((row.id, Target(row.target_kind, row.target)) for row in connection.execute(query))

    def claim(self, delivery_id: str, wall: int) -> Outgoing | None:
        """Take one for sending and count the attempt; None when it is no longer to be sent, or another sends it."""
        table = schema.delivery
        with self.database.write() as connection:
            free = and_(table.c.id == delivery_id, table.c.state.in_(_WAITING), table.c.lease_until <= wall)
            row = connection.execute(select(table).where(free).with_for_update()).one_or_none()
            if row is None:
                return None
            taken = {"attempts": row.attempts + 1, "lease_until": wall + LEASE_S}
            connection.execute(table.update().where(table.c.id == delivery_id).values(**taken))
        return Outgoing(row.id, Target(row.target_kind, row.target), from_json(Notice, row.notice), row.attempts + 1)

    def settle(
        self, delivery_id: str, state: DeliveryState, *, reason: str | None, sent_at: int | None, retry_at: int = 0
    ) -> None:
        """Write what became of an attempt; one that was sent stays sent."""
        table = schema.delivery
        change = table.update().where(table.c.id == delivery_id, table.c.state != "sent")
        values = {"state": state, "reason": reason, "sent_at": sent_at, "retry_at": retry_at, "lease_until": 0}
        with self.database.write() as connection:
            connection.execute(change.values(**values))

    def revive(self, delivery_id: str) -> bool:
        """Put one that was given up back into the outbox, with all its attempts; False: it is not dead."""
        table = schema.delivery
        dead = and_(table.c.id == delivery_id, table.c.tenant == self.tenant, table.c.state == "dead")
        values = {"state": "pending", "attempts": 0, "retry_at": 0, "lease_until": 0}
        with self.database.write() as connection:
            return connection.execute(table.update().where(dead).values(**values)).rowcount == 1

    def deliveries(
        self, alert_id: str | None = None, state: DeliveryState | None = None, limit: int = 100
    ) -> tuple[Delivery, ...]:
        """Newest first, with addresses as they were given."""
        table = schema.delivery
        query = select(table).where(table.c.tenant == self.tenant)
        if alert_id is not None:
            query = query.where(table.c.alert_id == alert_id)
        if state is not None:
            query = query.where(table.c.state == state)
        with self.database.read() as connection:
            return tuple(map(_delivery, connection.execute(query.order_by(table.c.seq.desc()).limit(limit))))

    def delivery(self, delivery_id: str) -> Delivery:
        """One; NotFound."""
        table = schema.delivery
        query = select(table).where(table.c.id == delivery_id, table.c.tenant == self.tenant)
        with self.database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"no delivery {delivery_id!r}", delivery=delivery_id)
        return _delivery(row)

    def tally(self, since: int = 0, until: int | None = None) -> dict[str, int]:
        """How many are in each state, of those written in a period."""
        table = schema.delivery
        query = select(table.c.state, func.count()).where(table.c.tenant == self.tenant, table.c.created_at >= since)
        if until is not None:
            query = query.where(table.c.created_at < until)
        with self.database.read() as connection:
            rows = connection.execute(query.group_by(table.c.state)).all()
        return {str(row[0]): int(row[1]) for row in rows}


def _delivery(row: Row[*tuple[object, ...]]) -> Delivery:
    about: About = row.about
    return Delivery(
        id=row.id,
        about=about,
        target=Target(row.target_kind, row.target),
        state=row.state,
        attempts=row.attempts,
        created_at=row.created_at,
        not_before=row.not_before,
        alert_id=row.alert_id,
        sent_at=row.sent_at,
        reason=row.reason,
    )
