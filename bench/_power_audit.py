"""What the power-loss bench finds in the database at the end: each acknowledged thing once, each figure recounted.

Recounting: the logs are copied to an empty database, where monitoring and drift start at their first row; nobody kills
them there. Whole numbers must be the same; sums of floats may be added in another order, so they may differ by 1e-9.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from sqlalchemy import Table, func, select

from actors.adaptive_learning.drift.actor import CURSOR as DRIFT
from actors.adaptive_learning.drift.actor import SERVICE, Drift
from actors.adaptive_learning.feedback.actor import ASKED, CONSUMER
from actors.adaptive_learning.monitoring.actor import ATTEMPTS, OUTCOMES, Monitoring
from actors.adaptive_learning.versioning.actor import Versioning
from bench._power_load import FEEDBACK, PREDICTIONS, Call
from core.artifacts import ArtifactStore
from core.clock import ManualClock
from core.codec import from_json, to_plain
from core.history import target_values
from core.schemas.predictions import TARGETS, Quantiles, Target
from core.sketch import LatencySketch
from core.store import migrate, schema
from core.store.channels import ChannelStore
from core.store.cursors import Cursors
from core.store.database import Database
from core.store.ids import derived_id
from core.store.series import SeriesStates

TENANT = "default"
Answer = dict[Target, Quantiles]


@dataclass
class Count:
    """Things of one kind: how many must be there, and which are not, are there too often, or say another thing."""

    expected: int = 0
    missing: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether everything is there once, as it was said."""
        return not (self.missing or self.doubled or self.differing)

    def shown(self) -> dict[str, Any]:
        """Figures, with the first few cases of each kind."""
        bad = {name: getattr(self, name) for name in ("missing", "doubled", "differing")}
        return (
            {"expected": self.expected}
            | {n: len(v) for n, v in bad.items()}
            | {"cases": list(chain(*bad.values()))[:5]}
        )


def rows(database: Database, table: Table) -> list[dict[str, Any]]:
    """A whole table."""
    with database.read() as connection:
        return [dict(row) for row in connection.execute(select(table)).mappings()]


def last_seq(database: Database, table: Table) -> int:
    """The newest number of a table; 0 for an empty one."""
    with database.read() as connection:
        return int(connection.execute(select(func.max(table.c.seq))).scalar() or 0)


def behind(database: Database) -> dict[str, tuple[int, int]]:
    """Followers that have not read all there is: where they stand, and the end."""
    ends = {
        CONSUMER: schema.event,
        ASKED: schema.prediction,
        ATTEMPTS: schema.prediction,
        OUTCOMES: schema.outcome,
        DRIFT: schema.outcome,
    }
    cursors = Cursors(database)
    found = {reader: (cursors.at(reader), last_seq(database, table)) for reader, table in ends.items()}
    return {reader: (at, end) for reader, (at, end) in found.items() if at != end}


# ---------------------------------------------------------------- what callers were told


def predictions(database: Database, calls: Sequence[Call]) -> Count:
    """The prediction log beside what callers were told."""
    asked = {derived_id(TENANT, call.key): call for call in calls if call.path == PREDICTIONS and call.answer}
    count = Count(len(asked))
    stored: dict[str, list[dict[str, Any]]] = {}
    for row in rows(database, schema.prediction):
        stored.setdefault(row["request_key"] or f"no key, {row['id']}", []).append(row)
    count.doubled += [key for key, found in stored.items() if len(found) > 1 or key not in asked]
    for key, call in asked.items():
        said: Any = call.answer
        found = next((row for row in stored.get(key, ()) if row["id"] == said["id"]), None)
        if found is None:
            count.missing.append(call.key)
        elif to_plain(from_json(Answer, found["answer"])) != said["targets"] or found["version"] != said["version"]:
            count.differing.append(f"{call.key}: {found['answer']} instead of {said['targets']}")
    return count


def feedback(database: Database, calls: Sequence[Call]) -> Count:
    """Feedback beside what callers were told, and the tally beside the feedback."""
    given = {derived_id(TENANT, call.key): call for call in calls if call.path == FEEDBACK and call.answer}
    count = Count(len(given))
    stored = rows(database, schema.feedback)
    times = Counter(row["request_key"] for row in stored)
    count.doubled += [key for key, n in times.items() if n > 1 or key not in given]
    by_id = {row["id"]: row for row in stored}
    for key, call in given.items():
        said: Any = call.answer
        row, item = by_id.get(said["id"]), call.body["items"][0]
        if row is None or row["request_key"] != key:
            count.missing.append(call.key)
        elif any(row[name] != item.get(name) for name in ("prediction_id", "kind", "target", "value")):
            count.differing.append(f"{call.key}: {row} instead of {item}")
    tally = {row["status"]: row["n"] for row in rows(database, schema.feedback_tally) if row["status"] != "duplicate"}
    if tally != Counter(row["status"] for row in stored):
        count.differing.append(f"the tally says {tally} of {len(stored)} rows")
    return count


def readings(database: Database, staging: Database, fed: int) -> Count:
    """Stored posts and readings beside those that a feed acknowledged, or that the stored clock let in."""
    now = _now(database)
    count = Count()
    if now < fed:
        count.missing.append(f"the clock stands at {now}, acknowledged was {fed}")
    for table, when in ((schema.post, "published_at"), (schema.post_snapshot, "ts")):
        key = [column.name for column in table.primary_key.columns]
        due = {_key(row, key): row for row in rows(staging, table) if row[when] <= now}
        there = rows(database, table)
        count.expected += len(due)
        count.doubled += [f"{table.name} {_key(row, key)}" for row in there if _key(row, key) not in due]
        count.missing += [f"{table.name} {k}" for k in due.keys() - {_key(row, key) for row in there}]
        count.differing += [f"{table.name} {row}" for row in there if due.get(_key(row, key), row) != row]
    return count


