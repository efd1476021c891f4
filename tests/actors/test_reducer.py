"""What a roll-out does, event by event: its rules by example (that they hold in every order: test_model_check.py)."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from actors.adaptive_learning.deployment import bookkeeping
from actors.adaptive_learning.deployment.bookkeeping import Executions, Tally
from actors.adaptive_learning.deployment.events import (
    Aliased,
    AliasMoved,
    Baseline,
    Calendar,
    ChallengerFailed,
    ChallengerReady,
    Command,
    Counts,
    Cursors,
    Drift,
    Event,
    Fenced,
    Matured,
    Observed,
    Pairs,
    Promote,
    Release,
    Released,
    Requested,
    Restore,
    Restored,
    SetSplit,
    Started,
    Steer,
    Tick,
    Warm,
)
from actors.adaptive_learning.deployment.judge import Hold
from actors.adaptive_learning.deployment.record import (
    FRESH_PAIRS,
    NO_DATA_S,
    NO_LABELS_S,
    Record,
    Stage,
    intended,
    name,
    new_record,
    outstanding,
    status,
    waits_for,
)
from actors.adaptive_learning.deployment.reducer import refusal, step
from core.codec import from_json, to_json
from core.schemas.rollouts import STRATEGIES, TERMINAL, Phase, RolloutConfig, SplitReport, Strategy, configured

CONFIG = RolloutConfig(hold_s=(2.0, 2.0, 2.0), deadline_s=600.0)
CLEAN = Counts({"": Executions(200, 200)}, Tally(180, 0, 20, 0), 0, 0, Cursors(prediction=9))
DEAD = Counts({"": Executions(200, 200, {}, {"errors": 200})}, Tally(180, 0, 20, 20), 0, 0, Cursors(prediction=9))
BOTH = Counts({"": Executions(20, 20, {"errors": 10}, {"errors": 10})}, Tally(), 0, 0, Cursors(prediction=9))
GOOD = Pairs((-0.1, -0.05, 0.02) * 20, Cursors(outcome=9))
BAD = Pairs((0.6, 0.4, 0.5) * 20, Cursors(outcome=9))


def fresh(config: RolloutConfig = CONFIG) -> Record:
    return new_record("r", "engagement", 2, 1, config)


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


def loading(config: RolloutConfig = CONFIG) -> Record:
    return run(fresh(config), Started(1, 4, Cursors()))


def at_ten(config: RolloutConfig = CONFIG) -> Record:
    record = loading(config)
    return run(record, seen(record), ChallengerReady())


def ticked(record: Record, *, counts: Counts = CLEAN, pairs: Pairs = GOOD) -> Record:
    """A pass in which all is well."""
    return run(record, seen(record), counts, pairs, Tick(1.0))


def until(record: Record, where: str) -> Record:
    for _ in range(60):
        if name(record) == where and record.stage is Stage.SERVING:
            return record
        record = ticked(record)
    raise AssertionError(f"stays at {name(record)}: {record.reason}")


def certified(config: RolloutConfig = CONFIG) -> Record:
    """The last step is passed, and the registry is asked to move the champion."""
    record = until(at_ten(config), "canary_100")
    while record.stage is Stage.SERVING:
        record = ticked(record)
    return record


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
    for where in ("canary_50", "canary_100"):
        record = until(record, where)
        weights.append(record.weight)
    assert weights == [0.1, 0.5, 1.0]
    record = ended(record)
    assert (record.phase, record.certified) == (Phase.PROMOTED, True)
    assert "has replaced v1" in record.reason


def test_promotion_moves_the_alias_before_the_routers_swap_and_releases_last() -> None:
    record = until(at_ten(), "canary_100")
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
@pytest.mark.parametrize("where", ["canary_10", "canary_50", "canary_100"])
def test_from_every_step_harm_leads_back_at_once(where: str, event: Event, reason: str) -> None:
    record = until(at_ten(), where)
    back, commands = record, ()
    for _ in range(5):
        if back.phase is Phase.TRIAL:
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
    assert (name(down), down.holds) == ("canary_10", (Hold.CANARY_DOWN,))
    assert run(down, Tick(1)).phase is Phase.ROLLING_BACK
    assert run(down, seen(record), Tick(1)).phase is Phase.TRIAL


def test_nothing_rolls_back_into_a_stable_version_that_is_down() -> None:
    record = at_ten()
    down = run(record, seen(record, stable=None), DEAD, Tick(10_000))
    assert name(down) == "canary_10"
    assert Hold.STABLE_DOWN in down.holds
    assert run(down, seen(record), Tick(1)).phase is Phase.ROLLING_BACK


def test_without_labels_the_half_is_never_left_and_the_deadline_leads_back() -> None:
    record = until(at_ten(), "canary_50")
    record = replace(record, book=replace(record.book, safe_quality=bookkeeping.Book().safe_quality))
    for _ in range(20):
        record = run(record, seen(record), CLEAN, Tick(10.0))
    assert name(record) == "canary_50"
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
    assert name(paused) == "canary_10"
    assert until(run(paused, Steer("resume", "back")), "canary_50").weight == 0.5


def test_after_a_drift_the_weight_waits_for_fresh_pairs() -> None:
    record = until(at_ten(), "canary_50")
    record = run(record, Drift("errors moved"))
    few = run(record, Pairs((-0.1,) * (FRESH_PAIRS - 1), Cursors()))
    assert few.holds == (Hold.DRIFT,)
    assert run(few, Pairs((-0.1,), Cursors())).holds == ()


def test_an_alias_moved_by_hand_holds_the_promotion_until_a_person_resumes() -> None:
    held = run(certified(), AliasMoved("champion is v9"))
    assert (held.stage, held.holds) == (Stage.SERVING, (Hold.ALIAS_MOVED,))
    assert ticked(held).stage is Stage.SERVING
    resumed = run(held, Steer("resume", "moved it back"))
    assert step(resumed, Tick(1.0))[1] == (Promote(2, 1),)


def test_an_alias_moved_by_hand_during_a_step_holds_it_and_is_held_again_while_it_stays_moved() -> None:
    held = run(at_ten(), AliasMoved("champion is v9"))
    assert ticked(ticked(held)).holds == (Hold.ALIAS_MOVED,)
    resumed = run(held, Steer("resume", "go on"))
    assert resumed.holds == ()
    assert run(resumed, AliasMoved("champion is v9")).holds == (Hold.ALIAS_MOVED,)


def test_no_first_share_is_given_while_somebody_elses_version_is_champion() -> None:
    held = run(loading(), seen(loading()), AliasMoved("champion is v9"), ChallengerReady())
    assert (held.stage, held.holds) == (Stage.LOADING, (Hold.ALIAS_MOVED,))
    assert name(run(held, Steer("resume", "moved it back"), ChallengerReady())) == "canary_10"


def test_an_abort_while_the_alias_moves_moves_it_back() -> None:
    back = run(certified(), Steer("abort", "no"))
    back = run(back, seen(back))
    assert outstanding(back) == (Restore(2, 1),)


def test_an_abort_after_promotion_is_honoured() -> None:
    record = ended(until(at_ten(), "canary_100"))
    back = ended(run(record, Steer("abort", "second thoughts")))
    assert (back.phase, back.certified) == (Phase.ROLLED_BACK, False)
    assert back.epoch == record.epoch + 1


def test_routers_that_never_load_the_new_stable_lead_back() -> None:
    swapping = run(certified(), Aliased(), Tick(CONFIG.prepare_s + 1))
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
    assert "not one of" in refusal(back, "promotion")
    assert refusal(at_ten(), "pause") == ""


def test_the_status_tells_weight_holds_and_evidence() -> None:
    told = status(ticked(at_ten()), 5, 6)
    assert (told.weight, told.observed_weight, told.phase) == (0.1, 0.1, "canary_10")
    assert told.requests == {"stable": 180, "failed": 0, "canary": 20, "rescued": 0}
    names = {line.name for line in told.evidence}
    assert {f"harm:{guard}" for guard in CONFIG.guards} <= names
    assert {"safety:errors", "safety:errors_ratio", "safety:quality"} <= names
    assert told.labels == {"pairs": 60, "due": 0, "labelled": 0}
    assert (told.step, told.hold_remaining_s, told.deadline_remaining_s) == (0, 1.0, 599.0)
    assert told.waits_for.startswith("1 s left at this step")


# ---------------------------------------------------------------- other ways into service


SHARES = {
    "canary": [0.1, 0.5, 1.0],
    "rolling": [0.25, 0.5, 0.75, 1.0],
    "blue_green": [0.0, 1.0],
    "direct": [1.0],
}


def by(strategy: Strategy) -> Record:
    n = len(SHARES[strategy])
    return at_ten(configured({"deadline_s": 600.0}, {"hold_s": (2.0,) * n}, strategy))


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_every_strategy_goes_through_its_own_shares_to_promotion(strategy: Strategy) -> None:
    record, shares = by(strategy), []
    for _ in range(60):
        if record.stage is not Stage.SERVING:
            break
        if record.weight not in shares:
            shares.append(record.weight)
        record = ticked(record)
    assert shares == SHARES[strategy]
    assert ended(record).phase is Phase.PROMOTED


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
@pytest.mark.parametrize(("event", "reason"), [(DEAD, "worse by errors"), (Tick(600.0), "not enough evidence")])
def test_every_strategy_rolls_back_on_harm_and_at_the_deadline(strategy: Strategy, event: Event, reason: str) -> None:
    record = by(strategy)
    back = run(record, seen(record), event)
    assert reason in back.reason
    assert ended(back).phase is Phase.ROLLED_BACK


def test_a_first_step_without_a_share_is_called_shadow_and_gathers_evidence_in_the_background() -> None:
    record = by("blue_green")
    assert name(record) == "shadow"
    split = intended(record)
    assert split is not None
    assert (split.canary, split.weight, split.shadow) == (2, 0.0, True)
    assert name(until(record, "canary_100")) == "canary_100"


def test_direct_stays_at_its_only_step_without_evidence() -> None:
    record = by("direct")
    for _ in range(20):
        record = run(record, seen(record), Tick(1.0))
    assert (record.stage, record.timers.hold_s <= 0) == (Stage.SERVING, True)
    assert "errors log e 0.00" in waits_for(record)


# ---------------------------------------------------------------- a person's word


def waiting(config: RolloutConfig) -> Record:
    """All is well for some seconds, and the roll-out still stands."""
    record = at_ten(config)
    for _ in range(6):
        record = ticked(record)
    return record


def test_a_rise_waits_for_approval_where_it_is_asked_for_and_each_rise_anew() -> None:
    config = replace(CONFIG, approvals=("rise",))
    record = waiting(config)
    assert (name(record), record.holds) == ("canary_10", (Hold.AWAITING_APPROVAL,))
    assert "waits for approval" in record.reason
    risen = run(record, Steer("resume", "yes"), Tick(1.0))
    assert name(risen) == "canary_50"
    for _ in range(6):
        risen = ticked(risen)
    assert (name(risen), risen.holds) == ("canary_50", (Hold.AWAITING_APPROVAL,))


def test_only_the_end_waits_where_only_the_promotion_is_to_be_approved() -> None:
    record = until(at_ten(replace(CONFIG, approvals=("promote",))), "canary_100")
    for _ in range(6):
        record = ticked(record)
    assert (record.stage, record.holds) == (Stage.SERVING, (Hold.AWAITING_APPROVAL,))
    assert ended(run(record, Steer("resume", "yes"))).phase is Phase.PROMOTED


def test_the_start_waits_where_it_is_to_be_approved_whoever_asked_for_it() -> None:
    record = fresh(replace(CONFIG, approvals=("start",)))
    assert run(record, Started(1, 4, Cursors())).stage is Stage.QUEUED
    assert run(record, Steer("resume", "go"), Started(1, 4, Cursors())).stage is Stage.LOADING


def test_going_on_after_a_pause_approves_no_rise_in_advance() -> None:
    record = at_ten(replace(CONFIG, approvals=("rise",)))
    record = run(record, Steer("pause", "lunch"), Steer("resume", "back"))
    for _ in range(6):
        record = ticked(record)
    assert (name(record), record.holds) == ("canary_10", (Hold.AWAITING_APPROVAL,))


def test_an_approval_does_not_wait_for_evidence_to_be_unasked() -> None:
    record = run(waiting(replace(CONFIG, approvals=("rise",))), Steer("resume", "yes"))
    record = replace(record, book=bookkeeping.Book())
    assert name(run(record, Tick(1.0))) == "canary_10"


def test_a_person_may_promote_what_is_shown_before_its_time_but_only_one_step() -> None:
    record = at_ten(replace(CONFIG, hold_s=(100.0,) * 3, approvals=("rise",)))
    record = ticked(ticked(record))
    assert refusal(record, "promote") == ""
    record = run(record, Steer("promote", "in a hurry"))
    assert (name(record), record.weight) == ("canary_10", 0.1)
    record = run(record, Tick(0.1))
    assert (name(record), record.timers.hold_s, record.approved) == ("canary_50", 100.0, False)


def test_a_person_cannot_promote_without_evidence_under_a_hold_or_unconfirmed() -> None:
    record = at_ten()
    assert "not enough evidence: errors" in refusal(run(record, seen(record)), "promote")
    shown = ticked(run(record, CLEAN))
    assert refusal(shown, "promote") == ""
    assert "held: drift" in refusal(run(shown, Drift("x")), "promote")
    assert "held: frozen" in refusal(run(shown, Calendar("a window")), "promote")
    assert "not every router" in refusal(run(shown, seen(shown, weight=0.2)), "promote")
    assert "held: both_bad" in refusal(run(shown, *[BOTH] * 6), "promote")
    assert "loading" in refusal(loading(), "promote")
    for refused in (run(record, seen(record)), run(shown, Drift("x"))):
        assert run(refused, Steer("promote", "x")) is refused


def test_evidence_that_turns_between_a_persons_word_and_the_tick_is_heard() -> None:
    record = run(ticked(run(at_ten(), CLEAN)), Steer("promote", "in a hurry"), *[DEAD] * 3)
    assert record.phase is Phase.ROLLING_BACK


def test_what_is_paused_for_ever_can_be_aborted_and_a_pause_outlasts_deadline_and_patience() -> None:
    paused = run(at_ten(), Steer("pause", "x"), Tick(1e6))
    assert paused.phase is Phase.TRIAL
    assert ended(run(paused, Steer("abort", "x"))).phase is Phase.ROLLED_BACK
    loading_still = run(loading(), Steer("pause", "x"), Tick(1e6))
    assert (loading_still.stage, loading_still.holds) == (Stage.LOADING, (Hold.PAUSED,))
    queued = run(fresh(), Steer("pause", "x"), Started(1, 4, Cursors()))
    assert queued.stage is Stage.QUEUED
    assert run(queued, Steer("abort", "x")).phase is Phase.ROLLED_BACK


def test_a_request_in_the_log_changes_nothing() -> None:
    record = at_ten()
    assert run(record, Requested(2, 1, CONFIG, True, "x")) is record


# ---------------------------------------------------------------- what holds


def test_in_a_freeze_window_nothing_rises_the_clocks_stand_and_harm_still_leads_back() -> None:
    record = run(at_ten(), Calendar("Fri 16:00 - Mon 08:00 UTC"))
    for _ in range(6):
        record = ticked(record)
    assert (name(record), record.holds) == ("canary_10", (Hold.FROZEN,))
    assert record.timers.deadline_s == CONFIG.deadline_s
    assert run(record, *[DEAD] * 3).phase is Phase.ROLLING_BACK
    assert name(until(run(record, Calendar("")), "canary_50")) == "canary_50"


def test_no_first_share_is_given_in_a_freeze_window() -> None:
    record = run(loading(), seen(loading()), Calendar("a window"), ChallengerReady(), Tick(1e6))
    assert (record.stage, record.holds) == (Stage.LOADING, (Hold.FROZEN,))
    assert name(run(record, Calendar(""), ChallengerReady())) == "canary_10"


def test_a_lease_that_ran_out_holds_until_it_is_renewed() -> None:
    record = at_ten()
    held = run(record, seen(record, frozen=True), CLEAN, GOOD)
    assert held.holds == (Hold.LEASE,)
    assert run(held, Tick(5.0)).timers.hold_s == 2.0
    assert run(held, seen(held)).holds == ()


def test_a_canary_whose_process_is_gone_leads_back_at_once() -> None:
    record = at_ten()
    back = run(record, seen(record, canary_ready=False, canary_gone=True))
    assert (back.phase, back.reason) == (Phase.ROLLING_BACK, "the canary's process is gone")


@pytest.mark.parametrize("sign", [{"canary_gone": True}, {"breaker_open": True, "weight": 0.0}])
def test_a_lost_canary_waits_for_a_stable_version_that_answers(sign: dict[str, object]) -> None:
    record = at_ten()
    down = run(record, seen(record, stable=None, **sign))
    assert (down.phase, down.holds) == (Phase.TRIAL, (Hold.STABLE_DOWN,))
    assert run(down, seen(down, **sign)).phase is Phase.ROLLING_BACK


def test_silent_routers_hold_and_a_person_may_abort_all_the_same() -> None:
    down = run(at_ten(), Observed(()), DEAD, Tick(10_000))
    assert (down.phase, down.holds) == (Phase.TRIAL, (Hold.NO_DATA, Hold.STABLE_DOWN))
    assert run(down, Steer("abort", "x")).phase is Phase.ROLLING_BACK


def test_while_the_alias_moves_harm_waits_for_a_stable_version_too() -> None:
    down = run(certified(), Observed(()), *[DEAD] * 20)
    assert (down.stage, down.holds) == (Stage.ALIASING, (Hold.STABLE_DOWN,))
    assert run(down, seen(down)).phase is Phase.ROLLING_BACK


def test_routers_that_serve_nothing_while_swapping_are_waited_for() -> None:
    swapping = run(certified(), Aliased())
    silent = run(swapping, Observed(()), Tick(CONFIG.prepare_s + 1))
    assert (silent.stage, silent.holds) == (Stage.SWAPPING, (Hold.STABLE_DOWN,))
    assert run(silent, seen(silent)).stage is Stage.RELEASING
    assert run(silent, seen(silent, stable=1, epoch=1), Tick(1.0)).phase is Phase.ROLLING_BACK
    assert run(silent, seen(silent), Released()).holds == ()


def test_while_both_versions_fail_even_the_deadline_leads_not_back_into_the_sick_one() -> None:
    record = run(at_ten(), *[BOTH] * 6, Tick(CONFIG.deadline_s + 1))
    assert (record.phase, record.holds) == (Phase.TRIAL, (Hold.BOTH_BAD, Hold.NO_DATA))
    recovered = run(record, seen(record), *[CLEAN] * 4)
    assert Hold.BOTH_BAD not in recovered.holds
    assert run(recovered, Tick(1.0)).phase is Phase.ROLLING_BACK


def test_the_deadline_runs_on_under_holds_that_nobody_asked_for() -> None:
    quiet = run(at_ten(), Tick(NO_DATA_S))
    assert quiet.holds == (Hold.NO_DATA,)
    back = run(quiet, Tick(CONFIG.deadline_s))
    assert back.phase is Phase.ROLLING_BACK
    assert "held: no_data" in back.reason


def keys(stable: int, canary: int) -> Counts:
    return Counts({}, Tally(), stable, canary, Cursors())


def test_keys_in_other_shares_than_ordered_hold_and_are_counted_anew_at_the_next_split() -> None:
    record = run(at_ten(), keys(90, 10))
    assert (record.holds, record.book.keys) == ((), Tally(90, 0, 10, 0))
    assert run(record, keys(300, 300)).holds == (Hold.SAMPLE_RATIO,)
    risen = until(record, "canary_50")
    assert risen.book.keys == Tally()
    assert run(risen, keys(50, 50)).holds == ()
    assert run(risen, keys(90, 10)).holds == (Hold.SAMPLE_RATIO,)


def test_missing_outcomes_hold_by_their_share_and_by_their_silence() -> None:
    few = run(at_ten(), Matured(60, 5, Cursors(matured_until=7)))
    assert (few.holds, few.cursors.matured_until) == ((Hold.NO_LABELS,), 7)
    assert run(few, Pairs((0.1,), Cursors())).holds == (Hold.NO_LABELS,)  # some came, but still too few of those due
    assert run(few, Matured(400, 390, Cursors()), Pairs((0.1,), Cursors())).holds == ()
    at_fifty = until(at_ten(replace(CONFIG, deadline_s=1e6)), "canary_50")
    silent = run(at_fifty, CLEAN, Tick(NO_LABELS_S))
    assert Hold.NO_LABELS in silent.holds
    assert Hold.NO_LABELS not in run(silent, Pairs((0.1,), Cursors())).holds
    assert Hold.NO_LABELS not in run(at_ten(replace(CONFIG, deadline_s=1e6)), Tick(NO_LABELS_S)).holds


def test_each_further_drift_asks_for_fresh_pairs_again() -> None:
    record = run(until(at_ten(), "canary_50"), Drift("inputs moved"), Pairs((0.0,) * (FRESH_PAIRS - 1), Cursors()))
    again = run(record, Drift("inputs moved on"), Pairs((0.0,), Cursors()))
    assert again.holds == (Hold.DRIFT,)
    assert run(again, Steer("resume", "x")).holds == (Hold.DRIFT,)
    assert run(again, Pairs((0.0,) * (FRESH_PAIRS - 1), Cursors())).holds == ()


def test_stables_quantiles_are_frozen_once() -> None:
    record = run(at_ten(), Baseline((1.0, 2.0, 3.0), 2000), Baseline((9.0, 9.0, 9.0), 2000))
    assert record.stable_quantiles_ms == (1.0, 2.0, 3.0)


# ---------------------------------------------------------------- what is no number


NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize("seconds", [NAN, INFINITE, -INFINITE, -5.0, 0.0])
def test_seconds_that_are_no_duration_move_no_clock(seconds: float) -> None:
    record = at_ten()
    record = run(record, seen(record))
    assert run(record, Tick(seconds)) is record


def test_pairs_that_are_no_numbers_are_left_out_and_do_not_count_as_outcomes() -> None:
    record = run(at_ten(), Tick(5.0))
    after = run(record, Pairs((NAN, INFINITE, 1.5), Cursors(outcome=9)))
    assert (after.book, after.timers.unlabelled_s, after.cursors.outcome) == (record.book, 5.0, 9)
    assert run(record, Pairs((NAN, 0.1), Cursors())).book.pairs == 1


def test_quantiles_and_weights_that_are_no_numbers_do_not_enter() -> None:
    record = at_ten()
    assert run(record, Baseline((1.0, NAN, 3.0), 2000)) is record
    odd = run(record, seen(record, weight=NAN))
    assert (odd.observed_weight, odd.confirmed) == (None, False)


# ---------------------------------------------------------------- the log


def test_a_log_of_the_whole_way_replays_bit_for_bit() -> None:
    record, log = fresh(), []
    for _ in range(40):
        for event in (
            Started(1, 4, Cursors()),
            seen(record),
            ChallengerReady(),
            CLEAN,
            GOOD,
            Tick(1.0),
            Aliased(),
            Released(),
        ):
            record, commands = step(record, event)
            log.append((to_json(event), to_json(record), to_json(commands)))
    assert record.phase is Phase.PROMOTED
    replayed = fresh()
    for event_json, record_json, commands_json in log:
        replayed, again = step(replayed, from_json(cast("type[Event]", Event), event_json))
        assert (to_json(replayed), to_json(again)) == (record_json, commands_json)
    assert from_json(Record, to_json(record)) == record


def test_commands_survive_the_log() -> None:
    record = at_ten()
    for command in (Warm(2), Promote(2, 1), Restore(2, 1), Release(2), *outstanding(record)):
        assert from_json(cast("type[Command]", Command), to_json(command)) == command


def test_the_record_stays_small() -> None:
    """Six counts at a kilobyte each at most, and the rest."""
    assert len(to_json(until(at_ten(), "canary_100"))) < 8192
