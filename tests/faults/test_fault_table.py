"""What may go wrong in a roll-out, and how it ends: one test a fault, on real stores and the shipped router parts."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from math import nan
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import event

from actors.adaptive_learning.deployment.bookkeeping import Book, Executions, Tally, scaled_difference, with_pair
from actors.adaptive_learning.deployment.controller import Controller
from actors.adaptive_learning.deployment.events import Counts, Cursors, Pairs
from actors.adaptive_learning.deployment.judge import harm, safety
from actors.adaptive_learning.deployment.record import NO_DATA_S, Record, Stage, new_record
from actors.adaptive_learning.deployment.reducer import step
from actors.adaptive_learning.feedback.actor import Feedback
from actors.adaptive_learning.orchestrator.notices import Notices
from core.clock import DAY, HOUR, ManualClock
from core.codec import from_json
from core.errors import ArtifactCorrupt, Conflict, NotFound, Refused, StorageBroken
from core.schemas.predictions import FeedbackItem
from core.schemas.rollouts import Phase, RolloutStatus
from core.store import schema
from core.store.database import Database
from core.store.evidence import EvidenceLog
from core.store.rollouts import RolloutStore
from tests.actors.rollout_world import CHANNELS, CONFIG, MODEL, World
from tests.databases import empty_sqlite
from tests.serve_apps.world import Bench
from tests.tallies import first_attempts

START = 1_735_689_600
SLOW = replace(CONFIG, hold_s=(1000.0, 1000.0, 1000.0), deadline_s=10_000.0)


def made(database: Database, clock: ManualClock, **traits: Any) -> World:
    """Version 1 in service, 2 and 3 registered."""
    trial = World(database, clock, **traits)
    trial.register(None, "better", "better")
    trial.served(trial.controller())
    return trial


def ticked(trial: World, controller: Controller, n: int, *, labels: bool = True, seconds: float = 1.0) -> RolloutStatus:
    """Traffic and passes; the status after the last."""
    status = None
    for _ in range(n):
        trial.clock.advance(seconds)
        trial.traffic(labels=labels)
        status = controller.tick(MODEL) or status
    return status or controller.statuses(MODEL)[0]


def until(trial: World, controller: Controller, phase: str, ticks: int = 60) -> RolloutStatus:
    """Until a phase."""
    for _ in range(ticks):
        status = ticked(trial, controller, 1)
        if status.phase == phase:
            return status
    raise AssertionError(f"{status.phase}: {status.reason}; {status.waits_for}")


def at_once(trial: World, n: int) -> float:
    """The quality evidence of the first n posts, read from the log in one go."""
    book = Book()
    for pair in EvidenceLog(trial.database).pairs(MODEL, 1, 2, 0)[0][:n]:
        difference = scaled_difference(pair.value, pair.stable_q50, pair.challenger_q50, CONFIG.quality_clip)
        book = with_pair(book, difference, CONFIG)
    return safety(book, "quality")


def record_of(trial: World, rollout: str) -> Record:
    """The state machine's record as stored."""
    return from_json(Record, RolloutStore(trial.database).load(rollout).record)


# ---------------------------------------------------------------- the table, row by row


