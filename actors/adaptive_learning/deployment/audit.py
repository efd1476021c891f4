"""Decides whether a stored roll-out is what its log makes of it, and reads the log back for callers."""

from __future__ import annotations

import json

from actors.adaptive_learning.deployment.retrace import retrace
from core.codec import to_json
from core.errors import InvalidInput, StorageBroken
from core.schemas.rollouts import Phase, RolloutEvent, label
from core.store.rollouts import DIGEST, RolloutStore


def events(store: RolloutStore, rollout_id: str) -> tuple[RolloutEvent, ...]:
    """The log, oldest first; NotFound, or StorageBroken when a row was changed after it was written.

    A row that changed nothing but figures holds its record's hash alone: phase, reason and holds are as before it.
    """
    store.load(rollout_id)
    found, phase, reason, holds = [], "", "", ()
    for row in store.events(rollout_id):
        if not row.record.startswith(DIGEST):
            record = json.loads(row.record)
            phase, reason = label(Phase(record["phase"]), record["weight"]), record["reason"]
            holds = tuple(record["holds"])
        orders = tuple(json.loads(row.commands))
        found.append(RolloutEvent(row.seq, row.at, json.loads(row.event), phase, orders, row.hash, reason, holds))
    return tuple(found)


def verify(store: RolloutStore, rollout_id: str) -> int:
    """Step through the stored events again; the number of rows.

    NotFound. StorageBroken where a row was changed, moved or taken away, also from the end: the last must lead to the
    record that the roll-out itself is stored with. And where this program cannot read a row or decides otherwise: then
    the row was forged with its hash, or another version of the program wrote it.
    """
    stored = store.load(rollout_id)
    rows, seq, record = store.events(rollout_id), 0, None
    try:
        for at in retrace(rows):
            seq, record = seq + 1, at.record
            if at.row.seq != seq:
                raise _broken(rollout_id, f"event {seq} is missing", seq)
            if not at.identical:
                raise _broken(rollout_id, f"event {seq} does not lead to its record: {_WHY}", seq)
    except InvalidInput as error:
        raise _broken(rollout_id, f"event {seq + 1} cannot be read ({error}): {_WHY}", seq + 1) from error
    if record is None or to_json(record) != stored.record:
        raise _broken(rollout_id, f"its record is not where the log ends, at event {seq}", seq)
    return len(rows)


_WHY = "another version of the program wrote it, or it was changed together with its hash"


def _broken(rollout_id: str, what: str, seq: int) -> StorageBroken:
    return StorageBroken(f"roll-out {rollout_id}: {what}", seq=seq)
