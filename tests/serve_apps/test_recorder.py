"""The recorder: durable before the answer, groups under load, one bad row fails alone, lost shadows are counted."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from core.errors import Broken, Overloaded, ServiceUnavailable, StorageBroken
from core.store.database import Database
from core.store.ids import new_id
from core.store.predictions import PredictionLog, PredictionRow, ShadowRow
from serve_apps.predictor.recorder import Recorder

ROW = PredictionRow("", 5, 1, "engagement", 1, "stable", 1, 0, 0, 0, {}, 1.0, 0)


def row(**changes: object) -> PredictionRow:
    return replace(ROW, id=new_id(), **changes)  # type: ignore[arg-type]


class Gate(PredictionLog):
    """The real log behind a gate, to see what gathers while a commit runs."""

    def hold(self) -> tuple[threading.Event, threading.Event]:
        entered, gate = threading.Event(), threading.Event()
        object.__setattr__(self, "_events", (entered, gate))
        return entered, gate

    def append(self, rows: Sequence[PredictionRow]) -> tuple[PredictionRow, ...]:
        entered, gate = self._events  # type: ignore[attr-defined]
        entered.set()
        gate.wait(10)
        return super().append(rows)


class Failing(PredictionLog):
    """The edge of the outside world: storage that is down."""

    def append(self, rows: Sequence[PredictionRow]) -> tuple[PredictionRow, ...]:
        raise StorageBroken("disk full")

    def add_shadows(self, rows: Sequence[ShadowRow]) -> int:
        raise StorageBroken("disk full")


def test_a_row_is_stored_when_its_future_is_done(sqlite_database: Database) -> None:
    log = PredictionLog(sqlite_database)
    recorder = Recorder(log)
    (stored,) = recorder.record(row()).result(10)
    assert log.get(stored.id).seq == stored.seq
    recorder.close()


def test_what_arrives_during_a_commit_shares_the_next_one(sqlite_database: Database) -> None:
    log = Gate(sqlite_database)
    entered, gate = log.hold()
    recorder = Recorder(log)
    first = recorder.record(row())
    assert entered.wait(10)
    rest = [recorder.record(row(), row()) for _ in range(10)]
    gate.set()
    assert [len(future.result(10)) for future in [first, *rest]] == [1] + [2] * 10
    assert recorder.groups == 2
    recorder.close()


def test_one_row_that_the_database_refuses_fails_alone(sqlite_database: Database) -> None:
    log = Gate(sqlite_database)
    entered, gate = log.hold()
    recorder = Recorder(log)
    first = recorder.record(row())
    assert entered.wait(10)
    good, bad = recorder.record(row()), recorder.record(row(model=None))
    gate.set()
    assert first.result(10)[0].seq > 0
    assert good.result(10)[0].seq > 0
    with pytest.raises(Broken, match="could not be stored"):
        bad.result(10)
    recorder.close()


def test_broken_storage_reaches_everybody_who_waits(sqlite_database: Database) -> None:
    recorder = Recorder(Failing(sqlite_database))
    future = recorder.record(row())
    with pytest.raises(StorageBroken, match="disk full"):
        future.result(10)
    assert recorder.shadow(ShadowRow("p", "engagement", 2, 1, None, 1.0))
    recorder.close()
    assert recorder.shadows_lost == 1


def test_too_many_waiting_are_refused_at_once(sqlite_database: Database) -> None:
    log = Gate(sqlite_database)
    entered, gate = log.hold()
    recorder = Recorder(log, waiting=1)
    recorder.record(row())
    assert entered.wait(10)
    recorder.record(row())
    with pytest.raises(Overloaded):
        recorder.record(row())
    assert not recorder.shadow(ShadowRow("p", "engagement", 2, 1, None, 1.0))
    assert recorder.shadows_lost == 1
    gate.set()
    recorder.close()


def test_closing_commits_what_waits_and_takes_nothing_more(sqlite_database: Database) -> None:
    log = PredictionLog(sqlite_database)
    recorder = Recorder(log)
    futures = [recorder.record(row()) for _ in range(5)]
    recorder.close()
    assert all(future.done() for future in futures)
    with pytest.raises(ServiceUnavailable):
        recorder.record(row())


def test_a_caller_that_went_away_does_not_stop_the_writer(sqlite_database: Database) -> None:
    recorder = Recorder(PredictionLog(sqlite_database))
    assert not recorder.record(row()).cancel()
    assert recorder.record(row()).result(10)[0].seq == 2
    recorder.close()
