"""What the prediction log says of two versions: executions and failures, routing keys, pairs, outcomes that are due.

Cursors are sequence numbers in order of commit: a reader that passes on the last one it got misses nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import ColumnElement, Row, and_, case, exists, func, select

from core.codec import from_json
from core.schemas.predictions import Quantiles, Target
from core.store import schema
from core.store.database import Database
from core.store.predictions import Answer

Side = Literal["stable", "canary"]
#: Milliseconds above which an answer is called slow, by name of the count.
Limits = Mapping[str, float]

_SIDES: dict[str, tuple[Side, bool]] = {  # arm: who was asked first, and whether it failed
    "stable": ("stable", False),
    "failed": ("stable", True),
    "canary": ("canary", False),
    "rescued": ("canary", True),
}


@dataclass(frozen=True, slots=True)
class LogEnds:
    """Last sequence numbers; 0: the table is empty."""

    event: int
    prediction: int
    shadow: int
    outcome: int


@dataclass(frozen=True, slots=True)
class Executed:
    """Executions of one version at one known age; `events`: how many failed, timed out, were invalid or slow.

    first: of requests, by the version asked first; else by the one that helped out, or in the background.
    """

    side: Side
    known_age_h: int
    n: int
    events: dict[str, int]
    first: bool = True


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


@dataclass(frozen=True, slots=True)
class Throughput:
    """What passed since a moment: first attempts, failures of stable among them, posts that got an outcome."""

    requests: int
    stable_n: int
    stable_errors: int
    posts: int
    span_s: float  # between the first and the last request
    label_delay_s: float  # mean time from a request to its outcome
    timeouts: int  # of stable
    invalid: int


@dataclass(frozen=True)
class EvidenceLog:
    """Reads over the tables of predictions, shadow scores, outcomes and arrived data, of all tenants."""

    database: Database

    def ends(self) -> LogEnds:
        """Where the logs end now."""
        tables = (schema.event, schema.prediction, schema.shadow_score, schema.outcome)
        with self.database.read() as connection:
            event, prediction, shadow, outcome = (
                connection.execute(select(func.max(table.c.seq))).scalar() or 0 for table in tables
            )
        return LogEnds(event, prediction, shadow, outcome)

    def first_attempts(
        self, model: str, after: int, epochs: Collection[int] | None = None, slow_ms: Limits | None = None
    ) -> tuple[tuple[Executed, ...], int]:
        """Executions for requests after a sequence number, under some splits if given; and the last number.

        A rescued request is a failure of the canary, and beside it an execution of the stable version that went well
        (where that failed too, it has a row of its own).
        """
        p = schema.prediction
        answered = func.sum(case((p.c.answer != "{}", 1), else_=0)).label("answered")
        query = (
            select(p.c.arm, p.c.epoch, p.c.known_age_h, func.count().label("n"), func.max(p.c.seq).label("last"))
            .add_columns(answered, *_kinds(p, slow_ms))
            .where(and_(p.c.seq > after, p.c.model == model))
            .group_by(p.c.arm, p.c.epoch, p.c.known_age_h)
        )
        with self.database.read() as connection:
            found = connection.execute(query).all()
        last = max([after, *(row.last for row in found)])
        wanted = [row for row in found if epochs is None or row.epoch in epochs]
        rescues = [row for row in wanted if row.arm == "rescued" and row.answered]
        none = dict.fromkeys(("errors", "timeouts", "invalid", *(slow_ms or ())), 0)
        asked = [_executed(row, *_SIDES[row.arm], slow_ms) for row in wanted]
        helped = [Executed("stable", row.known_age_h, int(row.answered), none, first=False) for row in rescues]
        return (*asked, *helped), last

    def background(
        self, model: str, version: int, side: Side, after: int, slow_ms: Limits | None = None
    ) -> tuple[tuple[Executed, ...], int]:
        """Background scorings by a version after a sequence number (of shadow scores), and the last number."""
        s, p = schema.shadow_score, schema.prediction
        query = (
            select(s.c.answer.is_(None).label("failed"), p.c.known_age_h, func.count().label("n"))
            .add_columns(func.max(s.c.seq).label("last"), *_kinds(s, slow_ms))
            .join_from(s, p, p.c.id == s.c.prediction_id)
            .where(and_(s.c.seq > after, s.c.model == model, s.c.version == version))
            .group_by(s.c.answer.is_(None), p.c.known_age_h)
        )
        with self.database.read() as connection:
            found = connection.execute(query).all()
        last = max([after, *(row.last for row in found)])
        return tuple(replace(_executed(row, side, bool(row.failed), slow_ms), first=False) for row in found), last

    def new_keys(self, model: str, epoch: int, after: int, until: int) -> dict[Side, int]:
        """Channels first seen under a split in (after, until], by the side they were sent to; pinned ones left out."""
        p, earlier = schema.prediction, schema.prediction.alias("earlier")
        under = and_(p.c.model == model, p.c.epoch == epoch, p.c.pinned.is_(False))
        first = (
            select(p.c.channel_id, func.min(p.c.seq).label("seq"))
            .where(and_(under, p.c.seq > after, p.c.seq <= until))
            .group_by(p.c.channel_id)
            .subquery()
        )
        before = exists().where(
            and_(
                earlier.c.model == model,
                earlier.c.epoch == epoch,
                earlier.c.channel_id == first.c.channel_id,
                earlier.c.seq <= after,
                earlier.c.pinned.is_(False),
            )
        )
        query = select(p.c.arm, func.count().label("n")).join_from(p, first, first.c.seq == p.c.seq)
        keys: dict[Side, int] = {"stable": 0, "canary": 0}
        with self.database.read() as connection:
            for row in connection.execute(query.where(~before).group_by(p.c.arm)):
                keys[_SIDES[row.arm][0]] += row.n
        return keys

    def score_times(self, model: str, version: int, limit: int) -> tuple[float, ...]:
        """The newest scoring times of a version in milliseconds, of requests and background scorings; at most limit."""
        p, s = schema.prediction, schema.shadow_score
        found: list[float] = []
        with self.database.read() as connection:
            for table, extra in ((p, (p.c.arm.in_(("stable", "canary")),)), (s, ())):
                where = and_(table.c.model == model, table.c.version == version, table.c.score_ms.is_not(None), *extra)
                query = select(table.c.score_ms).where(where).order_by(table.c.seq.desc()).limit(limit - len(found))
                found += connection.execute(query).scalars()
        return tuple(found)

    def pairs(self, model: str, stable: int, challenger: int, after: int) -> tuple[tuple[Pair, ...], int]:
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
            .where(and_(o.c.seq > after, p.c.model == model))
            .order_by(o.c.seq)
        )
        with self.database.read() as connection:
            found = connection.execute(query).all()
        last = max([after, *(row.seq for row in found)])
        return tuple(pair for row in found if (pair := _pair(row, stable, challenger)) is not None), last

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

    def due(
        self, model: str, epochs: tuple[int, int], published: tuple[int, int], targets: Collection[str]
    ) -> tuple[int, int]:
        """Posts published in (from, until] and asked about under splits from the first to the last given one.

        Returns how many there are, and how many of them have an outcome of one of the targets.
        """
        p, o = schema.prediction, schema.outcome
        labelled = func.max(case((o.c.seq.is_not(None), 1), else_=0)).label("labelled")
        joined = and_(o.c.prediction_id == p.c.id, o.c.target.in_(targets))
        query = (
            select(p.c.channel_id, p.c.post_id, labelled)
            .outerjoin_from(p, o, joined)
            .where(and_(p.c.model == model, p.c.epoch.between(*epochs), p.c.post_id.is_not(None), p.c.answer != "{}"))
            .where(and_(p.c.published_at > published[0], p.c.published_at <= published[1]))
            .group_by(p.c.channel_id, p.c.post_id)
        )
        with self.database.read() as connection:
            found = [row.labelled for row in connection.execute(query)]
        return len(found), sum(found)

    def late(self, model: str, epochs: tuple[int, int], after: int) -> int:
        """Outcomes of predictions under some splits that came after a sequence number (of outcomes)."""
        p, o = schema.prediction, schema.outcome
        query = (
            select(func.count())
            .select_from(o)
            .join(p, p.c.id == o.c.prediction_id)
            .where(and_(o.c.seq > after, p.c.model == model, p.c.epoch.between(*epochs)))
        )
        with self.database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def throughput(self, model: str, since: int, targets: Collection[str]) -> Throughput:
        """First attempts since a moment of the data's time, and the posts whose outcome was joined since."""
        p, o = schema.prediction, schema.outcome
        stable = p.c.arm.in_(("stable", "failed"))
        recent = and_(p.c.model == model, p.c.at >= since)
        counts = select(
            func.count().label("n"),
            func.coalesce(func.sum(case((stable, 1), else_=0)), 0).label("stable"),
            func.coalesce(func.sum(case((p.c.arm == "failed", 1), else_=0)), 0).label("failed"),
            *(
                func.coalesce(func.sum(case((and_(stable, p.c.failure == kind), 1), else_=0)), 0).label(kind)
                for kind in ("timeout", "invalid")
            ),
            func.min(p.c.at).label("first"),
            func.max(p.c.at).label("last"),
        ).where(recent)
        posts = (
            select(p.c.channel_id, p.c.post_id)
            .distinct()
            .join_from(o, p, p.c.id == o.c.prediction_id)
            .where(and_(p.c.model == model, o.c.joined_at >= since, o.c.target.in_(targets)))
            .subquery()
        )
        delay = (
            select(func.avg(o.c.joined_at - p.c.at))
            .join_from(o, p, p.c.id == o.c.prediction_id)
            .where(and_(p.c.model == model, o.c.joined_at >= since, o.c.target.in_(targets)))
        )
        with self.database.read() as connection:
            row = connection.execute(counts).one()
            settled = connection.execute(select(func.count()).select_from(posts)).scalar_one()
            waited = connection.execute(delay).scalar()
        return Throughput(
            requests=row.n,
            stable_n=int(row.stable),
            stable_errors=int(row.failed),
            posts=int(settled),
            span_s=float(row.last - row.first) if row.n else 0.0,
            label_delay_s=max(0.0, float(waited or 0.0)),
            timeouts=int(row.timeout),
            invalid=int(row.invalid),
        )


def _kinds(table: Any, slow_ms: Limits | None) -> list[ColumnElement[int]]:
    """How many of a group's rows timed out, were invalid, or took longer than each limit."""
    conditions = {"timeouts": table.c.failure == "timeout", "invalid": table.c.failure == "invalid"}
    conditions |= {name: table.c.score_ms > limit for name, limit in (slow_ms or {}).items()}
    return [func.sum(case((condition, 1), else_=0)).label(name) for name, condition in conditions.items()]


def _executed(row: Row[Any], side: Side, failed: bool, slow_ms: Limits | None) -> Executed:
    events = {name: int(getattr(row, name)) for name in ("timeouts", "invalid", *(slow_ms or ()))}
    return Executed(side, row.known_age_h, row.n, {"errors": row.n if failed else 0, **events})


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
