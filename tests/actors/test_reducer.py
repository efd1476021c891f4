"""The state machine's rules hold for any order of events, and its log replays bit for bit."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.adaptive_learning.deployment import judge
from actors.adaptive_learning.deployment.events import (
    Aliased,
    AliasMoved,
    ChallengerFailed,
    ChallengerReady,
    Command,
    Counts,
    Cursors,
    Drift,
    Event,
    Fenced,
    Observed,
    Pairs,
    Promote,
    Release,
    Released,
    Restore,
    Restored,
    SetSplit,
    Started,
    Steer,
    Tick,
    Warm,
)
from actors.adaptive_learning.deployment.judge import Gate, Hold, Safe, Tally
from actors.adaptive_learning.deployment.record import (
    FRESH_PAIRS,
    NO_DATA_S,
    Record,
    Stage,
    check,
    intended,
    new_record,
    outstanding,
    status,
)
from actors.adaptive_learning.deployment.reducer import refusal, step
from core.codec import from_json, to_json
from core.errors import InvalidInput
from core.schemas.rollouts import TERMINAL, Phase, RolloutConfig, SplitReport

CONFIG = RolloutConfig(hold_s=(2.0, 2.0, 2.0), deadline_s=600.0)
CLEAN = Counts(Tally(200, 0, 200, 0), Tally(180, 0, 20, 0), Cursors(prediction=9))
DEAD = Counts(Tally(200, 0, 200, 200), Tally(180, 0, 20, 20), Cursors(prediction=9))
GOOD = Pairs((-0.1, -0.05, 0.02) * 20, Cursors(outcome=9))
BAD = Pairs((0.6, 0.4, 0.5) * 20, Cursors(outcome=9))


def fresh() -> Record:
    return new_record("r", "engagement", 2, 1, CONFIG)


def seen(record: Record, **changes: object) -> Observed:
    """One router that does what is intended, unless changed."""
    split = intended(record)
    report = SplitReport(
        epoch=split.epoch if split else record.epoch,
        stable=split.stable if split else record.stable,
        canary=split.canary if split else None,
        weight=split.weight if split else 0.0,
        canary_ready=True,
        breaker_open=False,
        frozen=False,
        pid=1,
    )
    return Observed((replace(report, **changes),))  # type: ignore[arg-type]


def run(record: Record, *events: Event) -> Record:
    for event in events:
        record, _ = step(record, event)
    return record


def loading() -> Record:
    return run(fresh(), Started(1, 4, Cursors()))


def at_ten() -> Record:
    record = loading()
    return run(record, seen(record), ChallengerReady())


def ticked(record: Record, *, counts: Counts = CLEAN, pairs: Pairs = GOOD) -> Record:
    """A pass in which all is well."""
    return run(record, seen(record), counts, pairs, Tick(1.0))


def until(record: Record, phase: Phase) -> Record:
    for _ in range(60):
        if record.phase is phase and record.stage is Stage.SERVING:
            return record
        record = ticked(record)
    raise AssertionError(f"stays at {record.phase}: {record.reason}")


def ended(record: Record) -> Record:
    """Answer every order until the roll-out is over."""
    for _ in range(1000):
        if record.phase in TERMINAL:
            return record
        for command in outstanding(record):
            match command:
                case Promote():
                    record = run(record, Aliased())
                case Restore():
                    record = run(record, Restored(""))
                case Release():
                    record = run(record, Released())
                case _:
                    record = ticked(record)
    raise AssertionError(f"does not end: {record.phase} {record.stage}")


def test_the_whole_way_up_ends_with_the_challenger_as_stable() -> None:
    record, weights = at_ten(), [at_ten().weight]
    for phase in (Phase.CANARY_50, Phase.CANARY_100):
        record = until(record, phase)
        weights.append(record.weight)
    assert weights == [0.1, 0.5, 1.0]
    record = ended(record)
    assert (record.phase, record.certified) == (Phase.PROMOTED, True)
    assert "has replaced v1" in record.reason


def test_promotion_moves_the_alias_before_the_routers_swap_and_releases_last() -> None:
    record = until(at_ten(), Phase.CANARY_100)
    orders: list[str] = []
    while record.phase not in TERMINAL:
        before = outstanding(record)
        record = ended_one(record)
        orders += [command.kind for command in outstanding(record) if command not in before]
    assert orders == ["promote", "set_split", "release"]


def ended_one(record: Record) -> Record:
    match outstanding(record)[0]:
        case Promote():
            return run(record, Aliased())
        case Release():
            return run(record, Released())
        case _:
            return ticked(record)


def test_the_first_share_waits_for_routers_to_be_heard() -> None:
    assert run(loading(), ChallengerReady()).phase is Phase.PREPARING
    deaf = run(loading(), Observed(()), ChallengerReady())
    assert (deaf.phase, deaf.holds) == (Phase.PREPARING, (Hold.STABLE_DOWN,))


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (ChallengerFailed("artifact corrupt"), "artifact corrupt"),
        (Tick(CONFIG.prepare_s + 1), "was not ready"),
        (Steer("abort", "no"), "aborted"),
    ],
)
def test_a_challenger_that_never_gets_ready_is_taken_back_before_any_traffic(event: Event, reason: str) -> None:
    record, commands = step(loading(), event)
    assert commands == (Release(2),)
    record = run(record, Released())
    assert record.phase is Phase.ROLLED_BACK
    assert reason in record.reason
    assert record.epoch == 4


def test_a_queued_roll_out_without_approval_starts_only_after_resume() -> None:
    record = new_record("r", "engagement", 2, 1, CONFIG, approved=False)
    assert run(record, Started(1, 4, Cursors())).stage is Stage.QUEUED
    assert run(record, Steer("resume", "go"), Started(1, 4, Cursors())).stage is Stage.LOADING
    assert run(record, Steer("abort", "no")).phase is Phase.ROLLED_BACK


@pytest.mark.parametrize(
    ("event", "reason"), [(DEAD, "worse by errors"), (BAD, "worse by quality"), (Steer("abort", "no"), "aborted")]
)
@pytest.mark.parametrize("phase", [Phase.CANARY_10, Phase.CANARY_50, Phase.CANARY_100])
def test_from_every_step_harm_leads_back_at_once(phase: Phase, event: Event, reason: str) -> None:
    record = until(at_ten(), phase)
    back, commands = record, ()
    for _ in range(5):
        if back.phase is phase:
            back, commands = step(back, event)  # type: ignore[assignment]
    assert back.phase is Phase.ROLLING_BACK
    (order,) = commands
    assert isinstance(order, SetSplit)
    assert (order.split.stable, order.split.canary, order.split.weight) == (1, None, 0.0)
    assert order.split.epoch == record.epoch + 1
    assert reason in back.reason
    assert ended(back).phase is Phase.ROLLED_BACK


def test_an_open_breaker_leads_back_and_a_lost_canary_after_its_grace() -> None:
    record = at_ten()
    assert run(record, seen(record, breaker_open=True, weight=0.0)).phase is Phase.ROLLING_BACK
    down = run(record, seen(record, canary_ready=False), Tick(CONFIG.lease_s - 1))
    assert (down.phase, down.holds) == (Phase.CANARY_10, (Hold.CANARY_DOWN,))
    assert run(down, Tick(1)).phase is Phase.ROLLING_BACK
    assert run(down, seen(record), Tick(1)).phase is Phase.CANARY_10


def test_nothing_rolls_back_into_a_stable_version_that_is_down() -> None:
    record = at_ten()
    down = run(record, seen(record, stable=None), DEAD, Tick(10_000))
    assert down.phase is Phase.CANARY_10
    assert Hold.STABLE_DOWN in down.holds
    assert run(down, seen(record), Tick(1)).phase is Phase.ROLLING_BACK


def test_without_labels_the_half_is_never_left_and_the_deadline_leads_back() -> None:
    record = until(at_ten(), Phase.CANARY_50)
    record = replace(record, book=replace(record.book, safe_quality=judge.Book().safe_quality))
    for _ in range(20):
        record = run(record, seen(record), CLEAN, Tick(10.0))
    assert record.phase is Phase.CANARY_50
    record = run(record, Tick(CONFIG.deadline_s))
    assert record.phase is Phase.ROLLING_BACK
    assert "quality" in record.reason


def test_silence_holds_and_new_executions_lift_it() -> None:
    record = at_ten()
    quiet = run(record, seen(record), Tick(NO_DATA_S))
    assert quiet.holds == (Hold.NO_DATA,)
    assert run(quiet, CLEAN).holds == ()


def test_a_pause_stops_the_clocks_and_resume_goes_on() -> None:
    record = at_ten()
    paused = run(record, seen(record), CLEAN, Steer("pause", "lunch"), Tick(5.0))
    assert paused.timers.deadline_s == record.timers.deadline_s
    assert paused.phase is Phase.CANARY_10
    assert until(run(paused, Steer("resume", "back")), Phase.CANARY_50).weight == 0.5


def test_after_a_drift_the_weight_waits_for_fresh_pairs() -> None:
    record = until(at_ten(), Phase.CANARY_50)
    record = run(record, Drift("errors moved"))
    few = run(record, Pairs((-0.1,) * (FRESH_PAIRS - 1), Cursors()))
    assert few.holds == (Hold.DRIFT,)
    assert run(few, Pairs((-0.1,), Cursors())).holds == ()


def test_an_alias_moved_by_hand_holds_the_promotion_until_a_person_resumes() -> None:
    record = until(at_ten(), Phase.CANARY_100)
    while record.stage is Stage.SERVING:
        record = ticked(record)
    held = run(record, AliasMoved("champion is v9"))
    assert (held.stage, held.holds) == (Stage.SERVING, (Hold.ALIAS_MOVED,))
    assert ticked(held).stage is Stage.SERVING
    resumed = run(held, Steer("resume", "moved it back"))
    assert step(resumed, Tick(1.0))[1] == (Promote(2, 1),)


def test_an_abort_while_the_alias_moves_moves_it_back() -> None:
    record = until(at_ten(), Phase.CANARY_100)
    while record.stage is Stage.SERVING:
        record = ticked(record)
    back = run(record, Steer("abort", "no"))
    back = run(back, seen(back))
    assert outstanding(back) == (Restore(2, 1),)


def test_an_abort_after_promotion_is_honoured() -> None:
    record = ended(until(at_ten(), Phase.CANARY_100))
    back = ended(run(record, Steer("abort", "second thoughts")))
    assert (back.phase, back.certified) == (Phase.ROLLED_BACK, False)
    assert back.epoch == record.epoch + 1


def test_routers_that_never_load_the_new_stable_lead_back() -> None:
    record = until(at_ten(), Phase.CANARY_100)
    while record.stage is not Stage.ALIASING:
        record = ticked(record)
    swapping = run(record, Aliased(), Tick(CONFIG.prepare_s + 1))
    assert swapping.phase is Phase.ROLLING_BACK
    assert ended(swapping).phase is Phase.ROLLED_BACK


def test_a_way_back_that_routers_never_confirm_ends_halted() -> None:
    record = run(at_ten(), Steer("abort", "no"), Tick(CONFIG.abandon_s))
    assert outstanding(record) == (Release(2),)
    assert run(record, Released()).phase is Phase.HALTED


def test_another_writer_of_the_split_halts() -> None:
    record = run(at_ten(), Fenced("epoch 9 is in force"))
    assert (record.phase, outstanding(record)) == (Phase.HALTED, ())


def test_a_person_is_told_why_not() -> None:
    back = run(at_ten(), Steer("abort", "no"))
    assert "rolling back" in refusal(back, "pause")
    assert refusal(back, "abort") == ""
    assert "not one of" in refusal(back, "promote")
    assert refusal(at_ten(), "pause") == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": (0.5, 0.1, 1.0)},
        {"hold_s": (1.0,)},
        {"quality_margin": 0.6},
        {"deadline_s": 1.0},
        {"error_slo": 0.0},
        {"alpha": 1.0},
        {"lease_s": 0.0},
    ],
)
def test_impossible_settings_are_refused_by_name(changes: dict[str, object]) -> None:
    (name,) = changes
    with pytest.raises(InvalidInput, match=name):
        check(replace(CONFIG, **changes))  # type: ignore[arg-type]


def test_the_status_tells_weight_holds_and_evidence() -> None:
    told = status(ticked(at_ten()), 5, 6)
    assert (told.weight, told.observed_weight, told.phase) == (0.1, 0.1, Phase.CANARY_10)
    assert told.requests == {"stable": 180, "failed": 0, "canary": 20, "rescued": 0}
    assert {line.name for line in told.evidence} == {"harm:errors", "safety:errors", "harm:quality", "safety:quality"}


# ---------------------------------------------------------------- any order of events

FLOATS = st.floats(-1, 1)
SMALL = st.integers(0, 40)


@st.composite
def tallies(draw: st.DrawFn) -> Tally:
    stable, canary = draw(SMALL), draw(SMALL)
    return Tally(stable, draw(st.integers(0, stable)), canary, draw(st.integers(0, canary)))


ANY = st.one_of(
    st.just(Started(1, 4, Cursors())),
    st.just(ChallengerReady()),
    st.just(ChallengerFailed("x")),
    st.just(Aliased()),
    st.just(AliasMoved("x")),
    st.just(Restored("")),
    st.just(Released()),
    st.just(Drift("x")),
    st.builds(Steer, st.sampled_from(["pause", "resume", "abort"]), st.just("x")),
    st.builds(Tick, st.floats(0, 50)),
    st.builds(lambda t: Counts(t, t, Cursors()), tallies()),
    st.builds(lambda d: Pairs(tuple(d), Cursors()), st.lists(FLOATS, max_size=30)),
    st.just(CLEAN),
    st.just(GOOD),
    st.just("seen"),
    st.just("seen"),
    st.builds(lambda s, r, f: ("seen", s, r, f), st.sampled_from([1, None]), st.booleans(), st.booleans()),
)


def concrete(record: Record, drawn: object) -> Event:
    if drawn == "seen":
        return seen(record)
    if isinstance(drawn, tuple):
        return seen(record, stable=drawn[1], canary_ready=drawn[2], frozen=drawn[3])
    return cast(Event, drawn)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(ANY, max_size=60))
def test_for_any_events_the_weight_rises_only_with_right_and_the_log_replays(drawn: list[object]) -> None:
    record = fresh()
    log: list[tuple[str, str, str]] = []
    for item in drawn:
        before, event = record, concrete(record, item)
        record, commands = step(before, event)
        log.append((to_json(event), to_json(record), to_json(tuple(commands))))
        if record.weight > before.weight:
            assert not before.holds
            assert not record.holds
            if before.phase is not Phase.PREPARING:
                assert isinstance(event, Tick)
                assert before.confirmed
                gate = Gate.ERRORS if before.phase is Phase.CANARY_10 else Gate.ERRORS_AND_QUALITY
                assert judge.verdict(before.book, CONFIG, gate) == Safe()
        if before.phase is Phase.ROLLING_BACK:
            assert record.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK, Phase.HALTED)
        if before.phase in (Phase.ROLLED_BACK, Phase.HALTED):
            assert record == before
        assert record.epoch >= before.epoch
        assert set(commands) <= set(outstanding(record))
    replayed = fresh()
    for event_json, record_json, commands_json in log:
        replayed, again = step(replayed, from_json(cast("type[Event]", Event), event_json))
        assert (to_json(replayed), to_json(tuple(again))) == (record_json, commands_json)
    assert from_json(Record, to_json(record)) == record
    assert ended(run(record, Steer("abort", "end"))).phase in TERMINAL


def test_commands_survive_the_log() -> None:
    record = at_ten()
    for command in (Warm(2), Promote(2, 1), Restore(2, 1), Release(2), *outstanding(record)):
        assert from_json(cast("type[Command]", Command), to_json(command)) == command


def test_the_record_stays_small() -> None:
    assert len(to_json(until(at_ten(), Phase.CANARY_100))) < 4096