# ---------------------------------------------------------------- what followers made of it


def outcomes(database: Database) -> Count:
    """Joined outcomes beside those that the log and the stored readings call for."""
    now, store = _now(database), ChannelStore(database)
    values: dict[tuple[int, int, str], float] = {}
    for channel in store.channels():
        history = store.history(channel, counts=True)
        for target in TARGETS:
            known = target_values(history, target)
            for i in (known.known_at <= now).nonzero()[0]:
                values[channel.id, int(history.post_ids[i]), target] = float(known.values[i])
    due = {
        (row["id"], target): values[row["channel_id"], row["post_id"], target]
        for row in rows(database, schema.prediction)
        if row["post_id"] is not None
        for target in from_json(Answer, row["answer"])
        if (row["channel_id"], row["post_id"], target) in values
    }
    count, stored = Count(len(due)), rows(database, schema.outcome)
    times = Counter((row["prediction_id"], row["target"]) for row in stored)
    count.doubled += [str(place) for place, n in times.items() if n > 1 or place not in due]
    count.missing += [str(place) for place in due if place not in times]
    for row in stored:
        wanted = due.get((row["prediction_id"], row["target"]))
        if wanted is not None and not math.isclose(wanted, row["value"], rel_tol=1e-9):
            count.differing.append(f"{row['prediction_id']} {row['target']}: {row['value']} instead of {wanted}")
    return count


@dataclass(frozen=True)
class Recount:
    """Figures of an empty database into which the logs were copied."""

    database: Database

    @classmethod
    def of(cls, database: Database, artifacts: ArtifactStore, folder: Path) -> Recount:
        """Copy, and let monitoring and drift count from the first row."""
        fresh = Database(f"sqlite:///{folder / 'recount.db'}")
        migrate.upgrade(fresh)
        clock = ManualClock(time=_now(database))
        copied = (schema.model_version, schema.traffic_split, schema.shadow_score, schema.prediction)
        _copy(database, fresh, copied)
        drift = Drift(fresh, artifacts, clock, Versioning(fresh, clock, artifacts))
        for row in rows(database, schema.reference_window):
            drift.set_reference(row["model"], row["version"])
        _copy(database, fresh, (schema.outcome,))
        drift.catch_up()
        Monitoring(fresh, clock).catch_up()
        return cls(fresh)

    def sums(self, database: Database) -> Count:
        """Sums by time bucket, and that the requests counted are those of the log."""
        key = [column.name for column in schema.metric_point.primary_key.columns]
        ours, again = (
            {_key(row, key): (row["n"], row["total"]) for row in rows(each, schema.metric_point)}
            for each in (database, self.database)
        )
        count = _compared(ours, again, lambda a, b: a[0] == b[0] and math.isclose(a[1], b[1], rel_tol=1e-9))
        logged = len(rows(database, schema.prediction))
        counted = sum(n for place, (n, _) in ours.items() if place[2:4] == ("", "unserved"))
        if counted != logged:
            count.differing.append(f"{counted} requests are counted, {logged} are in the log")
        return count

    def sketches(self, database: Database) -> Count:
        """Latency histograms, bin by bin."""
        ours, again = (
            {
                (row["model"], row["version"], row["segment"], row["at"]): LatencySketch.load(bytes(row["data"])).dump()
                for row in rows(each, schema.latency_sketch)
            }
            for each in (database, self.database)
        )
        return _compared(ours, again, lambda a, b: a == b)

    def detectors(self, database: Database) -> Count:
        """States of the detectors: the same outcomes in the same order leave the same state."""
        ours, again = (SeriesStates(each).all(SERVICE) for each in (database, self.database))
        return _compared(ours, again, lambda a, b: a == b)


def _compared(ours: Mapping[Any, Any], again: Mapping[Any, Any], same: Any) -> Count:
    count = Count(len(again))
    count.missing += [str(place) for place in again if place not in ours]
    count.doubled += [str(place) for place in ours if place not in again]
    count.differing += [
        f"{place}: {str(ours[place])[:200]} instead of {str(value)[:200]}"
        for place, value in again.items()
        if place in ours and not same(ours[place], value)
    ]
    return count


def _copy(source: Database, target: Database, tables: Iterable[Table]) -> None:
    for table in tables:
        found = rows(source, table)
        if found:
            with target.write() as connection:
                connection.execute(table.insert(), found)


def _now(database: Database) -> int:
    return int(rows(database, schema.replay_clock)[0]["now"])


def _key(row: Mapping[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def audit(
    database: Database, staging: Database, artifacts: ArtifactStore, calls: Sequence[Call], fed: int, folder: Path
) -> dict[str, Count]:
    """Every comparison, by what is compared."""
    recount = Recount.of(database, artifacts, folder)
    return {
        "predictions": predictions(database, calls),
        "feedback": feedback(database, calls),
        "posts and readings": readings(database, staging, fed),
        "outcomes": outcomes(database),
        "monitoring sums": recount.sums(database),
        "latency sketches": recount.sketches(database),
        "drift detectors": recount.detectors(database),
    }
