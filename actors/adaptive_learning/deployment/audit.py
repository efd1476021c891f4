"""Reads the audit log back, and proves that the state machine would decide the same again, bit for bit."""

from __future__ import annotations

import json
from typing import cast

from actors.adaptive_learning.deployment.events import Event
from actors.adaptive_learning.deployment.record import Record
from actors.adaptive_learning.deployment.reducer import step
from core.codec import from_json, to_json
from core.errors import StorageBroken
from core.schemas.rollouts import Phase, RolloutEvent
from core.store.rollouts import RolloutStore


def events(store: RolloutStore, rollout_id: str) -> tuple[RolloutEvent, ...]:
    """The log, oldest first; NotFound, or StorageBroken when a row was changed after it was written."""
    store.load(rollout_id)
    return tuple(
        RolloutEvent(
            seq=row.seq,
            at=row.at,
            event=json.loads(row.event),
            phase=Phase(json.loads(row.record)["phase"]),
            commands=tuple(json.loads(row.commands)),
            hash=row.hash,
        )
        for row in store.events(rollout_id)
    )


def verify(store: RolloutStore, rollout_id: str) -> int:
    """Step through the stored events again; the number of rows, StorageBroken where one leads elsewhere."""
    store.load(rollout_id)
    rows = store.events(rollout_id)
    record = from_json(Record, rows[0].record)
    for row in rows[1:]:
        record, commands = step(record, from_json(cast("type[Event]", Event), row.event))
        if (to_json(record), to_json(tuple(commands))) != (row.record, row.commands):
            raise StorageBroken(f"roll-out {rollout_id}: event {row.seq} does not lead to its record", seq=row.seq)
    return len(rows)
