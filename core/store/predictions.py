"""The prediction log: every answer given, and what the other version on the way would have said."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, and_, select

from core.codec import from_json, to_json
from core.errors import NotFound
from core.schemas.predictions import Arm, Failure, Outcome, Quantiles, Target
from core.store import schema
from core.store.database import Database
from core.store.ids import derived_id

Answer = dict[Target, Quantiles]


@dataclass(frozen=True, slots=True)
class PredictionRow:
    """One attempt to answer; `answer` is empty when the attempt failed.

    A canary that failed leaves a row with arm 'rescued', which holds the stable version's answer. Where the stable
    version failed too, that row's answer is empty and a second one, arm 'failed', stands for the stable version.
    """

    id: str
    channel_id: int
    post_id: int | None
    model: str
    version: int
    arm: Arm
    epoch: int
    known_age_h: int
    published_at: int
    as_of: int
    answer: Answer
    latency_ms: float
    at: int
    features: bytes | None = None  # float32, in the order of the version's signature
    usual: float | None = None
    history: int | None = None
    warnings: tuple[str, ...] = ()
    key: str | None = None
    score_ms: float | None = None  # of the version asked first; None: it failed
    failure: Failure | None = None  # of the version asked first
    pinned: bool = False  # a person chose the version
    seq: int = 0  # given by the database


@dataclass(frozen=True, slots=True)
class ShadowRow:
    """The same request scored by the other version; `answer` None says that it failed."""

    prediction_id: str
    model: str
    version: int
    epoch: int
    answer: Answer | None
    latency_ms: float
    error: str | None = None
    score_ms: float | None = None
    failure: Failure | None = None


@dataclass(frozen=True)
class PredictionLog:
    """Appends in groups, reads by key; rows are a tenant's."""

    database: Database
    tenant: str = field(default="default")

    def append(self, rows: Sequence[PredictionRow]) -> tuple[PredictionRow, ...]:
        """Commit rows in one transaction; where a key is stored already, the stored row comes back instead."""
        with self.database.write() as connection:
            self.database.serialise(connection, schema.prediction)
            known = self._by_keys(connection, [row.key for row in rows if row.key is not None])
            fresh: dict[str, PredictionRow] = {}
            for row in rows:
                if row.key is None or (row.key not in known and row.key not in fresh):
                    fresh[row.key or row.id] = row
            self.database.append(connection, schema.prediction, [self._values(row) for row in fresh.values()])
            seqs = _seqs(connection, [row.id for row in fresh.values()])
        stored = {slot: replace(row, seq=seqs[row.id]) for slot, row in fresh.items()} | known
        return tuple(stored[row.key or row.id] for row in rows)

    def by_key(self, key: str) -> PredictionRow | None:
        """The row that a key has, if any."""
        with self.database.read() as connection:
            return self._by_keys(connection, [key]).get(key)

    def get(self, prediction_id: str) -> PredictionRow:
        """One row; NotFound."""
        table = schema.prediction
        where = and_(table.c.id == prediction_id, table.c.tenant == self.tenant)
        with self.database.read() as connection:
            found = connection.execute(select(table).where(where)).first()
        if found is None:
            raise NotFound(f"no prediction {prediction_id!r}", prediction=prediction_id)
        return _row(found)

    def outcomes(self, prediction_id: str) -> tuple[Outcome, ...]:
        """What was measured for a prediction so far."""
        table = schema.outcome
        query = select(table).where(table.c.prediction_id == prediction_id).order_by(table.c.seq)
        with self.database.read() as connection:
            return tuple(
                Outcome(row.prediction_id, row.target, row.value, row.known_at) for row in connection.execute(query)
            )

    def predictions_of(self, channel_id: int, post_ids: Collection[int]) -> tuple[PredictionRow, ...]:
        """All rows of some posts, oldest first."""
        table, found = schema.prediction, []
        with self.database.read() as connection:
            for part in _parts(sorted(set(post_ids))):
                where = and_(table.c.channel_id == channel_id, table.c.post_id.in_(part), table.c.tenant == self.tenant)
                found += [_row(row) for row in connection.execute(select(table).where(where))]
        return tuple(sorted(found, key=lambda row: row.seq))

    def recent_features(self, model: str, version: int, limit: int) -> NDArray[np.float32]:
        """Feature rows of the newest answers of a version, oldest first: n x features (0 x 0: none)."""
        table = schema.prediction
        where = and_(table.c.model == model, table.c.version == version, table.c.features.is_not(None))
        query = select(table.c.features).where(where).order_by(table.c.seq.desc()).limit(limit)
        with self.database.read() as connection:
            blobs = [bytes(row.features) for row in connection.execute(query)]
        if not blobs:
            return np.zeros((0, 0), dtype=np.float32)
        return np.frombuffer(b"".join(reversed(blobs)), dtype=np.float32).reshape(len(blobs), -1)

    def add_shadows(self, rows: Sequence[ShadowRow]) -> int:
        """Commit background scorings; one that is there already stays as it was. Returns how many were new."""
        if not rows:
            return 0
        table = schema.shadow_score
        with self.database.write() as connection:
            self.database.serialise(connection, table)
            ids = [row.prediction_id for row in rows]
            known: set[tuple[str, int]] = set()
            for part in _parts(ids):
                query = select(table.c.prediction_id, table.c.version).where(table.c.prediction_id.in_(part))
                known |= {(row.prediction_id, row.version) for row in connection.execute(query)}
            fresh = {(row.prediction_id, row.version): row for row in rows}
            new = [_shadow_values(row) for place, row in fresh.items() if place not in known]
            self.database.append(connection, table, new)
        return len(new)

    def _by_keys(self, connection: Connection, keys: Sequence[str]) -> dict[str, PredictionRow]:
        table = schema.prediction
        stored = {self._stored_key(key): key for key in keys}
        found: dict[str, PredictionRow] = {}
        for part in _parts(list(stored)):
            for row in connection.execute(select(table).where(table.c.request_key.in_(part))):
                found[stored[row.request_key]] = replace(_row(row), key=stored[row.request_key])
        return found

    def _stored_key(self, key: str) -> str:
        # Keys are a caller's own: two tenants may use the same one, and of any length.
        return derived_id(self.tenant, key)

    def _values(self, row: PredictionRow) -> dict[str, Any]:
        return {
            "id": row.id,
            "tenant": self.tenant,
            "channel_id": row.channel_id,
            "post_id": row.post_id,
            "model": row.model,
            "version": row.version,
            "arm": row.arm,
            "epoch": row.epoch,
            "known_age_h": row.known_age_h,
            "published_at": row.published_at,
            "as_of": row.as_of,
            "answer": to_json(row.answer),
            "usual": row.usual,
            "history": row.history,
            "warnings": to_json(row.warnings),
            "features": row.features,
            "latency_ms": row.latency_ms,
            "score_ms": row.score_ms,
            "failure": row.failure,
            "pinned": row.pinned,
            "at": row.at,
            "request_key": None if row.key is None else self._stored_key(row.key),
        }


