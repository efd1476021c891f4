"""Roll-outs and their audit log: what was decided on which evidence, each row chained to the one before by its hash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, and_, func, select, update

from core.errors import Conflict, NotFound, StorageBroken
from core.schemas.rollouts import TERMINAL, Phase
from core.store import schema
from core.store.database import Database
from core.store.ids import derived_id

NO_HASH = "0" * 64
#: A row of the log begins its record with this where it holds a hash instead.
DIGEST = "sha256:"


@dataclass(frozen=True, slots=True)
class StoredRollout:
    """A roll-out as stored: `record` is the state machine's own JSON, `seq` the number of its last event."""

    id: str
    model: str
    challenger: int
    stable: int
    phase: Phase
    record: str
    created_at: int
    updated_at: int
    seq: int


@dataclass(frozen=True, slots=True)
class Decision:
    """An event, the record after it (as JSON, or its `digest`) and what was ordered, as JSON."""

    event: str
    record: str
    commands: str


@dataclass(frozen=True, slots=True)
class RolloutState:
    """What the last of some decisions leaves: the state machine's record, and the columns made of it."""

    record: str
    phase: Phase
    stable: int


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A row of the audit log."""

    seq: int
    at: int
    event: str
    record: str
    commands: str
    hash: str


@dataclass(frozen=True)
class RolloutStore:
    """Rows are only added to the log; the roll-out's own row holds the record after the last of them."""

    database: Database

    def create(self, new: StoredRollout, key: str, request: str) -> StoredRollout:
        """Store a queued roll-out with `request` as its log's first event; a known key gives its roll-out."""
        table, slot = schema.rollout, derived_id(new.model, key)
        values = {name: getattr(new, name) for name in StoredRollout.__slots__ if name != "seq"} | {"request_key": slot}
        first = Decision(request, new.record, "[]")
        hashed = chained(NO_HASH, first.event, first.record, first.commands)
        with self.database.write() as connection:
            self.database.serialise(connection, table)
            row = connection.execute(select(table).where(table.c.request_key == slot)).first()
            if row is None:
                connection.execute(table.insert().values(values))
                event = _event_values(new.id, 1, new.created_at, first, NO_HASH, hashed)
                connection.execute(schema.rollout_event.insert().values(event))
                row = connection.execute(select(table).where(table.c.id == new.id)).one()
            return _rollout(connection, row)

    def by_key(self, model: str, key: str) -> StoredRollout | None:
        """The roll-out that a key started, if any."""
        table = schema.rollout
        with self.database.read() as connection:
            row = connection.execute(select(table).where(table.c.request_key == derived_id(model, key))).first()
            return None if row is None else _rollout(connection, row)

    def append(
        self, rollout_id: str, expect_seq: int, decisions: Sequence[Decision], state: RolloutState, now: int
    ) -> int:
        """Commit decisions and the state after the last, in one transaction; returns the new last number.

        Conflict when the log has grown beyond `expect_seq`: somebody else decided meanwhile.
        """
        with self.database.write() as connection:
            self.database.serialise(connection, schema.rollout_event)
            seq, previous = _end(connection, rollout_id)
            if seq != expect_seq:
                raise Conflict(
                    f"roll-out {rollout_id} is at event {seq}, not {expect_seq}: somebody else decided", seq=seq
                )
            rows = []
            for decision in decisions:
                seq, hashed = seq + 1, chained(previous, decision.event, decision.record, decision.commands)
                rows.append(_event_values(rollout_id, seq, now, decision, previous, hashed))
                previous = hashed
            connection.execute(schema.rollout_event.insert(), rows)
            table = schema.rollout
            values = {"phase": state.phase.value, "record": state.record, "stable": state.stable, "updated_at": now}
            connection.execute(update(table).where(table.c.id == rollout_id).values(values))
        return seq

    def load(self, rollout_id: str) -> StoredRollout:
        """One roll-out; NotFound."""
        table = schema.rollout
        with self.database.read() as connection:
            row = connection.execute(select(table).where(table.c.id == rollout_id)).first()
            if row is None:
                raise NotFound(f"no roll-out {rollout_id!r}", rollout=rollout_id)
            return _rollout(connection, row)

    def all(self, model: str) -> tuple[StoredRollout, ...]:
        """A model's roll-outs, newest first."""
        table = schema.rollout
        query = select(table).where(table.c.model == model).order_by(table.c.created_at.desc(), table.c.id)
        with self.database.read() as connection:
            return tuple(_rollout(connection, row) for row in connection.execute(query).all())

    def open(self) -> tuple[StoredRollout, ...]:
        """Roll-outs that have not ended, of all models, oldest first."""
        table = schema.rollout
        query = select(table).where(table.c.phase.not_in([phase.value for phase in TERMINAL]))
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(table.c.created_at, table.c.id)).all()
            return tuple(_rollout(connection, row) for row in rows)

    def unnotified(self, model: str) -> tuple[tuple[str, int], ...]:
        """Roll-outs whose log has rows beyond the one up to which people were told, oldest first: (id, that row)."""
        table, log = schema.rollout, schema.rollout_event
        last = select(func.max(log.c.seq)).where(log.c.rollout_id == table.c.id).scalar_subquery()
        query = select(table.c.id, table.c.notified).where(and_(table.c.model == model, last > table.c.notified))
        with self.database.read() as connection:
            found = connection.execute(query.order_by(table.c.created_at, table.c.id))
            return tuple((row.id, row.notified) for row in found)

    def notified(self, rollout_id: str, seq: int) -> None:
        """People were told of everything up to a row."""
        table = schema.rollout
        with self.database.write() as connection:
            connection.execute(update(table).where(table.c.id == rollout_id).values(notified=seq))

    def has(self, rollout_id: str, event: str) -> bool:
        """Whether the log holds this very event."""
        table = schema.rollout_event
        where = and_(table.c.rollout_id == rollout_id, table.c.event == event)
        with self.database.read() as connection:
            return connection.execute(select(table.c.seq).where(where).limit(1)).first() is not None

    def decisions_after(self, rollout_id: str, seq: int) -> tuple[tuple[StoredEvent, ...], int]:
        """Rows after one that hold whole records, oldest first, and the number of the log's last row."""
        table = schema.rollout_event
        where = and_(table.c.rollout_id == rollout_id, table.c.seq > seq)
        whole = select(table).where(where, table.c.record.not_like(f"{DIGEST}%")).order_by(table.c.seq)
        with self.database.read() as connection:
            last = connection.execute(select(func.max(table.c.seq)).where(where)).scalar()
            rows = connection.execute(whole).all() if last is not None else []
        return tuple(_stored(row) for row in rows if row.seq <= last), seq if last is None else int(last)

    def rows(self, rollout_id: str) -> tuple[StoredEvent, ...]:
        """The audit log as it stands, oldest first, unchecked."""
        table = schema.rollout_event
        query = select(table).where(table.c.rollout_id == rollout_id).order_by(table.c.seq)
        with self.database.read() as connection:
            return tuple(_stored(row) for row in connection.execute(query))

    def events(self, rollout_id: str) -> tuple[StoredEvent, ...]:
        """The audit log, oldest first; StorageBroken where a row does not fit its hash."""
        previous, rows = NO_HASH, self.rows(rollout_id)
        for row in rows:
            if row.hash != chained(previous, row.event, row.record, row.commands):
                raise StorageBroken(
                    f"roll-out {rollout_id}: event {row.seq} was changed after it was written", seq=row.seq
                )
            previous = row.hash
        return rows


