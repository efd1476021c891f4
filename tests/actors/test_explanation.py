"""Any end of a roll-out is explained in one screen, from its log alone, and a log that was tampered with says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.adaptive_learning.deployment.events import Steer
from actors.adaptive_learning.deployment.explanation import explain, screen
from actors.adaptive_learning.deployment.record import status
from bench._rollout_tape import Tape, Traffic, tape
from core.codec import to_json
from core.schemas.rollouts import Explanation, RolloutConfig, RolloutStatus

CONFIG = RolloutConfig(hold_s=(5.0, 5.0, 5.0), deadline_s=600.0)
TRAFFIC = Traffic(rps=60.0, pairs_per_s=2.0)


def recorded(traffic: Traffic = TRAFFIC, seconds: int = 200) -> Tape:
    made = tape(CONFIG, seed=5)
    made.run(seconds, traffic)
    return made


def state(made: Tape) -> RolloutStatus:
    stored = made.store.load(made.id)
    return status(made.record, stored.created_at, stored.updated_at)


def explained(made: Tape, late_labels: int = 0) -> Explanation:
    return explain(state(made), made.rows(), late_labels)


def test_a_promotion_is_explained_step_by_step_with_the_evidence_that_was_asked_for() -> None:
    made = recorded()
    found = explained(made)
    steps = [(step["from"], step["to"]) for step in found.transitions]
    assert steps == [
        ("", "preparing"),
        ("preparing", "canary_10"),
        ("canary_10", "canary_50"),
        ("canary_50", "canary_100"),
        ("canary_100", "certified"),
        ("certified", "promoted"),
    ]
    for step, gates in zip(found.transitions[2:5], CONFIG.gates, strict=True):
        shown = {line["name"]: line for line in step["evidence"] if line["name"].startswith("safety:")}
        assert set(shown) == {f"safety:{gate}" for gate in gates}
        assert all(line["log_e"] >= line["needed"] for line in shown.values())
        assert sum(line["name"].startswith("harm:") for line in step["evidence"]) == 1
    assert found.verified
    assert (found.events, found.held_s) == (len(made.rows()), {})


def test_evidence_is_that_of_its_moment_and_rows_are_named_by_their_hashes() -> None:
    made = recorded()
    hashes = {row.seq: row.hash for row in made.rows()}
    steps = explained(made).transitions
    assert all(step["hash"] == hashes[step["seq"]] for step in steps)
    seen = [line["n"] for step in steps[2:5] for line in step["evidence"] if line["name"].startswith("safety:errors")]
    assert seen == sorted(set(seen))  # grows from step to step
    for step in steps:
        assert step["at_s"] == sum('"kind":"tick"' in row.event for row in made.rows() if row.seq <= step["seq"])


def test_a_way_back_names_what_condemned_it() -> None:
    found = explained(recorded(replace(TRAFFIC, canary_errors=0.3)))
    assert [step["to"] for step in found.transitions] == ["preparing", "canary_10", "rolling_back", "rolled_back"]
    back = found.transitions[2]
    assert "worse by errors" in back["reason"]
    assert [line["name"] for line in back["evidence"]] == ["harm:errors"]
    assert back["evidence"][0]["log_e"] >= back["evidence"][0]["needed"]
    assert found.verified


def test_holds_are_counted_in_the_roll_out_s_own_seconds() -> None:
    made = recorded(seconds=3)
    made.feed(Steer("pause", "lunch"))
    made.run(17, TRAFFIC)
    made.feed(Steer("resume", "back"))
    made.run(200, TRAFFIC)
    found = explained(made, late_labels=4)
    assert found.held_s == {"paused": 17.0}
    assert found.late_labels == 4
    assert found.verified


@pytest.mark.parametrize("paused", [False, True])
def test_it_fits_one_screen(paused: bool) -> None:
    made = recorded(seconds=3)
    if paused:
        made.feed(Steer("pause", "lunch"))
        made.run(3, TRAFFIC)
        made.feed(Steer("resume", "back"))
    made.run(200, TRAFFIC)
    found = explained(made, late_labels=2)
    shown = screen(found)
    assert len(shown) <= 24
    assert "promoted" in shown[0]
    assert "hashes and replay agree; 2 outcomes came after the decision" in shown[-1]
    assert any("safety:quality log e" in line for line in shown)
    assert ("held by paused for 3 s" in shown) is paused


def test_a_log_cut_at_its_end_is_not_verified() -> None:
    made = recorded()
    rows = made.rows()
    assert explain(state(made), rows, 0).verified
    assert not explain(state(made), rows[:-1], 0).verified


def test_rows_that_changed_places_or_are_missing_are_not_verified() -> None:
    made = recorded(seconds=20)
    rows = list(made.rows())
    assert not explain(state(made), [*rows[:5], *rows[6:]], 0).verified
    rows[5], rows[6] = rows[6], rows[5]
    assert not explain(state(made), rows, 0).verified


def test_a_changed_reason_is_not_verified_and_said_on_the_screen() -> None:
    made = recorded()
    rows = list(made.rows())
    at = next(i for i, row in enumerate(rows) if '"reason":"certified' in row.record)
    rows[at] = replace(rows[at], record=rows[at].record.replace('"reason":"certified', '"reason":"Certified'))
    found = explain(state(made), rows, 0)
    assert not found.verified
    assert "NOT VERIFIED" in screen(found)[-1]


def test_a_row_that_this_program_cannot_read_ends_the_story_there() -> None:
    made = recorded()
    rows = list(made.rows())
    rows[40] = replace(rows[40], event='{"kind":"unheard_of"}')
    found = explain(state(made), rows, 0)
    assert not found.verified
    assert [step["to"] for step in found.transitions][:2] == ["preparing", "canary_10"]
    assert found.transitions[-1]["seq"] <= 40


def test_a_roll_out_under_way_is_explained_so_far() -> None:
    found = explained(recorded(seconds=3))
    assert [step["to"] for step in found.transitions] == ["preparing", "canary_10"]
    assert found.verified


def test_an_explanation_travels_as_json() -> None:
    assert '"verified":true' in to_json(explained(recorded(seconds=8)))