def test_controller_killed_between_any_two_writes_or_commands(tmp_path: Path) -> None:
    template = empty_sqlite(tmp_path / "template.db")
    made(template, ManualClock(time=START))
    template.dispose()
    killed = 0
    for bad in (frozenset[int](), frozenset({2})):
        ends, point = set(), 0
        while True:
            path = shutil.copy(tmp_path / "template.db", tmp_path / f"{len(bad)}-{point}.db")
            database = Database(f"sqlite:///{path}")
            # The kill is one of the process, not of the machine: what was committed stays without a sync.
            event.listen(database.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
            trial = World(database, ManualClock(time=START), bad=bad)
            controller = trial.controller()
            started = controller.start(MODEL, 2, CONFIG, "k")
            trial.points[0] = point or -1
            status, controller = trial.play(controller, started.id)
            aliases = [(v.version, v.aliases) for v in trial.versioning.versions(MODEL)]
            split = trial.splits.read(MODEL)
            assert split is not None
            ends.add((status.phase, split.stable, split.canary, str(aliases), str(trial.routers.apps)))
            quality = next(line for line in status.evidence if line.name == "safety:quality")
            assert quality.log_e == pytest.approx(at_once(trial, quality.n), abs=1e-9)
            controller.verify(started.id)
            database.dispose()
            if point and trial.points[0] > 0:
                break  # the roll-out was over before this point
            point += 1
        killed += point - 1
        assert len(ends) == 1, ends
    print(f"{killed} kill points, the same outcome at each")
    assert killed >= 60


def test_two_controllers(sqlite_database: Database, clock: ManualClock, bench: Bench) -> None:
    trial = made(sqlite_database, clock)
    one, two = trial.controller(), trial.controller()
    started = one.start(MODEL, 2, CONFIG, "k")
    for _ in range(30):
        ticked(trial, one, 1)
        two.tick(MODEL)
    status = one.status(started.id)
    assert status.phase == Phase.PROMOTED
    errors = next(line for line in status.evidence if line.name == "safety:errors")
    rows = [event.event for event in one.events(started.id) if event.event["kind"] == "counts"]
    assert errors.n == sum(row["executions"][""]["canary_n"] for row in rows), "counted twice"
    # The store and the router refuse a lower epoch, whoever writes it.
    split = trial.splits.read(MODEL)
    assert split is not None
    with pytest.raises(Conflict, match="too late"):
        trial.splits.write(replace(split, epoch=split.epoch - 1, stable=1), clock)
    bench.serve(bench.world.split(epoch=5))
    assert bench.traffic.apply(bench.world.split(epoch=4, stable=2)).epoch == 5


def test_controller_dead_for_minutes(bench: Bench) -> None:
    canary = bench.trial(0.5)
    bench.world.clock.advance(30)
    assert (bench.traffic.report().frozen, bench.traffic.report().weight) == (True, 0.5)
    bench.world.clock.advance(270)
    assert bench.traffic.report().weight == 0.0
    assert bench.one().arm == "stable"
    # The breaker needs no controller either.
    bench.serve(bench.world.split(epoch=3, canary=2, weight=1.0))
    canary.trouble = "wrong"
    for i in range(20):
        assert bench.one(post_id=54 - i % 9).arm == "rescued"
    assert (bench.traffic.report().breaker_open, bench.traffic.report().weight) == (True, 0.0)


def test_canary_replica_crash_or_out_of_memory_loop(
    sqlite_database: Database, clock: ManualClock, bench: Bench
) -> None:
    canary = bench.trial(1.0)
    canary.trouble = "dead"
    assert (bench.one().arm, bench.one().version) == ("rescued", 1)
    assert bench.traffic.report().canary_gone
    trial = made(sqlite_database, clock)
    controller = trial.controller()
    started = controller.start(MODEL, 2, SLOW, "k")
    ticked(trial, controller, 4)
    trial.routers.changes = {"canary_gone": True, "canary_ready": False}
    status = ticked(trial, controller, 1)
    assert (status.phase, status.weight) == (Phase.ROLLING_BACK, 0.0)
    assert "process is gone" in status.reason
    # One that never dies for good but does not answer: readiness lost for as long as a lease.
    trial.routers.changes = {}
    again = trial.play(controller, started.id)[1].start(MODEL, 3, SLOW, "l")
    ticked(trial, controller, 4)
    trial.routers.changes = {"canary_ready": False}
    held = ticked(trial, controller, 2)
    assert "canary_down" in held.holds
    status = ticked(trial, controller, int(SLOW.lease_s))
    assert "no_data" not in status.holds
    assert status.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
    assert "has not answered its probe" in controller.status(again.id).reason


def test_stable_replica_crash(sqlite_database: Database, clock: ManualClock) -> None:
    trial = made(sqlite_database, clock)
    controller = trial.controller()
    started = controller.start(MODEL, 2, SLOW, "k")
    ticked(trial, controller, 4)
    trial.routers.changes = {"stable": None}
    trial.failing = frozenset({2})
    status = ticked(trial, controller, 20)
    assert (status.phase, status.holds) == ("canary_10", ("stable_down",))
    trial.routers.changes = {}
    status, _ = trial.play(controller, started.id)
    assert status.phase == Phase.ROLLED_BACK


def test_both_failing(sqlite_database: Database, clock: ManualClock) -> None:
    trial = made(sqlite_database, clock)
    controller = trial.controller()
    started = controller.start(MODEL, 2, SLOW, "k")
    ticked(trial, controller, 4)
    trial.failing = frozenset({1, 2})
    status = ticked(trial, controller, 20, labels=False)
    assert (status.phase, "both_bad" in status.holds) == ("canary_10", True)
    with hook() as (url, taken):
        Notices.of(sqlite_database, SecretStr(url)).deliver(MODEL)
    assert any("both_bad" in notice["holds"] for notice in taken)
    trial.failing = frozenset()
    status = ticked(trial, controller, 20)
    assert "both_bad" not in status.holds
    assert controller.status(started.id).phase == "canary_10"


def test_no_traffic_an_arm_empty_nan_or_the_metric_store_down(
    sqlite_database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = made(sqlite_database, clock)
    controller = trial.controller()
    started = controller.start(MODEL, 2, replace(CONFIG, deadline_s=200.0), "k")
    ticked(trial, controller, 2)
    for _ in range(int(NO_DATA_S) + 1):  # no traffic
        clock.advance(1)
        controller.tick(MODEL)
    assert "no_data" in controller.status(started.id).holds

    def broken(*_: Any, **__: Any) -> Any:
        raise StorageBroken("the database does not answer")

    with monkeypatch.context() as down:  # the store of evidence
        down.setattr(EvidenceLog, "first_attempts", broken)
        for _ in range(5):
            clock.advance(1)
            with pytest.raises(StorageBroken):
                controller.tick(MODEL)
    assert controller.status(started.id).weight == 0.1
    for _ in range(200):
        clock.advance(1)
        controller.tick(MODEL)
    status = controller.status(started.id)
    assert (status.phase, "not enough evidence" in status.reason) == (Phase.ROLLED_BACK, True)
    # An arm that never executes anything, and numbers that are none, are no evidence.
    record = replace(
        new_record("r", MODEL, 2, 1, CONFIG), phase=Phase.TRIAL, stage=Stage.SERVING, weight=0.1, confirmed=True
    )
    empty = Counts({"": Executions(500, 0)}, Tally(500, 0, 0, 0), 0, 0, Cursors(9))
    for fact in (empty, Pairs((nan,) * 100, Cursors(outcome=9))):
        record, _ = step(record, fact)
    assert (safety(record.book, "errors"), record.book.pairs) == (pytest.approx(0.0), 0)


def test_label_never_twice_after_the_decision_or_of_an_unknown_id(
    sqlite_database: Database, clock: ManualClock
) -> None:
    trial = made(sqlite_database, clock)
    controller = trial.controller()
    started = controller.start(MODEL, 2, replace(CONFIG, deadline_s=3000.0), "k")
    ticked(trial, controller, 2)
    for _ in range(3):  # never: they are due after two days
        trial.published_at = clock.now()
        ticked(trial, controller, 1, labels=False)
    clock.time += 49 * HOUR
    trial.published_at = 0
    status = ticked(trial, controller, 2, labels=False)
    assert "no_labels" in status.holds
    assert (status.labels["due"], status.labels["labelled"]) == (3 * CHANNELS, 0)
    # Twice: the second changes nothing.
    before = trial.asked
    ticked(trial, controller, 1)
    pairs = controller.status(started.id).labels["pairs"]
    first = EvidenceLog(sqlite_database).pairs(MODEL, 1, 2, 0)[0][0].prediction_id
    trial.settle(first, first)
    clock.advance(1)
    controller.tick(MODEL)
    assert (controller.status(started.id).labels["pairs"], trial.asked - before) == (pairs, CHANNELS)
    # After the decision: counted as late, and nothing is decided anew.
    controller.steer(started.id, "abort", "enough")
    for _ in range(4):
        clock.advance(1)
        controller.tick(MODEL)
    with sqlite_database.read() as connection:
        rows = connection.execute(schema.prediction.select().where(schema.prediction.c.epoch > 1)).all()
    trial.settle(*(row.id for row in rows if row.answer != "{}"))
    explained = controller.explain(started.id)
    assert explained.late_labels == 3 * CHANNELS + 2 * CHANNELS
    assert controller.status(started.id).phase == Phase.ROLLED_BACK
    (ack,) = Feedback(sqlite_database, clock).submit((FeedbackItem("unknown", "correction", 5.0, "k", "views_24h"),))
    assert (ack.status, ack.id) == ("unknown", None)


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 8 * HOUR])
def test_clock_moved_by_an_hour_summer_time_or_suspend(tmp_path: Path, jump: int) -> None:
    ends = []
    for moved in (False, True):
        database = empty_sqlite(tmp_path / f"{moved}.db")
        trial = made(database, ManualClock(time=START + 60 * DAY))
        controller = trial.controller()
        started = controller.start(MODEL, 2, CONFIG, "k")
        remaining = []
        for i in range(30):
            if moved and i % 5 == 4:
                trial.clock.time += jump  # the wall's clock; durations go by the other one
            ticked(trial, controller, 1)
            remaining.append(record_of(trial, started.id).timers)
        ends.append((controller.status(started.id).phase, record_of(trial, started.id).epoch, remaining))
        database.dispose()
    assert ends[0] == ends[1]
    assert ends[0][0] == Phase.PROMOTED