def digest(record: str) -> str:
    """What stands for a record in a row of the log that changed nothing but figures."""
    return DIGEST + sha256(record.encode()).hexdigest()


def chained(previous: str, event: str, record: str, commands: str) -> str:
    """Hash of a row of the log."""
    return sha256("\n".join((previous, event, record, commands)).encode()).hexdigest()


def _stored(row: Row[Any]) -> StoredEvent:
    return StoredEvent(row.seq, row.at, row.event, row.record, row.commands, row.hash)


def _end(connection: Connection, rollout_id: str) -> tuple[int, str]:
    table = schema.rollout_event
    query = select(table.c.seq, table.c.hash).where(table.c.rollout_id == rollout_id).order_by(table.c.seq.desc())
    row = connection.execute(query.limit(1)).first()
    return (0, NO_HASH) if row is None else (row.seq, row.hash)


def _rollout(connection: Connection, row: Row[Any]) -> StoredRollout:
    table = schema.rollout_event
    seq = connection.execute(select(func.max(table.c.seq)).where(and_(table.c.rollout_id == row.id))).scalar()
    return StoredRollout(
        id=row.id,
        model=row.model,
        challenger=row.challenger,
        stable=row.stable,
        phase=Phase(row.phase),
        record=row.record,
        created_at=row.created_at,
        updated_at=row.updated_at,
        seq=seq or 0,
    )


def _event_values(
    rollout_id: str, seq: int, now: int, decision: Decision, previous: str, hashed: str
) -> dict[str, Any]:
    return {
        "rollout_id": rollout_id,
        "seq": seq,
        "at": now,
        "event": decision.event,
        "record": decision.record,
        "commands": decision.commands,
        "previous_hash": previous,
        "hash": hashed,
    }
