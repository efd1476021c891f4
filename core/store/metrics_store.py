"""Figures of versions in service as sums and sketches in time buckets, and the part of the log they are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, and_, func, select

from core.codec import from_json
from core.schemas.models import Signature
from core.schemas.predictions import Arm
from core.sketch import LatencySketch
from core.store import schema
from core.store.database import Database


class Point(NamedTuple):
    """Where a sum belongs; `at` is the start of its bucket on the data's timeline."""

    model: str
    version: int
    segment: str
    metric: str
    at: int


class Sum(NamedTuple):
    """Observations and their total: two sums of different times add up."""

    n: int
    total: float

    @property
    def mean(self) -> float:
        """NaN without observations."""
        return self.total / self.n if self.n else float("nan")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What counting needs of a row of the prediction log."""

    seq: int
    model: str
    version: int
    arm: Arm
    epoch: int
    answered: bool
    latency_ms: float
    at: int
    known_age_h: int = 0
    usual: float | None = None
    features: bytes | None = None


class Place(NamedTuple):
    """Where a sketch belongs; `at` is the start of its bucket."""

    model: str
    version: int
    segment: str
    at: int


@dataclass(frozen=True)
class MetricStore:
    """Sums by model, version, segment, metric and bucket; latency sketches likewise."""

    database: Database

    def add(self, connection: Connection, sums: Mapping[Point, Sum]) -> None:
        """Add to what is stored, in the caller's transaction (which must hold the cursor of what was counted)."""
        if not sums:
            return
        table = schema.metric_point
        new = self.database.insert(table)
        added = new.on_conflict_do_update(
            index_elements=[column.name for column in table.primary_key.columns],
            set_={"n": table.c.n + new.excluded.n, "total": table.c.total + new.excluded.total},
        )
        # In key order, so that two writers cannot wait for each other in a circle.
        connection.execute(added, [{**point._asdict(), **sums[point]._asdict()} for point in sorted(sums)])

    def add_sketches(self, connection: Connection, sketches: Mapping[Place, LatencySketch]) -> None:
        """Merge with what is stored, in the caller's transaction (which must hold the cursor of what was counted)."""
        table = schema.latency_sketch
        key = [column.name for column in table.primary_key.columns]
        for place in sorted(sketches):
            here = and_(*(table.c[name] == value for name, value in place._asdict().items()))
            stored = connection.execute(select(table.c.data).where(here)).scalar()
            merged = sketches[place]
            if stored is not None:
                merged = LatencySketch.load(bytes(stored))
                merged.merge(sketches[place])
            new = self.database.insert(table).values(**place._asdict(), data=merged.dump())
            connection.execute(new.on_conflict_do_update(index_elements=key, set_={"data": new.excluded.data}))

    def sketches(self, model: str, version: int) -> dict[str, LatencySketch]:
        """Latencies over all time, by segment."""
        table = schema.latency_sketch
        query = (
            select(table.c.segment, table.c.data)
            .where(table.c.model == model, table.c.version == version)
            .order_by(table.c.segment, table.c.at)
        )
        found: dict[str, LatencySketch] = {}
        with self.database.read() as connection:
            for segment, data in connection.execute(query):
                found.setdefault(segment, LatencySketch()).merge(LatencySketch.load(bytes(data)))
        return found

    def buckets(
        self, model: str, version: int | None, metrics: Sequence[str], since: int, segment: str | None = None
    ) -> dict[str, dict[int, Sum]]:
        """Sums of some metrics from a moment on, by metric and bucket; version, segment None: over all of them."""
        table = schema.metric_point
        query = (
            select(table.c.metric, table.c.at, func.sum(table.c.n).label("n"), func.sum(table.c.total).label("total"))
            .where(table.c.model == model, table.c.metric.in_(metrics), table.c.at >= since)
            .group_by(table.c.metric, table.c.at)
            .order_by(table.c.metric, table.c.at)
        )
        if version is not None:
            query = query.where(table.c.version == version)
        if segment is not None:
            query = query.where(table.c.segment == segment)
        found: dict[str, dict[int, Sum]] = {metric: {} for metric in metrics}
        with self.database.read() as connection:
            for row in connection.execute(query):
                found[row.metric][row.at] = Sum(int(row.n), float(row.total))
        return found

    def inputs_of(self, model: str, version: int) -> tuple[str, ...]:
        """Names of a version's inputs, in order; none for a version that nobody registered."""
        table = schema.model_version
        query = select(table.c.signature).where(table.c.model == model, table.c.version == version)
        with self.database.read() as connection:
            signature = connection.execute(query).scalar()
        return () if signature is None else from_json(Signature, signature).features

    def totals(self, model: str, version: int) -> dict[tuple[str, str], Sum]:
        """Sums over all time by (segment, metric)."""
        table = schema.metric_point
        query = (
            select(table.c.segment, table.c.metric, func.sum(table.c.n), func.sum(table.c.total))
            .where(table.c.model == model, table.c.version == version)
            .group_by(table.c.segment, table.c.metric)
        )
        with self.database.read() as connection:
            return {(s, metric): Sum(int(n), float(total)) for s, metric, n, total in connection.execute(query)}

    def series(self, model: str, version: int | None, metric: str) -> dict[str, dict[int, Sum]]:
        """Sums of a metric by segment and bucket, in order of time; version None: over all versions."""
        table = schema.metric_point
        query = (
            select(table.c.segment, table.c.at, func.sum(table.c.n), func.sum(table.c.total))
            .where(table.c.model == model, table.c.metric == metric)
            .group_by(table.c.segment, table.c.at)
            .order_by(table.c.segment, table.c.at)
        )
        if version is not None:
            query = query.where(table.c.version == version)
        found: dict[str, dict[int, Sum]] = {}
        with self.database.read() as connection:
            for segment, at, n, total in connection.execute(query):
                found.setdefault(segment, {})[at] = Sum(int(n), float(total))
        return found

    def attempts(self, after_seq: int, limit: int = 5000) -> tuple[Attempt, ...]:
        """The next rows of the prediction log behind a number, of every tenant."""
        table = schema.prediction
        query = (
            select(table.c.seq, table.c.model, table.c.version, table.c.arm, table.c.epoch)
            .add_columns((table.c.answer != "{}").label("answered"), table.c.latency_ms, table.c.at)
            .add_columns(table.c.known_age_h, table.c.usual, table.c.features)
            .where(table.c.seq > after_seq)
            .order_by(table.c.seq)
            .limit(limit)
        )
        with self.database.read() as connection:
            return tuple(
                Attempt(
                    seq=r.seq,
                    model=r.model,
                    version=r.version,
                    arm=r.arm,
                    epoch=r.epoch,
                    answered=bool(r.answered),
                    latency_ms=r.latency_ms,
                    at=r.at,
                    known_age_h=r.known_age_h,
                    usual=r.usual,
                    features=None if r.features is None else bytes(r.features),
                )
                for r in connection.execute(query)
            )

    def canary_of(self, model: str, epoch: int, stable: int) -> int | None:
        """The version on trial under a split: a rescued request's row names only the version that helped out.

        None where the split was over before its canary left any trace.
        """
        p, s, t = schema.prediction, schema.shadow_score, schema.traffic_split
        traces = (
            select(p.c.version).where(and_(p.c.model == model, p.c.epoch == epoch, p.c.arm == "canary")),
            select(s.c.version).where(and_(s.c.model == model, s.c.epoch == epoch, s.c.version != stable)),
            select(t.c.canary).where(and_(t.c.model == model, t.c.epoch == epoch, t.c.canary.is_not(None))),
        )
        with self.database.read() as connection:
            for trace in traces:
                version = connection.execute(trace.limit(1)).scalar()
                if version is not None:
                    return int(version)
        return None
