"""What people say of predictions: ratings and corrections, one row a key, and a count of what became of every item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, func, select

from core.clock import HOUR
from core.codec import from_json
from core.errors import Conflict, InvalidInput
from core.schemas.predictions import (
    TARGET_AGE_H,
    Correction,
    FeedbackAck,
    FeedbackItem,
    FeedbackStatus,
    FeedbackSummary,
    Quantiles,
    Target,
    VersionFeedback,
)
from core.schemas.rollouts import TERMINAL
from core.store import schema
from core.store.database import Database
from core.store.feedback_rules import Predicted, refusal, status_of
from core.store.ids import derived_id, new_id

_CHUNK = 500
_ID = 32  # characters of a prediction's id
#: Items in one call.
MOST = 10_000


@dataclass(frozen=True)
class FeedbackStore:
    """Feedback of one tenant."""

    database: Database
    tenant: str = "default"

    def add(self, items: Sequence[FeedbackItem], at: int) -> tuple[FeedbackAck, ...]:
        """Store what is good, refuse what is not; an answer for each item, in order; one commit for rows and counts.

        An item's answer does not depend on the others, but for keys used twice. Raises InvalidInput for more than MOST
        items, of which nothing is stored then.
        """
        if not items:
            return ()
        if len(items) > MOST:
            raise InvalidInput(f"at most {MOST:,} items at once, not {len(items):,}: send them in parts", field="items")
        table = schema.feedback
        with self.database.write() as connection:
            predicted = self._predicted(connection, {item.prediction_id for item in items})
            answers: list[FeedbackAck | dict[str, Any]] = []
            for item in items:
                found = predicted.get(item.prediction_id)
                refused = refusal(item, found, at)
                if refused is not None:
                    answers.append(FeedbackAck(None, False, refused.status, refused.error.problem()))
                elif found is not None:
                    answers.append(self._values(item, at, status_of(item, found, at)))
            rows = [answer for answer in answers if isinstance(answer, dict)]
            if rows:
                new = self.database.insert(table).on_conflict_do_nothing(index_elements=[table.c.request_key])
                connection.execute(new, rows)
            stored = self._by_key(connection, [row["request_key"] for row in rows])
            acks = tuple(
                _ack(answer, stored[answer["request_key"]]) if isinstance(answer, dict) else answer
                for answer in answers
            )
            self._count(connection, Counter(ack.status for ack in acks))
        return acks

    def of(self, prediction_id: str) -> tuple[FeedbackItem, ...]:
        """Everything said of a prediction, oldest first; keys are not told."""
        table = schema.feedback
        query = (
            select(table)
            .where(table.c.prediction_id == prediction_id, table.c.tenant == self.tenant)
            .order_by(table.c.at, table.c.id)
        )
        with self.database.read() as connection:
            return tuple(
                FeedbackItem(row.prediction_id, row.kind, row.value, "", row.target, row.observed_at)
                for row in connection.execute(query)
            )

    def tally(self) -> dict[FeedbackStatus, int]:
        """Items by what became of them, since the beginning."""
        table = schema.feedback_tally
        query = select(table.c.status, table.c.n).where(table.c.tenant == self.tenant).order_by(table.c.status)
        with self.database.read() as connection:
            return {status: int(n) for status, n in connection.execute(query)}

    def summary(self) -> FeedbackSummary:
        """The tally, and ratings and corrections by the version that answered."""
        f, p = schema.feedback, schema.prediction
        query = (
            select(p.c.model, p.c.version, f.c.kind, f.c.value, func.count().label("n"))
            .join_from(f, p, p.c.id == f.c.prediction_id)
            .where(f.c.tenant == self.tenant, f.c.kind == "rating")
            .group_by(p.c.model, p.c.version, f.c.kind, f.c.value)
        )
        corrected = (
            select(p.c.model, p.c.version, func.count().label("n"))
            .join_from(f, p, p.c.id == f.c.prediction_id)
            .where(f.c.tenant == self.tenant, f.c.kind == "correction")
            .group_by(p.c.model, p.c.version)
        )
        ratings: dict[tuple[str, int], Counter[float]] = {}
        corrections = Counter[tuple[str, int]]()
        with self.database.read() as connection:
            for row in connection.execute(query):
                ratings.setdefault((row.model, row.version), Counter())[row.value] += row.n
            for row in connection.execute(corrected):
                corrections[row.model, row.version] += row.n
        versions = tuple(
            _version(*key, ratings.get(key, Counter()), corrections[key]) for key in sorted({*ratings, *corrections})
        )
        return FeedbackSummary(self.tally(), versions)

    def corrections(self, until: int) -> tuple[Correction, ...]:
        """Corrections of stored posts that were there, and observed, by a moment, oldest first."""
        f, p = schema.feedback, schema.prediction
        query = (
            select(f.c.id, p.c.channel_id, p.c.post_id, f.c.target, f.c.value, f.c.observed_at, f.c.at)
            .add_columns(p.c.published_at)
            .join_from(f, p, p.c.id == f.c.prediction_id)
            .where(f.c.tenant == self.tenant, f.c.kind == "correction", f.c.at <= until, p.c.post_id.is_not(None))
            .order_by(f.c.at, f.c.id)
        )
        with self.database.read() as connection:
            found = tuple(_correction(row) for row in connection.execute(query))
        return tuple(correction for correction in found if correction.known_at <= until)

    def _values(self, item: FeedbackItem, at: int, status: FeedbackStatus) -> dict[str, Any]:
        return {
            "id": new_id(),
            "tenant": self.tenant,
            "prediction_id": item.prediction_id,
            "kind": item.kind,
            "target": item.target,
            "value": float(item.value),
            # Keys are a caller's own: two tenants may use the same one.
            "request_key": derived_id(self.tenant, item.key),
            "at": at,
            "status": status,
            "observed_at": item.observed_at,
        }

    def _predicted(self, connection: Connection, ids: set[str]) -> dict[str, Predicted]:
        """What is known of the predictions; ids that no prediction can have are left out."""
        p, o = schema.prediction, schema.outcome
        columns = (p.c.id, p.c.model, p.c.version, p.c.answer, p.c.published_at, p.c.at)
        found: dict[str, Predicted] = {}
        joined: dict[str, set[Target]] = {}
        decided: dict[tuple[str, int], int] = {}
        for part in _parts(sorted(id_ for id_ in ids if id_.isalnum() and len(id_) <= _ID)):
            outcomes = select(o.c.prediction_id, o.c.target).where(o.c.prediction_id.in_(part))
            for prediction_id, target in connection.execute(outcomes):
                joined.setdefault(prediction_id, set()).add(target)
            for row in connection.execute(select(*columns).where(p.c.id.in_(part), p.c.tenant == self.tenant)):
                if (row.model, row.version) not in decided:
                    decided[row.model, row.version] = _decided_at(connection, row.model, row.version)
                targets = tuple(from_json(dict[Target, Quantiles], row.answer))
                settled = frozenset(joined.get(row.id, ()))
                moment = decided[row.model, row.version]
                found[row.id] = Predicted(targets, settled, row.published_at, row.at, moment)
        return found

    def _by_key(self, connection: Connection, keys: Sequence[str]) -> dict[str, Row[*tuple[Any, ...]]]:
        table, found = schema.feedback, dict[str, Row[*tuple[Any, ...]]]()
        for part in _parts(sorted(set(keys))):
            for row in connection.execute(select(table).where(table.c.request_key.in_(part))):
                found[row.request_key] = row
        return found

    def _count(self, connection: Connection, counts: Mapping[FeedbackStatus, int]) -> None:
        table = schema.feedback_tally
        new = self.database.insert(table)
        added = new.on_conflict_do_update(index_elements=["tenant", "status"], set_={"n": table.c.n + new.excluded.n})
        # In key order, so that two writers cannot wait for each other in a circle.
        rows = [{"tenant": self.tenant, "status": status, "n": n} for status, n in sorted(counts.items())]
        connection.execute(added, rows)


def _decided_at(connection: Connection, model: str, version: int) -> int:
    """When a version was last put in charge, replaced, or its roll-out ended; 0: never."""
    r, h = schema.rollout, schema.alias_history
    ended = [phase.value for phase in TERMINAL]
    rolled = select(func.max(r.c.updated_at)).where(
        and_(r.c.model == model, r.c.challenger == version, r.c.phase.in_(ended))
    )
    moved = select(func.max(h.c.at)).where(
        and_(h.c.model == model, h.c.alias == "champion", (h.c.from_version == version) | (h.c.to_version == version))
    )
    return max(int(connection.execute(query).scalar() or 0) for query in (rolled, moved))


def _ack(row: dict[str, Any], stored: Row[*tuple[Any, ...]]) -> FeedbackAck:
    said = ("prediction_id", "kind", "target", "value", "observed_at")
    if any(row[name] != getattr(stored, name) for name in said):
        said_before = Conflict("the key was used for other feedback: use a new key for each", feedback=stored.id)
        return FeedbackAck(None, False, "conflict", said_before.problem())
    if stored.id != row["id"]:
        return FeedbackAck(stored.id, True, "duplicate")
    return FeedbackAck(stored.id, False, row["status"])


def _version(model: str, version: int, ratings: Counter[float], corrections: int) -> VersionFeedback:
    n = ratings.total()
    mean = sum(value * times for value, times in ratings.items()) / n if n else None
    stars = Counter[int]()
    for value, times in ratings.items():
        stars[round(value)] += times
    return VersionFeedback(model, version, dict(sorted(stars.items())), mean, corrections)


def _correction(row: Row[*tuple[Any, ...]]) -> Correction:
    seen = row.at if row.observed_at is None else row.observed_at
    known_at = max(seen, row.published_at + TARGET_AGE_H[row.target] * HOUR)
    return Correction(row.id, row.channel_id, row.post_id, row.target, row.value, known_at, row.at)


def _parts(values: Sequence[Any]) -> list[Sequence[Any]]:
    return [values[i : i + _CHUNK] for i in range(0, len(values), _CHUNK)]