def test_second_rollout_same_version_again_a_b_a_unknown_version_or_corrupt_artifact(
    sqlite_database: Database, clock: ManualClock
) -> None:
    trial = made(sqlite_database, clock)
    controller = trial.controller()
    first = controller.start(MODEL, 2, CONFIG, "a")
    assert controller.start(MODEL, 2, CONFIG, "again").id == first.id
    with pytest.raises(Refused, match="under way"):
        controller.start(MODEL, 3, CONFIG, "b", when_busy="reject")
    clock.advance(1)
    second = controller.start(MODEL, 3, CONFIG, "c")
    assert until(trial, controller, Phase.PROMOTED).id == first.id
    clock.advance(1)
    back = controller.start(MODEL, 1, CONFIG, "d", when_busy="replace")  # 1 → 2 → 1
    assert controller.status(second.id).phase == Phase.ROLLED_BACK
    assert "rolls v2 back" in controller.events(back.id)[0].event["note"]
    assert until(trial, controller, Phase.PROMOTED).id == back.id
    champion = trial.versioning.resolve(MODEL, "champion")
    assert champion is not None
    assert champion.version == 1
    before = trial.splits.read(MODEL)
    with pytest.raises(NotFound):
        controller.start(MODEL, 9, CONFIG, "e")
    trial.versioning.corrupt = frozenset({3})
    with pytest.raises(ArtifactCorrupt):
        controller.start(MODEL, 3, CONFIG, "f")
    trial.versioning.corrupt = frozenset()
    trial.routers.broken[3] = "ArtifactCorrupt: bytes do not match"  # found only where it is loaded
    failed = controller.start(MODEL, 3, CONFIG, "g")
    ticked(trial, controller, 5)
    assert controller.status(failed.id).phase == Phase.ROLLED_BACK
    assert trial.splits.read(MODEL) == before, "traffic was touched"


