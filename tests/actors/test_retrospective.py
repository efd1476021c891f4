"""A log replays bit for bit, and tells where another configuration would have led on the same traffic."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from actors.adaptive_learning.deployment import audit
from actors.adaptive_learning.deployment.bookkeeping import Executions, Tally
from actors.adaptive_learning.deployment.events import (
    AliasMoved,
    Calendar,
    Counts,
    Cursors,
    Drift,
    Fenced,
    Observed,
    Pairs,
    Steer,
)
from actors.adaptive_learning.deployment.retrace import retrace
from actors.adaptive_learning.deployment.retrospective import replay
from bench._rollout_tape import Tape, Traffic, tape
from core.codec import to_json
from core.errors import InvalidInput
from core.schemas.rollouts import Phase, Replayed, RolloutConfig, SplitReport
from core.store.rollouts import DIGEST

CONFIG = RolloutConfig(hold_s=(20.0, 20.0, 20.0), deadline_s=600.0)
QUICK = replace(CONFIG, hold_s=(5.0, 5.0, 5.0))
TRAFFIC = Traffic(rps=60.0, pairs_per_s=2.0)


def recorded(config: RolloutConfig = CONFIG, traffic: Traffic = TRAFFIC, seconds: int = 400) -> Tape:
    made = tape(config, seed=5)
    made.run(seconds, traffic)
    return made


def phases(found: Replayed) -> list[str]:
    return [transition["phase"] for transition in found.transitions]


UP = ["preparing", "canary_10", "canary_50", "canary_100", "promoted"]


@pytest.mark.parametrize("ages", [False, True])
def test_a_promotion_replays_bit_for_bit(ages: bool) -> None:
    made = recorded(replace(CONFIG, by_known_age=ages))
    rows = made.rows()
    found = replay(rows)
    assert found.identical is True
    assert (found.phase, found.reason, found.events) == ("promoted", made.record.reason, len(rows))
    assert phases(found) == UP
    assert sum(row.record.startswith(DIGEST) for row in rows) > len(rows) / 2  # hashes are checked, not only texts


def test_a_way_back_replays_bit_for_bit() -> None:
    found = replay(recorded(traffic=replace(TRAFFIC, canary_errors=0.2)).rows())
    assert found.identical is True
    assert phases(found) == ["preparing", "canary_10", "rolling_back", "rolled_back"]
    assert "worse by errors" in found.reason


def test_the_state_machine_s_own_record_is_what_a_retraced_log_ends_with() -> None:
    made = recorded(seconds=30)
    *_, last = retrace(made.rows())
    assert to_json(last.record) == made.store.load(made.id).record


@pytest.mark.parametrize("field", ["event", "record", "commands"])
def test_a_row_that_leads_elsewhere_is_noticed(field: str) -> None:
    rows = list(recorded(seconds=30).rows())
    at = next(i for i, row in enumerate(rows) if '"kind":"counts"' in row.event and row.record.startswith(DIGEST))
    forged = {
        "event": rows[at].event.replace('"stable_n":', '"stable_n":1'),
        "record": DIGEST + "0" * 64,
        "commands": rows[1].commands,
    }
    assert forged[field] != getattr(rows[at], field)
    rows[at] = replace(rows[at], **{field: forged[field]})
    assert replay(rows).identical is False


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_to_a_roll_out_replays_bit_for_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = tape(replace(CONFIG, approvals=("promote",), by_known_age=bool(seed % 2)), seed)
    happenings = (
        Steer("pause", "ü"),
        Steer("resume", '"book":{}'),
        Steer("promote", "now"),
        Drift("inputs moved"),
        AliasMoved("to v7"),
        Calendar("Wed 00:00 - Wed 12:00 UTC"),
        Calendar(""),
        Observed(()),
        Steer("abort", "enough"),
        Fenced("another epoch"),
    )
    for _ in range(15):
        traffic = replace(
            TRAFFIC, canary_errors=float(rng.choice([0.0, 0.002, 0.02])), slower=float(rng.choice([1, 4]))
        )
        made.run(int(rng.integers(1, 12)), traffic)
        if rng.random() < 0.5:
            made.feed(happenings[int(rng.choice(len(happenings), p=[0.13] * 7 + [0.05, 0.02, 0.02]))])
    *_, last = retrace(made.rows())
    assert replay(made.rows()).identical is True
    assert last.record == made.record
    assert audit.verify(made.store, made.id) == len(made.rows())


@pytest.mark.parametrize("seed", range(6))
def test_without_a_person_s_word_the_recorded_configuration_ends_as_recorded(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    made = tape(CONFIG, seed)
    for _ in range(8):
        made.run(int(rng.integers(5, 15)), replace(TRAFFIC, canary_errors=float(rng.choice([0.0, 0.002, 0.01]))))
        made.feed(Drift("inputs moved"))
    exact, again = replay(made.rows()), replay(made.rows(), CONFIG)
    assert phases(exact) == phases(again)
    for one, other in zip(exact.transitions, again.transitions, strict=True):
        assert abs(one["at_s"] - other["at_s"]) <= 2.0


def test_the_recorded_configuration_leads_the_same_way_at_the_same_times() -> None:
    rows = recorded().rows()
    exact, again = replay(rows), replay(rows, CONFIG)
    assert again.identical is None
    assert phases(again) == UP
    for one, other in zip(exact.transitions, again.transitions, strict=True):
        assert abs(one["at_s"] - other["at_s"]) <= 2.0
    assert exact.recorded_s == pytest.approx(again.recorded_s, abs=2.0)


def test_shorter_holds_promote_sooner_on_the_same_traffic() -> None:
    rows = recorded().rows()
    exact, quick = replay(rows), replay(rows, QUICK)
    assert phases(quick) == UP
    assert quick.transitions[-1]["at_s"] < exact.transitions[-1]["at_s"] - 10.0


def test_other_steps_are_taken_although_keys_were_routed_at_the_recorded_ones() -> None:
    made = tape(CONFIG, seed=5)
    made.run(400, replace(TRAFFIC, channels=5000))  # taken for keys of a 25 % split, these would be skewed at once
    steps = (0.25, 0.5, 1.0)
    found = replay(made.rows(), replace(QUICK, steps=steps))
    assert phases(found) == ["preparing", "canary_25", "canary_50", "canary_100", "promoted"]


def test_a_guard_that_was_not_set_would_have_turned_it_back() -> None:
    careless = replace(CONFIG, guards=("quality",), gates=(("quality",),) * 3)
    rows = recorded(careless, replace(TRAFFIC, stable_errors=0.002, canary_errors=0.02)).rows()
    assert replay(rows).phase == "promoted"
    careful = replay(rows, CONFIG)
    assert careful.phase == "rolled_back"
    assert "worse by errors" in careful.reason
    assert careful.transitions[-1]["at_s"] < 60.0


def test_a_roll_out_that_was_condemned_stays_open_without_that_guard() -> None:
    rows = recorded(traffic=replace(TRAFFIC, canary_errors=0.2)).rows()
    found = replay(rows, replace(CONFIG, guards=("quality",), gates=(("quality",),) * 3))
    assert found.phase == "canary_10"
    assert found.reason.startswith("the recording ends; ")
    assert "left at this step" in found.reason


def test_a_pause_and_an_abort_were_answers_to_the_recorded_course() -> None:
    made = tape(CONFIG, seed=5)
    made.run(3, TRAFFIC)
    made.feed(Steer("pause", "lunch"))
    made.run(120, TRAFFIC)
    made.feed(Steer("abort", "enough"))
    made.run(5, TRAFFIC)
    rows = made.rows()
    assert replay(rows).identical is True
    assert replay(rows).phase == "rolled_back"
    assert replay(rows, CONFIG).phase == "promoted"


def test_a_hold_by_a_moved_alias_ends_with_the_recorded_word() -> None:
    made = tape(CONFIG, seed=5)
    made.run(3, TRAFFIC)
    made.feed(AliasMoved("somebody made v7 champion"))
    made.run(50, TRAFFIC)
    held = replay(made.rows(), QUICK)
    assert (held.phase, "alias_moved" in held.reason) == ("canary_10", True)
    made.feed(Steer("resume", "it is v1 again"))
    made.run(100, TRAFFIC)
    assert phases(replay(made.rows(), QUICK)) == UP


def test_approvals_are_taken_as_given() -> None:
    rows = recorded().rows()
    found = replay(rows, replace(QUICK, approvals=("start", "rise", "promote")))
    assert phases(found) == UP


def test_freeze_windows_are_those_of_the_configuration_asked_about() -> None:
    made = tape(CONFIG, seed=5)  # a Wednesday, 00:00
    made.run(3, TRAFFIC)
    made.feed(Calendar("Wed 00:00 - Wed 12:00 UTC"))
    made.run(100, TRAFFIC)
    rows = made.rows()
    assert replay(rows).phase == "canary_10"
    assert replay(rows, QUICK).phase == "promoted"
    frozen = replay(rows, replace(QUICK, hold_s=(5.0, 5.0, 70.0), freeze=("Wed 00:01 - Wed 12:00 UTC",)))
    assert frozen.phase == "canary_100"  # it rose twice within the first minute, and could not end in the next
    assert "held: frozen" in frozen.reason


def test_a_router_s_breaker_opens_under_any_configuration() -> None:
    made = tape(CONFIG, seed=5)
    made.run(5, TRAFFIC)
    made.reports = lambda report: replace(report, breaker_open=True, weight=0.0)
    made.run(1, TRAFFIC)
    made.reports = lambda report: report
    made.run(5, TRAFFIC)
    found = replay(made.rows(), replace(CONFIG, steps=(0.2, 1.0), hold_s=(20.0,) * 2, gates=(("errors",),) * 2))
    assert found.phase == "rolled_back"
    assert "breaker" in found.reason


def test_a_canary_that_did_not_answer_holds_any_configuration_for_as_long() -> None:
    made = tape(CONFIG, seed=5)
    made.run(2, TRAFFIC)

    def silent(report: SplitReport) -> SplitReport:
        return replace(report, canary_ready=False)

    made.reports = silent
    made.run(25, TRAFFIC)
    made.reports = lambda report: report
    made.run(100, TRAFFIC)
    found = replay(made.rows(), QUICK)
    assert phases(found) == UP
    assert found.transitions[2]["at_s"] >= 27.0


def test_routers_that_lag_in_the_recording_do_not_hold_another_course() -> None:
    made = tape(CONFIG, seed=5)
    made.run(22, TRAFFIC)
    assert made.record.weight == 0.5
    made.feed(Observed((SplitReport(made.record.epoch - 1, 1, 2, 0.1, True, False, False, 1),)))
    made.run(100, TRAFFIC)
    assert phases(replay(made.rows(), QUICK)) == UP


def test_differences_are_clipped_again_at_a_smaller_clip() -> None:
    small = replace(TRAFFIC, pair_mean=-0.1, pair_sd=0.05)
    rows = recorded(traffic=small).rows()
    half = replay(rows, replace(CONFIG, quality_clip=0.25))  # nothing is as large: the same in natural units
    assert difference(half) == pytest.approx(difference(replay(rows, CONFIG)), abs=1e-3)
    tight = replay(rows, replace(CONFIG, quality_clip=0.03, quality_margin=0.02))
    assert -0.03 <= difference(tight) < -0.02  # of -.05, clipped at .03


def test_what_is_no_difference_stays_none_under_a_smaller_clip() -> None:
    made = tape(CONFIG, seed=5)
    made.feed(Pairs((float("nan"), 0.1) * 40, Cursors()))
    made.run(100, TRAFFIC)
    found = replay(made.rows(), replace(CONFIG, quality_clip=0.3))
    assert found.phase == "promoted"


def difference(found: Replayed) -> float:
    text = re.search(r"difference of \|log error\| ([-+.\d]+)", found.transitions[2]["reason"])
    assert text is not None
    return float(text[1])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"by_known_age": True}, "not kept by known age"),
        ({"latency_floor_ms": 1.0}, "recorded limits"),
        ({"latency_tolerance": 0.1}, "recorded limits"),
        ({"quality_clip": 0.7}, "clipped at 0.5"),
        ({"steps": (0.5, 0.1, 1.0)}, "rising"),
    ],
)
def test_what_the_recording_cannot_tell_is_refused(changes: dict, why: str) -> None:
    rows = recorded(seconds=3).rows()
    with pytest.raises(InvalidInput, match=why):
        replay(rows, replace(CONFIG, **changes))


def test_settings_of_what_is_not_watched_are_no_reason_to_refuse() -> None:
    rows = recorded().rows()
    blind = replace(CONFIG, guards=("errors",), gates=(("errors",),) * 3, latency_floor_ms=1.0, quality_clip=0.7)
    assert replay(rows, blind).phase == "promoted"


def test_counts_by_known_age_are_left_out_where_they_are_not_asked_for() -> None:
    aged = replace(CONFIG, by_known_age=True)
    rows = recorded(aged).rows()
    assert phases(replay(rows, aged)) == phases(replay(rows, CONFIG)) == UP


def test_harm_at_one_known_age_counts_only_where_ages_are_watched() -> None:
    aged = replace(CONFIG, by_known_age=True)
    made = tape(replace(aged, guards=("quality",)), seed=5)
    made.run(3, TRAFFIC)
    clean, bad = Executions(100, 100), Executions(100, 100, {}, {"errors": 30})
    made.feed(Counts({"": clean, "known_4h": bad}, Tally(), 0, 0, Cursors()))
    made.run(200, TRAFFIC)
    assert made.record.phase is Phase.PROMOTED
    assert "worse by errors@known_4h" in replay(made.rows(), aged).reason
    assert replay(made.rows(), CONFIG).phase == "promoted"


def test_what_comes_after_the_recorded_way_back_is_no_trial_any_more() -> None:
    made = tape(CONFIG, seed=5)
    made.run(3, TRAFFIC)
    made.reports = lambda report: replace(report, epoch=report.epoch - 1)  # deaf to the last order
    made.feed(Steer("abort", "enough"))
    made.run(40, TRAFFIC)
    assert made.record.phase is Phase.ROLLING_BACK
    assert replay(made.rows()).recorded_s == 43.0
    assert replay(made.rows(), CONFIG).recorded_s == 3.0


def test_a_recording_that_is_not_over_is_told_up_to_its_end() -> None:
    made = recorded(seconds=15)
    found = replay(made.rows())
    assert (found.phase, found.identical, found.recorded_s) == ("canary_10", True, 15.0)
    assert made.record.phase is Phase.TRIAL
    assert replay(made.rows(), QUICK).phase == "canary_50"


def test_an_empty_log_is_refused() -> None:
    with pytest.raises(InvalidInput, match="empty log"):
        replay(())


def test_a_log_without_a_request_at_its_head_is_refused() -> None:
    rows = recorded(seconds=3).rows()
    with pytest.raises(InvalidInput, match="not with a request"):
        replay(rows[1:])


def test_time_is_taken_from_the_timer_given() -> None:
    rows, readings = recorded(seconds=3).rows(), iter((10.0, 12.5))
    assert replay(rows, timer=lambda: next(readings)).took_s == 2.5
