"""Gives versions up in an order that a crash cannot spoil: marked in the registry first, artifacts deleted after.

Which versions go is decided by the caller, inside the transaction that marks them, from everything that may use one.
A version that is marked stays marked; what a crash left undeleted is found again by the next pruning.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from sqlalchemy import Connection, and_, select, update

from core.codec import from_json
from core.schemas.models import ModelVersion, TrainingRequest
from core.schemas.rollouts import TERMINAL
from core.schemas.workflows import ENDED
from core.store import schema
from core.store.database import Database
from core.store.registry import read_versions


@dataclass(frozen=True, slots=True)
class Uses:
    """A model's versions (newest first), and who uses which, in words: (what it is, version)."""

    versions: tuple[ModelVersion, ...]
    serving: tuple[tuple[str, int], ...]  # traffic split and open roll-outs
    planned: tuple[tuple[str, int], ...]  # unfinished trainings and open workflows


@dataclass(frozen=True)
class Retention:
    """Marks and releases; a registration or a change of alias waits until a mark is committed."""

    database: Database

    def uses(self, model: str) -> Uses:
        """What is in use now."""
        with self.database.read() as connection:
            return _uses(connection, model)

    def mark(self, model: str, choose: Callable[[Uses], Collection[int]], now: int) -> Uses:
        """Mark the versions that `choose` names; returns what it decided from."""
        table = schema.model_version
        with self.database.write() as connection:
            for other in (schema.rollout, schema.alias_history, table):
                self.database.serialise(connection, other)
            found = _uses(connection, model)
            chosen = sorted(choose(found))
            if chosen:
                where = and_(table.c.model == model, table.c.version.in_(chosen), table.c.pruned_at.is_(None))
                connection.execute(update(table).where(where).values(pruned_at=now))
        return found

    def release(self, sha256: str, delete: Callable[[str], int]) -> int:
        """Delete an artifact unless a version that is kept, of whichever model, has it; returns the bytes freed.

        The registry's lock is held meanwhile, so that nobody registers the same content in between.
        """
        table = schema.model_version
        query = select(table.c.version).where(and_(table.c.sha256 == sha256, table.c.pruned_at.is_(None))).limit(1)
        with self.database.write() as connection:
            self.database.serialise(connection, table)
            return 0 if connection.execute(query).first() else delete(sha256)

    def holders(self) -> dict[str, tuple[tuple[str, int], ...]]:
        """Every artifact that is kept, and who has it: (model, version)."""
        table = schema.model_version
        query = select(table.c.sha256, table.c.model, table.c.version).where(table.c.pruned_at.is_(None))
        found: dict[str, tuple[tuple[str, int], ...]] = {}
        with self.database.read() as connection:
            for row in connection.execute(query.order_by(table.c.model, table.c.version)):
                found[row.sha256] = (*found.get(row.sha256, ()), (row.model, row.version))
        return found


def _uses(connection: Connection, model: str) -> Uses:
    return Uses(
        read_versions(connection, model),
        (*_split(connection, model), *_rollouts(connection, model)),
        (*_trainings(connection, model), *_workflows(connection, model)),
    )


def _split(connection: Connection, model: str) -> list[tuple[str, int]]:
    row = connection.execute(select(schema.traffic_split).where(schema.traffic_split.c.model == model)).first()
    if row is None:
        return []
    canary = [] if row.canary is None else [("routers may send traffic to it", row.canary)]
    return [("routers serve it", row.stable), *canary]


def _rollouts(connection: Connection, model: str) -> list[tuple[str, int]]:
    table = schema.rollout
    ended = [phase.value for phase in TERMINAL]
    rows = connection.execute(select(table).where(and_(table.c.model == model, table.c.phase.not_in(ended)))).all()
    return [(f"roll-out {row.id} is open", version) for row in rows for version in (row.challenger, row.stable)]


def _trainings(connection: Connection, model: str) -> list[tuple[str, int]]:
    table = schema.training_task
    where = and_(table.c.model == model, table.c.state.in_(("queued", "running")))
    found = []
    for row in connection.execute(select(table.c.id, table.c.request).where(where)):
        request = from_json(TrainingRequest, row.request)
        named = {request.warm_start, request.compare_with} - {None}
        found += [(f"training {row.id} needs it", version) for version in named if version is not None]
    return found


def _workflows(connection: Connection, model: str) -> list[tuple[str, int]]:
    table = schema.workflow
    where = and_(table.c.model == model, table.c.step.not_in([step.value for step in ENDED]))
    found = []
    for row in connection.execute(select(table.c.id, table.c.data).where(where)):
        version = from_json(dict[str, object], row.data).get("version")
        found += [(f"workflow {row.id} is at it", version)] if isinstance(version, int) else []
    return found
