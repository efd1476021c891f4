"""What became of predictions: which still wait for a measured value, and the values that were joined."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, func, select

from core.clock import HOUR
from core.codec import from_json
from core.schemas.predictions import METRIC_OF, TARGET_AGE_H, Arm, Outcome, Quantiles, Target
from core.store import schema
from core.store.database import Database
from core.targets import log_of

Answer = dict[Target, Quantiles]

#: No target is measured at a younger age.
EARLIEST_S = min(TARGET_AGE_H.values()) * HOUR
_CHUNK = 500  # ids in one IN list


@dataclass(frozen=True, slots=True)
class Pending:
    """An answered prediction of a stored post, with the targets that nothing was joined to yet."""

    prediction_id: str
    channel_id: int
    post_id: int
    published_at: int
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class JoinedOutcome:
    """An outcome beside the answer that it settles, in order of joining (`seq`)."""

    seq: int
    prediction_id: str
    model: str
    version: int
    arm: Arm
    channel_id: int
    post_id: int
    known_age_h: int
    as_of: int
    target: Target
    answer: Quantiles
    value: float
    known_at: int
    first: bool  # the first outcome of its prediction
    usual: float | None = None  # the channel's usual views when it was asked

    @property
    def foreseen(self) -> bool:
        """Whether the answer was given before the value was known; else it says nothing of forecasting."""
        return self.as_of < self.known_at

    @property
    def inside(self) -> bool:
        """Whether the value lies within the answer's 80 % interval."""
        return self.answer.q10 <= self.value <= self.answer.q90

    @property
    def log_error(self) -> float:
        """log(measured) - log(predicted median) on the scale of `core.targets`: positive where more came."""
        metric = METRIC_OF[self.target]
        return log_of(metric, self.value) - log_of(metric, self.answer.q50)