def _row(row: Row[Any]) -> PredictionRow:
    return PredictionRow(
        id=row.id,
        channel_id=row.channel_id,
        post_id=row.post_id,
        model=row.model,
        version=row.version,
        arm=row.arm,
        epoch=row.epoch,
        known_age_h=row.known_age_h,
        published_at=row.published_at,
        as_of=row.as_of,
        answer=from_json(Answer, row.answer),
        latency_ms=row.latency_ms,
        at=row.at,
        features=None if row.features is None else bytes(row.features),
        usual=row.usual,
        history=row.history,
        warnings=() if row.warnings is None else from_json(tuple[str, ...], row.warnings),
        score_ms=row.score_ms,
        failure=row.failure,
        pinned=row.pinned,
        seq=row.seq,
    )


def _shadow_values(row: ShadowRow) -> dict[str, Any]:
    return {
        "prediction_id": row.prediction_id,
        "model": row.model,
        "version": row.version,
        "epoch": row.epoch,
        "answer": None if row.answer is None else to_json(row.answer),
        "error": row.error,
        "failure": row.failure,
        "latency_ms": row.latency_ms,
        "score_ms": row.score_ms,
    }


def _seqs(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    table, found = schema.prediction, {}
    for part in _parts(list(ids)):
        for row in connection.execute(select(table.c.id, table.c.seq).where(table.c.id.in_(part))):
            found[row.id] = row.seq
    return found


def _parts(values: Sequence[Any], size: int = 500) -> list[Sequence[Any]]:
    return [values[i : i + size] for i in range(0, len(values), size)]