def test_rollback_during_rollback_promote_during_rollback_or_abort_after_promotion(
    sqlite_database: Database, clock: ManualClock
) -> None:
    trial = made(sqlite_database, clock)
    controller = trial.controller()
    started = controller.start(MODEL, 2, CONFIG, "k")
    ticked(trial, controller, 3)
    trial.routers.deaf = True  # the way back takes its time
    first = controller.steer(started.id, "abort", "no")
    epoch = record_of(trial, started.id).epoch
    again = controller.steer(started.id, "abort", "no!")
    assert (first.phase, again.phase, record_of(trial, started.id).epoch) == (
        Phase.ROLLING_BACK,
        Phase.ROLLING_BACK,
        epoch,
    )
    with pytest.raises(Refused, match="rolling back"):
        controller.steer(started.id, "promote", "yes")
    trial.routers.deaf = False
    assert trial.play(controller, started.id)[0].phase == Phase.ROLLED_BACK
    other = controller.start(MODEL, 3, CONFIG, "l")
    assert trial.play(controller, other.id)[0].phase == Phase.PROMOTED
    controller.steer(other.id, "abort", "second thoughts")
    assert trial.play(controller, other.id)[0].phase == Phase.ROLLED_BACK
    champion = trial.versioning.resolve(MODEL, "champion")
    assert champion is not None
    assert champion.version == 1


def test_rollback_target_gone(sqlite_database: Database, clock: ManualClock) -> None:
    trial = made(sqlite_database, clock)
    controller = trial.controller()
    started = controller.start(MODEL, 2, replace(CONFIG, abandon_s=40.0), "k")
    trial.routers.changes = {"stable": None}  # no warm stable: no start
    status = ticked(trial, controller, 10)
    assert (status.phase, status.holds) == (Phase.PREPARING, ("stable_down",))
    trial.routers.changes = {}
    until(trial, controller, "canary_10")
    trial.routers.changes = {"stable": None}  # gone while there is no way on
    controller.steer(started.id, "abort", "no")
    status = ticked(trial, controller, 45)
    assert controller.status(started.id).phase == Phase.HALTED
    assert "not every router confirmed" in controller.status(started.id).reason


