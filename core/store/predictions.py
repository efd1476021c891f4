"""The prediction log: every answer given, what the other version would have said, and the evidence drawn from both."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, and_, func, select

from core.codec import from_json, to_json
from core.errors import NotFound
from core.schemas.predictions import Arm, Outcome, Quantiles, Target
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


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """First attempts and their failures by arm; a rescued request is a failure of the canary."""

    stable_n: int = 0
    stable_errors: int = 0
    canary_n: int = 0
    canary_errors: int = 0


@dataclass(frozen=True, slots=True)
class ShadowCounts:
    """Background scorings by one version, and how many failed."""

    n: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """Two versions' medians for one request, beside what was measured later."""

    channel_id: int
    post_id: int
    target: Target
    value: float
    stable_q50: float
    challenger_q50: float
    prediction_id: str


@dataclass(frozen=True)
class PredictionLog:
    """Appends in groups, reads by key; rows are a tenant's, counts and pairs a model's.

    Cursors are sequence numbers in order of commit: a reader that passes on the last one it got misses nothing.
    """

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

    def counts(self, model: str, after_seq: int, epochs: Collection[int] | None = None) -> tuple[ArmCounts, int]:
        """First attempts after a sequence number, by arm (only those under some splits, if given); the last number."""
        table = schema.prediction
        where = and_(table.c.seq > after_seq, table.c.model == model)
        query = select(table.c.arm, table.c.epoch, func.count().label("n"), func.max(table.c.seq).label("last"))
        with self.database.read() as connection:
            found = connection.execute(query.where(where).group_by(table.c.arm, table.c.epoch)).all()
        n = {"stable": 0, "failed": 0, "canary": 0, "rescued": 0}
        for row in found:
            if epochs is None or row.epoch in epochs:
                n[row.arm] += row.n
        last = max([after_seq, *(row.last for row in found)])
        return ArmCounts(n["stable"] + n["failed"], n["failed"], n["canary"] + n["rescued"], n["rescued"]), last

    def shadow_counts(self, model: str, version: int, after_seq: int) -> tuple[ShadowCounts, int]:
        """Background scorings by a version after a sequence number (of shadow scores), and the last number."""
        table = schema.shadow_score
        where = and_(table.c.seq > after_seq, table.c.model == model, table.c.version == version)
        query = select(func.count(), func.count(table.c.answer), func.max(table.c.seq)).where(where)
        with self.database.read() as connection:
            n, answered, last = connection.execute(query).one()
        return ShadowCounts(n, n - answered), max(after_seq, last or 0)

    def pairs(self, model: str, stable: int, challenger: int, after_seq: int) -> tuple[tuple[Pair, ...], int]:
        """Both versions' medians for requests whose outcome was joined after a sequence number (of outcomes).

        One version answered the request, the other scored it in the background; requests that only one of them
        scored make no pair. Returns the last outcome's number, pair or not.
        """
        p, s, o = schema.prediction, schema.shadow_score, schema.outcome
        paired = and_(s.c.prediction_id == p.c.id, s.c.version.in_((stable, challenger)), s.c.version != p.c.version)
        query = (
            select(o.c.seq, o.c.target, o.c.value, p.c.id, p.c.channel_id, p.c.post_id, p.c.version, p.c.answer)
            .add_columns(s.c.answer.label("shadow"))
            .join_from(o, p, p.c.id == o.c.prediction_id)
            .outerjoin(s, paired)
            .where(and_(o.c.seq > after_seq, p.c.model == model))
            .order_by(o.c.seq)
        )
        with self.database.read() as connection:
            found = connection.execute(query).all()
        last = max([after_seq, *(row.seq for row in found)])
        return tuple(pair for row in found if (pair := _pair(row, stable, challenger)) is not None), last

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
        "latency_ms": row.latency_ms,
    }


def _pair(row: Row[Any], stable: int, challenger: int) -> Pair | None:
    if row.shadow is None or row.post_id is None or row.version not in (stable, challenger):
        return None
    own: Mapping[Target, Quantiles] = from_json(Answer, row.answer)
    other: Mapping[Target, Quantiles] = from_json(Answer, row.shadow)
    if row.target not in own or row.target not in other:
        return None
    by_stable, by_challenger = (own, other) if row.version == stable else (other, own)
    return Pair(
        channel_id=row.channel_id,
        post_id=row.post_id,
        target=row.target,
        value=row.value,
        stable_q50=by_stable[row.target].q50,
        challenger_q50=by_challenger[row.target].q50,
        prediction_id=row.id,
    )


def _seqs(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    table, found = schema.prediction, {}
    for part in _parts(list(ids)):
        for row in connection.execute(select(table.c.id, table.c.seq).where(table.c.id.in_(part))):
            found[row.id] = row.seq
    return found


def _parts(values: Sequence[Any], size: int = 500) -> list[Sequence[Any]]:
    return [values[i : i + size] for i in range(0, len(values), size)]