@dataclass(frozen=True)
class OutcomeStore:
    """Outcomes of one tenant's predictions; reading for measurement spans all tenants (a model serves them all)."""

    database: Database
    tenant: str = "default"

    def pending(self, channel_id: int, post_ids: Collection[int] | None, ripe_at: int) -> tuple[Pending, ...]:
        """Predictions of a channel (of some posts, or all) with a target whose age is reached at a moment."""
        table, found = schema.prediction, list[Pending]()
        ripe = and_(
            table.c.channel_id == channel_id,
            table.c.tenant == self.tenant,
            table.c.post_id.is_not(None),
            table.c.published_at <= ripe_at - EARLIEST_S,
            table.c.answer != "{}",
        )
        query = select(table.c.id, table.c.post_id, table.c.published_at, table.c.answer).where(ripe)
        parts = [None] if post_ids is None else _parts(sorted(set(post_ids)))
        with self.database.read() as connection:
            for part in parts:
                rows = connection.execute(query if part is None else query.where(table.c.post_id.in_(part))).all()
                joined = _joined(connection, [row.id for row in rows])
                found += [p for row in rows if (p := _pending(row, channel_id, joined, ripe_at)).targets]
        return tuple(found)

    def asked_since(self, seq: int, ripe_at: int) -> tuple[dict[int, set[int]], int]:
        """Posts by channel of predictions behind a number whose first target can be known; and the last number.

        Answers asked for late may be settled by readings that arrived long before them.
        """
        table = schema.prediction
        of_tenant = table.c.tenant == self.tenant
        posts: dict[int, set[int]] = {}
        with self.database.read() as connection:
            last = connection.execute(select(func.max(table.c.seq)).where(of_tenant)).scalar() or 0
            late = and_(
                of_tenant,
                table.c.seq > seq,
                table.c.seq <= last,
                table.c.post_id.is_not(None),
                table.c.published_at <= ripe_at - EARLIEST_S,
            )
            for row in connection.execute(select(table.c.channel_id, table.c.post_id).where(late).distinct()):
                posts.setdefault(row.channel_id, set()).add(row.post_id)
        return posts, max(seq, int(last))

    def add(self, connection: Connection, outcomes: Sequence[Outcome], joined_at: int) -> tuple[Outcome, ...]:
        """Append those that are not there yet, in the caller's transaction; returns what was new.

        One (prediction, target) has one outcome for good: what is there already stays, whatever it says.
        """
        if not outcomes:
            return ()
        self.database.serialise(connection, schema.outcome)
        joined = _joined(connection, [outcome.prediction_id for outcome in outcomes])
        fresh: dict[tuple[str, Target], Outcome] = {}
        for outcome in outcomes:
            if outcome.target not in joined.get(outcome.prediction_id, ()):
                fresh.setdefault((outcome.prediction_id, outcome.target), outcome)
        rows = [
            {
                "prediction_id": outcome.prediction_id,
                "target": outcome.target,
                "value": outcome.value,
                "known_at": outcome.known_at,
                "joined_at": joined_at,
            }
            for outcome in fresh.values()
        ]
        self.database.append(connection, schema.outcome, rows)
        return tuple(fresh.values())

    def after(self, seq: int, limit: int = 1000) -> tuple[tuple[JoinedOutcome, ...], int]:
        """The next outcomes behind a number with their answers, of every tenant; and the last number read."""
        o, p = schema.outcome, schema.prediction
        earlier = schema.outcome.alias("earlier")
        first = select(func.min(earlier.c.seq)).where(earlier.c.prediction_id == o.c.prediction_id).scalar_subquery()
        query = (
            select(o.c.seq, o.c.prediction_id, o.c.target, o.c.value, o.c.known_at, (first == o.c.seq).label("first"))
            .add_columns(p.c.model, p.c.version, p.c.arm, p.c.channel_id, p.c.post_id)
            .add_columns(p.c.known_age_h, p.c.as_of, p.c.answer, p.c.usual)
            .join_from(o, p, p.c.id == o.c.prediction_id)
            .where(o.c.seq > seq)
            .order_by(o.c.seq)
            .limit(limit)
        )
        with self.database.read() as connection:
            rows = connection.execute(query).all()
        return tuple(map(_outcome, rows)), (rows[-1].seq if rows else seq)

    def last(self) -> int:
        """The newest number; 0 when nothing was joined yet."""
        with self.database.read() as connection:
            return int(connection.execute(select(func.max(schema.outcome.c.seq))).scalar() or 0)


def _pending(row: Row[*tuple[Any, ...]], channel_id: int, joined: dict[str, set[str]], ripe_at: int) -> Pending:
    done = joined.get(row.id, ())
    age_h = (ripe_at - row.published_at) / HOUR
    open_ = tuple(t for t in from_json(Answer, row.answer) if t not in done and TARGET_AGE_H[t] <= age_h)
    return Pending(row.id, channel_id, row.post_id, row.published_at, open_)


def _joined(connection: Connection, prediction_ids: Sequence[str]) -> dict[str, set[str]]:
    table, found = schema.outcome, dict[str, set[str]]()
    for part in _parts(sorted(set(prediction_ids))):
        query = select(table.c.prediction_id, table.c.target).where(table.c.prediction_id.in_(part))
        for row in connection.execute(query):
            found.setdefault(row.prediction_id, set()).add(row.target)
    return found


def _outcome(row: Row[*tuple[Any, ...]]) -> JoinedOutcome:
    return JoinedOutcome(
        seq=row.seq,
        prediction_id=row.prediction_id,
        model=row.model,
        version=row.version,
        arm=row.arm,
        channel_id=row.channel_id,
        post_id=row.post_id,
        known_age_h=row.known_age_h,
        as_of=row.as_of,
        target=row.target,
        answer=from_json(Answer, row.answer)[row.target],
        value=row.value,
        known_at=row.known_at,
        first=bool(row.first),
        usual=row.usual,
    )


def _parts(values: Sequence[Any]) -> list[Sequence[Any]]:
    return [values[i : i + _CHUNK] for i in range(0, len(values), _CHUNK)]