def test_router_lag_retry_storm_or_poison_request_failing_on_both(
    sqlite_database: Database, clock: ManualClock, bench: Bench
) -> None:
    # Lag: half was ordered, a tenth reached the canary; what counts is the share that was.
    lagging = Counts({"": Executions(900, 100, {"errors": 90}, {"errors": 10})}, Tally(), 0, 0, Cursors(9))
    record = replace(new_record("r", MODEL, 2, 1, CONFIG), phase=Phase.TRIAL, stage=Stage.SERVING, weight=0.5)
    after, _ = step(record, lagging)
    assert harm(after.book, CONFIG) is None
    # A storm of retries: the first attempt is the unit, its answer serves the others.
    bench.trial(1.0)
    answers = [bench.one(key="storm") for _ in range(5)]
    assert len({answer.id for answer in answers}) == 1
    assert first_attempts(bench.world.database) == (0, 0, 1, 0)
    # Poison fails on whatever executes it: every failure of the canary has one of stable beside it.
    trial = made(sqlite_database, clock)
    controller = trial.controller()
    controller.start(MODEL, 2, SLOW, "k")
    ticked(trial, controller, 4)
    for i in range(40):
        trial.failing = frozenset({1, 2}) if i % 10 == 0 else frozenset()
        status = ticked(trial, controller, 1)
    assert status.phase == "canary_10"


def test_slow_leak(sqlite_database: Database, clock: ManualClock) -> None:
    trial = made(sqlite_database, clock)
    controller = trial.controller()
    started = controller.start(MODEL, 2, replace(CONFIG, hold_s=(1.0, 1.0, 500.0), deadline_s=2000.0), "k")
    until(trial, controller, "canary_100")
    ticked(trial, controller, 50)
    trial.failing = frozenset({2})  # well for long, and then not
    status = ticked(trial, controller, 10)
    assert status.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
    assert "worse by errors" in controller.status(started.id).reason


def test_alias_moved_by_hand_in_the_registry(sqlite_database: Database, clock: ManualClock) -> None:
    trial = made(sqlite_database, clock)
    controller = trial.controller()
    started = controller.start(MODEL, 2, CONFIG, "k")
    ticked(trial, controller, 3)
    trial.versioning.set_alias(MODEL, "champion", 3, expect=1, reason="by hand", actor="person")
    status = ticked(trial, controller, 20)
    assert "alias_moved" in status.holds
    assert status.weight <= 0.5
    assert any(event.event["kind"] == "alias_moved" for event in controller.events(started.id))
    champion = trial.versioning.resolve(MODEL, "champion")
    assert champion is not None
    assert champion.version == 3, "a person's word was overwritten"


def test_store_down_or_disk_full_when_persisting(tmp_path: Path, bench: Bench) -> None:
    database = empty_sqlite(tmp_path / "full.db")
    trial = made(database, ManualClock(time=START))
    controller = trial.controller()
    started = controller.start(MODEL, 2, CONFIG, "k")
    while controller.status(started.id).weight < 0.1:
        ticked(trial, controller, 1)
    trial.traffic(400)
    before, weight = trial.splits.read(MODEL), controller.status(started.id).weight
    with full(database):
        for _ in range(3):
            trial.clock.advance(1)
            with pytest.raises(StorageBroken, match="full"):
                controller.tick(MODEL)
    assert before is not None
    assert trial.splits.read(MODEL) == before, "ordered without a stored intent"
    assert controller.status(started.id).weight == weight
    assert trial.play(controller, started.id)[0].phase == Phase.PROMOTED
    errors = next(line for line in controller.status(started.id).evidence if line.name == "safety:errors")
    assert errors.n >= 400, "evidence read while nothing could be stored was lost"
    database.dispose()
    canary = bench.trial(1.0)  # the breaker asks no store
    canary.trouble = "wrong"
    for i in range(20):
        bench.one(post_id=54 - i % 9)
    assert bench.traffic.report().breaker_open


# ---------------------------------------------------------------- the world outside


@contextmanager
def full(database: Database) -> Iterator[None]:
    """A database file that may not grow by a page."""

    def limit(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA max_page_count=1")  # never below what is there already

    with database.read() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    event.listen(database.engine, "connect", limit)
    database.engine.dispose()
    yield
    event.remove(database.engine, "connect", limit)
    database.engine.dispose()


@contextmanager
def hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A local server that takes notices."""
    taken: list[dict[str, Any]] = []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Take)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", taken
    server.shutdown()
    server.server_close()
