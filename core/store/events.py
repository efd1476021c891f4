"""The transactional outbox: what arrived, in order of commit, and how far each consumer has read."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from core.codec import from_json, to_json
from core.schemas.channels import DataArrived, Event
from core.store import schema
from core.store.database import Database

_CONSUMER = re.compile(r"(?::\d+/\d+)?")  # what follows a service's name in a consumer's


@dataclass(frozen=True)
class Outbox:
    """Events of one tenant.

    A consumer reads `after(offset(name), limit)`, and commits its own writes together with `advance(...)`: killed at
    any moment, it does every event's work once.
    """

    database: Database
    tenant: str = "default"

    def emit(self, connection: Connection, channel_id: int, at: int, data: DataArrived) -> None:
        """Write an event in the transaction of the rows that it tells about."""
        row = {"tenant": self.tenant, "channel_id": channel_id, "at": at, "payload": to_json(data)}
        self.database.append(connection, schema.event, [row])

    def after(self, seq: int, limit: int = 500) -> tuple[Event, ...]:
        """The next events behind a sequence number, oldest first."""
        table = schema.event
        query = (
            select(table.c.seq, table.c.channel_id, table.c.at, table.c.payload)
            .where(table.c.seq > seq, table.c.tenant == self.tenant)
            .order_by(table.c.seq)
            .limit(limit)
        )
        with self.database.read() as connection:
            rows = connection.execute(query).all()
        return tuple(Event(row.seq, row.channel_id, row.at, from_json(DataArrived, row.payload)) for row in rows)

    def reread(self, channel_id: int, seq: int) -> tuple[int, frozenset[int]]:
        """The newest sequence number, and which posts of a channel have new or changed readings since `seq`."""
        table = schema.event
        last = self.last()
        query = select(table.c.payload).where(
            table.c.tenant == self.tenant, table.c.channel_id == channel_id, table.c.seq > seq, table.c.seq <= last
        )
        with self.database.read() as connection:
            payloads = connection.execute(query).scalars().all()
        return last, frozenset(i for payload in payloads for i in from_json(DataArrived, payload).read)

    def offset(self, consumer: str) -> int:
        """The last sequence number that a consumer has done; 0 before the first."""
        table = schema.consumer_offset
        with self.database.read() as connection:
            found = connection.execute(select(table.c.seq).where(table.c.consumer == self._key(consumer))).scalar()
        return 0 if found is None else int(found)

    def offsets(self, service: str) -> dict[str, int]:
        """How far each consumer of a service has come: the service's own name, or one a shard (`name:0/4`)."""
        table, tenant = schema.consumer_offset, self._key("")
        query = select(table.c.consumer, table.c.seq).where(table.c.consumer.startswith(service, autoescape=True))
        with self.database.read() as connection:
            rows = connection.execute(query).all()
        names = {str(row[0]): int(row[1]) for row in rows if str(row[0]).endswith(tenant)}
        own = {name.removesuffix(tenant): seq for name, seq in names.items()}
        return {name: seq for name, seq in own.items() if _CONSUMER.fullmatch(name.removeprefix(service))}

    def advance(self, connection: Connection, consumer: str, seq: int) -> None:
        """Note in the consumer's own transaction how far it has come; never goes back."""
        table = schema.consumer_offset
        new = self.database.insert(table).values(consumer=self._key(consumer), seq=seq)
        connection.execute(
            new.on_conflict_do_update(
                index_elements=["consumer"], set_={"seq": new.excluded.seq}, where=table.c.seq < new.excluded.seq
            )
        )

    def last(self) -> int:
        """The newest sequence number of the tenant; 0 when nothing has arrived."""
        table = schema.event
        with self.database.read() as connection:
            found = connection.execute(select(func.max(table.c.seq)).where(table.c.tenant == self.tenant)).scalar()
        return 0 if found is None else int(found)

    def _key(self, consumer: str) -> str:
        return consumer if self.tenant == "default" else f"{consumer}@{self.tenant}"
