"""What people say of predictions: ratings and corrections, one row a key."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from core.codec import from_json
from core.errors import Conflict, InvalidInput, NotFound
from core.schemas.predictions import FeedbackAck, FeedbackItem, Quantiles, Target
from core.store import schema
from core.store.database import Database
from core.store.ids import derived_id, new_id

_CHUNK = 500
_MOST_VIEWS = 2.0**53  # beyond it a float is no count
_LONGEST_KEY = 200


@dataclass(frozen=True)
class FeedbackStore:
    """Feedback of one tenant."""

    database: Database
    tenant: str = "default"

    def add(self, items: Sequence[FeedbackItem], at: int) -> tuple[FeedbackAck, ...]:
        """Commit all items or none; an answer for each, in order.

        Raises InvalidInput (value out of range, a target that was not predicted, no key), NotFound (no such
        prediction for this tenant), Conflict (the key was used for something else).
        """
        if not items:
            return ()
        for item in items:
            _check(item)
        table = schema.feedback
        rows = [self._values(item, at) for item in items]
        with self.database.write() as connection:
            predicted = self._predicted(connection, {item.prediction_id for item in items})
            for item in items:
                _check_against(item, predicted.get(item.prediction_id))
            new = self.database.insert(table).on_conflict_do_nothing(index_elements=[table.c.request_key])
            connection.execute(new, rows)
            stored = self._by_key(connection, [row["request_key"] for row in rows])
            return tuple(_ack(item, row, stored[row["request_key"]]) for item, row in zip(items, rows, strict=True))

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
                FeedbackItem(row.prediction_id, row.kind, row.value, "", row.target)
                for row in connection.execute(query)
            )

    def _values(self, item: FeedbackItem, at: int) -> dict[str, Any]:
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
        }

    def _predicted(self, connection: Connection, ids: Collection[str]) -> dict[str, tuple[Target, ...]]:
        table, found = schema.prediction, dict[str, tuple[Target, ...]]()
        for part in _parts(sorted(ids)):
            query = select(table.c.id, table.c.answer).where(table.c.id.in_(part), table.c.tenant == self.tenant)
            for row in connection.execute(query):
                found[row.id] = tuple(from_json(dict[Target, Quantiles], row.answer))
        return found

    def _by_key(self, connection: Connection, keys: Sequence[str]) -> dict[str, Row[*tuple[Any, ...]]]:
        table, found = schema.feedback, dict[str, Row[*tuple[Any, ...]]]()
        for part in _parts(sorted(set(keys))):
            for row in connection.execute(select(table).where(table.c.request_key.in_(part))):
                found[row.request_key] = row
        return found


def _check(item: FeedbackItem) -> None:
    """What can be said of an item without the prediction."""
    if not item.key.strip() or len(item.key) > _LONGEST_KEY:
        raise InvalidInput(f"feedback needs a key of 1 to {_LONGEST_KEY} characters", field="key")
    if item.kind not in ("rating", "correction"):
        raise InvalidInput(f"kind is rating or correction, not {item.kind!r}", field="kind")
    if not math.isfinite(item.value):
        raise InvalidInput(f"value must be a finite number, not {item.value}", field="value")
    if item.kind == "rating" and not 1 <= item.value <= 5:
        raise InvalidInput(f"a rating is a number from 1 to 5, not {item.value:g}", field="value")
    if item.kind == "correction" and not 0 <= item.value <= _MOST_VIEWS:
        raise InvalidInput(f"a correction is a number of views from 0 on, not {item.value:g}", field="value")
    if item.kind == "correction" and item.target is None:
        raise InvalidInput("a correction names the target whose value it gives", field="target")


def _check_against(item: FeedbackItem, predicted: tuple[Target, ...] | None) -> None:
    if predicted is None:
        raise NotFound(f"no prediction {item.prediction_id!r}", prediction=item.prediction_id)
    if item.target is not None and item.target not in predicted:
        known = ", ".join(predicted) or "nothing: it failed"
        raise InvalidInput(f"{item.target} is not what {item.prediction_id} predicted ({known})", field="target")


def _ack(item: FeedbackItem, row: dict[str, Any], stored: Row[*tuple[Any, ...]]) -> FeedbackAck:
    said = (item.prediction_id, item.kind, item.target, float(item.value))
    if said != (stored.prediction_id, stored.kind, stored.target, stored.value):
        raise Conflict(
            f"the key {item.key!r} was used for other feedback: use a new key for each", prediction=item.prediction_id
        )
    return FeedbackAck(stored.id, duplicate=stored.id != row["id"])


def _parts(values: Sequence[Any]) -> list[Sequence[Any]]:
    return [values[i : i + _CHUNK] for i in range(0, len(values), _CHUNK)]
