"""The controller on a real database: a good version arrives, a bad one goes back, a kill anywhere changes nothing."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from core.clock import ManualClock
from core.errors import Conflict, NotFound, Refused, ServiceUnavailable, StorageBroken
from core.schemas.rollouts import Phase, TrafficSplit
from core.store import schema
from core.store.database import Database
from tests.actors.rollout_world import CHANNELS, CONFIG, MODEL, World


def made(database: Database, clock: ManualClock, **traits: Any) -> Any:
    world = World(database, clock, **traits)
    world.register(None, "better", "better")
    world.served(world.controller())
    return world


def aliases(world: Any) -> dict[str, int | None]:
    found = {name: world.versioning.resolve(MODEL, name) for name in ("champion", "previous", "challenger")}
    return {name: version.version if version else None for name, version in found.items()}


def test_a_persons_abort_does_not_wait_for_a_pass_that_looks(database: Database, clock: ManualClock) -> None:
    world = made(database, clock)
    controller = world.controller()
    started = controller.start(MODEL, 2, CONFIG, "k")
    while controller.status(started.id).weight == 0:
        controller.tick(MODEL)
        clock.advance(1)
    looking, go_on = threading.Event(), threading.Event()
    observed = world.routers.observed

    def slowly(model: str) -> Any:
        looking.set()
        assert go_on.wait(20)
        return observed(model)

    world.routers.observed = slowly
    slow_pass = threading.Thread(target=controller.tick, args=(MODEL,))
    slow_pass.start()
    assert looking.wait(20)
    split = world.splits.read(MODEL)
    controller.steer(started.id, "abort", "enough")
    after = world.splits.read(MODEL)
    go_on.set()
    slow_pass.join(20)
    assert split.canary == 2
    assert after.canary is None, "the abort took effect while the pass was looking"
    status, controller = world.play(controller, started.id)
    assert status.phase == Phase.ROLLED_BACK
    assert controller.verify(started.id) == len(controller.events(started.id))


def test_a_good_version_replaces_the_champion_step_by_step(database: Database, clock: ManualClock) -> None:
    world = made(database, clock)
    controller = world.controller()
    started = controller.start(MODEL, 2, CONFIG, "k")
    status, controller = world.play(controller, started.id)
    assert status.phase == Phase.PROMOTED, status
    assert aliases(world) == {"champion": 2, "previous": 1, "challenger": None}
    split = world.splits.read(MODEL)
    assert (split.stable, split.canary, split.shadow) == (2, None, False)
    assert world.routers.apps == set()
    phases = list(dict.fromkeys(event.phase for event in controller.events(started.id)))
    assert phases == [Phase.PREPARING, "canary_10", "canary_50", "canary_100", Phase.PROMOTED]
    assert controller.verify(started.id) == len(controller.events(started.id))
    assert controller.tick(MODEL) is None
    assert status.requests["canary"] > 0


@pytest.mark.parametrize(("trait", "reason"), [("bad", "worse by quality"), ("failing", "worse by errors")])
def test_a_bad_version_goes_back_and_the_champion_never_moved(
    database: Database, clock: ManualClock, trait: str, reason: str
) -> None:
    world = made(database, clock, **{trait: frozenset({2})})
    controller = world.controller()
    started = controller.start(MODEL, 2, CONFIG, "k")
    status, controller = world.play(controller, started.id)
    assert status.phase == Phase.ROLLED_BACK, status
    assert reason in status.reason
    assert aliases(world) == {"champion": 1, "previous": None, "challenger": None}
    assert world.splits.read(MODEL).stable == 1
    assert world.routers.apps == set()
    assert [change.alias for change in world.versioning.history(MODEL)] == ["challenger", "challenger", "champion"]


def test_evidence_is_counted_once_however_often_the_controller_is_replaced(
    sqlite_database: Database, clock: ManualClock
) -> None:
    world = made(sqlite_database, clock)
    started = world.controller().start(MODEL, 2, replace(CONFIG, hold_s=(100.0, 100.0, 100.0)), "k")
    for _ in range(8):
        clock.advance(1.0)
        world.traffic()
        world.controller().tick(MODEL)
    status = world.controller().status(started.id)
    quality = next(line for line in status.evidence if line.name == "safety:quality")
    first_with_shadow = 2
    assert quality.n == (8 - first_with_shadow) * CHANNELS
    errors = next(line for line in status.evidence if line.name == "safety:errors")
    assert errors.n == quality.n


def test_one_post_counts_once_though_its_predictions_settle_at_different_times(
    sqlite_database: Database, clock: ManualClock
) -> None:
    world = made(sqlite_database, clock)
    controller = world.controller()
    started = controller.start(MODEL, 2, replace(CONFIG, hold_s=(100.0, 100.0, 100.0)), "k")
    for _ in range(3):
        controller.tick(MODEL)
    for time in ("first", "late"):
        world.asked = 0  # the same posts again
        world.traffic(ids=time)
        clock.advance(1.0)
        controller.tick(MODEL)
    quality = next(line for line in controller.status(started.id).evidence if line.name == "safety:quality")
    assert quality.n == CHANNELS


def test_a_version_that_cannot_be_loaded_never_sees_traffic(database: Database, clock: ManualClock) -> None:
    world = made(database, clock)
    world.routers.broken[2] = "ArtifactCorrupt: bytes do not match"
    controller = world.controller()
    started = controller.start(MODEL, 2, CONFIG, "k")
    status, _ = world.play(controller, started.id)
    assert status.phase == Phase.ROLLED_BACK
    assert "ArtifactCorrupt" in status.reason
    assert world.splits.read(MODEL).epoch == 1


def test_routers_that_do_not_answer_hold_everything(sqlite_database: Database, clock: ManualClock) -> None:
    world = made(sqlite_database, clock)
    controller = world.controller()
    started = controller.start(MODEL, 2, CONFIG, "k")
    world.routers.deaf = True
    status, controller = world.play(controller, started.id, ticks=5)
    assert (status.phase, status.holds) == (Phase.PREPARING, ("stable_down",))
    world.routers.deaf = False
    status, _ = world.play(controller, started.id)
    assert status.phase == Phase.PROMOTED


def test_an_alias_moved_by_hand_holds_instead_of_overwriting(sqlite_database: Database, clock: ManualClock) -> None:
    world = made(sqlite_database, clock)
    controller = world.controller()
    started = controller.start(MODEL, 2, CONFIG, "k")
    world.play(controller, started.id, ticks=3)
    world.versioning.set_alias(MODEL, "champion", 3, expect=1, reason="by hand", actor="person")
    status, controller = world.play(controller, started.id, ticks=30)
    assert (status.phase, status.holds) == ("canary_10", ("alias_moved",))
    assert aliases(world)["champion"] == 3
    world.versioning.set_alias(MODEL, "champion", 1, expect=3, reason="moved back", actor="person")
    controller.steer(started.id, "resume", "moved back")
    status, _ = world.play(controller, started.id)
    assert status.phase == Phase.PROMOTED


def test_a_second_roll_out_waits_and_then_challenges_the_new_champion(
    sqlite_database: Database, clock: ManualClock
) -> None:
    world = made(sqlite_database, clock)
    controller = world.controller()
    first = controller.start(MODEL, 2, CONFIG, "a")
    clock.advance(1)
    second = controller.start(MODEL, 3, CONFIG, "b")
    assert controller.start(MODEL, 3, CONFIG, "c").id == second.id
    assert world.play(controller, first.id)[0].phase == Phase.PROMOTED
    assert controller.status(second.id).phase == Phase.PREPARING
    status, _ = world.play(controller, second.id)
    assert (status.phase, status.stable) == (Phase.PROMOTED, 2)
    assert [s.id for s in controller.statuses(MODEL)] == [second.id, first.id]


def test_a_roll_out_waits_for_approval_without_standing_in_anothers_way(
    sqlite_database: Database, clock: ManualClock
) -> None:
    world = made(sqlite_database, clock)
    controller = world.controller()
    held = controller.start(MODEL, 2, CONFIG, "a", approved=False)
    other = controller.start(MODEL, 3, CONFIG, "b")
    assert world.play(controller, other.id)[0].phase == Phase.PROMOTED
    assert controller.status(held.id).holds == ("awaiting_approval",)
    controller.steer(held.id, "resume", "go")
    assert world.play(controller, held.id)[0].phase == Phase.PROMOTED


def test_a_person_pauses_resumes_and_aborts(sqlite_database: Database, clock: ManualClock) -> None:
    world = made(sqlite_database, clock)
    controller = world.controller()
    started = controller.start(MODEL, 2, CONFIG, "k")
    world.play(controller, started.id, ticks=3)
    assert "paused" in controller.steer(started.id, "pause", "lunch").holds
    status, _ = world.play(controller, started.id, ticks=5)
    assert status.phase == "canary_10"
    controller.steer(started.id, "resume", "back")
    aborted = controller.steer(started.id, "abort", "changed my mind")
    assert world.splits.read(MODEL).canary is None
    assert aborted.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
    status, _ = world.play(controller, started.id)
    assert status.phase == Phase.ROLLED_BACK
    with pytest.raises(Refused, match="nothing to pause"):
        controller.steer(started.id, "pause", "late")


def test_an_abort_after_promotion_brings_the_old_version_back_unless_a_later_one_took_over(
    sqlite_database: Database, clock: ManualClock
) -> None:
    world = made(sqlite_database, clock)
    controller = world.controller()
    first = controller.start(MODEL, 2, CONFIG, "a")
    world.play(controller, first.id)
    controller.steer(first.id, "abort", "second thoughts")
    status, _ = world.play(controller, first.id)
    assert (status.phase, aliases(world)["champion"], world.splits.read(MODEL).stable) == (Phase.ROLLED_BACK, 1, 1)
    again = controller.start(MODEL, 2, CONFIG, "b")
    world.play(controller, again.id)
    world.play(controller, controller.start(MODEL, 3, CONFIG, "c").id)
    with pytest.raises(Refused, match="taken over"):
        controller.steer(again.id, "abort", "too late")


def test_another_hand_on_the_split_halts_the_roll_out(sqlite_database: Database, clock: ManualClock) -> None:
    world = made(sqlite_database, clock)
    controller = world.controller()
    started = controller.start(MODEL, 2, CONFIG, "k")
    world.play(controller, started.id, ticks=3)
    world.splits.write(TrafficSplit(MODEL, 99, 1, None, 0.0, False, 30.0, 300.0, 0), clock)
    status, _ = world.play(controller, started.id, ticks=2)
    assert status.phase == Phase.HALTED
    assert "99" in status.reason or "not in force" in status.reason


def test_a_drift_asks_for_fresh_pairs(sqlite_database: Database, clock: ManualClock) -> None:
    world = made(sqlite_database, clock)
    controller = world.controller()
    started = controller.start(MODEL, 2, CONFIG, "k")
    world.play(controller, started.id, ticks=3)
    controller.drifted(MODEL, "errors moved")
    assert controller.status(started.id).holds == ("drift",)
    assert world.play(controller, started.id)[0].phase == Phase.PROMOTED


def test_what_cannot_be_tried_is_refused_with_the_reason(sqlite_database: Database, clock: ManualClock) -> None:
    world = World(sqlite_database, clock)
    world.register(None, "worse", None)
    controller = world.controller()
    with pytest.raises(Refused, match="no champion"):
        controller.start(MODEL, 2, CONFIG, "a")
    world.served(controller)
    with pytest.raises(Refused, match="champion of engagement already"):
        controller.start(MODEL, 1, CONFIG, "b")
    for version in (2, 3):
        with pytest.raises(Refused, match="skip_validation"):
            controller.start(MODEL, version, CONFIG, "c")
    with pytest.raises(NotFound):
        controller.start(MODEL, 9, CONFIG, "d")
    tried = controller.start(MODEL, 2, replace(CONFIG, skip_validation=True), "e")
    assert "worse" in controller.events(tried.id)[0].event["note"]
    assert controller.start(MODEL, 2, CONFIG, "e").id == tried.id
    with pytest.raises(NotFound):
        controller.status("nothing")


def test_the_first_version_is_installed_once_and_only_when_routers_serve_it(
    sqlite_database: Database, clock: ManualClock
) -> None:
    world = World(sqlite_database, clock)
    world.register(None, "better")
    world.routers.changes = {"stable": None}
    with pytest.raises(ServiceUnavailable, match="not every router"):
        world.served(world.controller())
    world.routers.changes = {}
    for _ in range(2):
        world.served(world.controller())
    assert world.splits.read(MODEL).epoch == 1
    with pytest.raises(Conflict):
        world.controller().install(MODEL, 2, "second")


def test_a_log_that_was_changed_afterwards_is_noticed(sqlite_database: Database, clock: ManualClock) -> None:
    world = made(sqlite_database, clock)
    controller = world.controller()
    started = controller.start(MODEL, 2, CONFIG, "k")
    world.play(controller, started.id, ticks=3)
    table = schema.rollout_event
    with sqlite_database.write() as connection:
        connection.execute(update(table).where(table.c.seq == 2).values(event='{"kind":"released"}'))
    with pytest.raises(StorageBroken, match="event 2"):
        controller.events(started.id)
