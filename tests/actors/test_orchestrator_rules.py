from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from actors.adaptive_learning.orchestrator import triggers
from actors.adaptive_learning.orchestrator.checks import Validation, against_champion, against_rolling_median
from actors.adaptive_learning.orchestrator.triggers import Changed, Decision, changed_at
from core.clock import DAY
from core.errors import Conflict, NotFound, Refused
from core.schemas.models import (
    Evaluation,
    Lineage,
    ModelVersion,
    PairedComparison,
    Score,
    Signature,
    TrainingRequest,
    TrainingResult,
)
from core.schemas.monitoring import Degradation, DriftReport, ResidualDrift
from core.schemas.workflows import Spent, Step, Workflow
from core.settings import LoopSettings
from core.store.database import Database
from core.store.tasks import TaskStore
from core.store.workflows import WorkflowStore

NOW = 1_740_000_000
RULES = LoopSettings()
ENOUGH, COOL_DOWN_S = RULES.enough_new_labels, RULES.cool_down_days * DAY
NOTHING = Spent(0, 0.0)
CHAMPION = ModelVersion(
    model="engagement",
    version=3,
    sha256="0" * 64,
    signature=Signature(("a",), ("views_24h",), "1"),
    params={},
    metrics=None,
    lineage=Lineage(None, NOW - 60 * DAY, NOW - 10 * DAY, 400, "0" * 64, "test", 7, "batch"),
    created_at=NOW - 10 * DAY,
)


def decide(**arguments: Any) -> Decision:
    return triggers.decide(
        **{"rules": RULES, "spent": NOTHING, "degraded": (), "drift": None, "last": None} | arguments
    )


def _residuals(alarms: int) -> DriftReport:
    moved = ResidualDrift(
        n=200,
        alarms=alarms,
        last_alarm_at=NOW,
        onset_estimate=NOW - DAY,
        mean_before=0.0,
        mean_after=0.3,
        stream="views_24h@0 level",
    )
    severity = "medium" if alarms else "none"
    return DriftReport("engagement", 3, NOW, 500, 200, severity, residuals=moved)  # type: ignore[arg-type]


def _ended(trigger: str, ago: int) -> Workflow:
    return Workflow("w", "engagement", trigger, Step.DONE, {}, NOW - ago - DAY, NOW - ago)  # type: ignore[arg-type]


def test_drift_of_the_errors_starts_a_retraining_and_says_how_far_they_moved() -> None:
    decision = decide(now=NOW, champion=CHAMPION, new_labels=40, drift=_residuals(1), degraded=(), last=None)
    assert decision.trigger == "drift"
    assert "+0.300" in decision.reason


def test_drift_of_the_inputs_alone_starts_nothing() -> None:
    report = replace(_residuals(0), severity="low", notes=("inputs: high",))
    assert decide(now=NOW, champion=CHAMPION, new_labels=40, drift=report, degraded=(), last=None).trigger is None


def test_errors_that_rose_start_a_retraining_and_errors_that_fell_do_not() -> None:
    rose = Degradation("mae_log", "views_24h@4h", "worse", 200, 80, 0.05, 0.02, 0.08)
    fell = replace(rose, verdict="better", change=-0.05)
    arguments = {"now": NOW, "champion": CHAMPION, "new_labels": 40, "drift": None, "last": None}
    assert decide(**arguments, degraded=(rose,)).trigger == "performance"  # type: ignore[arg-type]
    assert decide(**arguments, degraded=(fell,)).trigger is None  # type: ignore[arg-type]


def test_enough_new_outcomes_are_a_reason_by_themselves() -> None:
    assert (
        decide(now=NOW, champion=CHAMPION, new_labels=ENOUGH, drift=None, degraded=(), last=None).trigger == "outcomes"
    )
    assert decide(now=NOW, champion=CHAMPION, new_labels=ENOUGH - 1, drift=None, degraded=(), last=None).trigger is None


def test_what_is_enough_grows_with_what_the_champion_learned_from() -> None:
    learned = replace(CHAMPION, lineage=replace(CHAMPION.lineage, rows=10_000, posts=3_000))
    assert decide(now=NOW, champion=learned, new_labels=1499, drift=None, degraded=(), last=None).trigger is None
    assert decide(now=NOW, champion=learned, new_labels=1500, drift=None, degraded=(), last=None).trigger == "outcomes"


def test_the_first_posts_of_another_world_are_those_whose_errors_moved() -> None:
    moved = _residuals(1).residuals
    assert moved is not None
    three_days = replace(_residuals(1), residuals=replace(moved, stream="views_72h@4 size 1e4 level"))
    assert changed_at(three_days) == NOW - 4 * DAY  # their outcome was known three days after they were published
    assert changed_at(replace(three_days, severity="low")) is None
    assert changed_at(_residuals(0)) is None
    assert changed_at(None) is None


def test_a_changed_world_is_learned_from_what_was_published_since_once_there_is_enough_of_it() -> None:
    due = {"now": NOW, "champion": CHAMPION, "new_labels": 90, "drift": _residuals(1)}
    few = decide(**due, changed=Changed(NOW - 2 * DAY, ENOUGH - 1))
    assert few.trigger is None
    assert f"{ENOUGH - 1} posts published since" in few.reason
    enough = decide(**due, changed=Changed(NOW - 2 * DAY, ENOUGH))
    assert (enough.trigger, enough.published_from) == ("drift", NOW - 2 * DAY)


def test_too_few_new_outcomes_teach_nothing_even_in_drift() -> None:
    few = RULES.least_new_labels - 1
    assert (
        decide(now=NOW, champion=CHAMPION, new_labels=few, drift=_residuals(1), degraded=(), last=None).trigger is None
    )


def test_a_workflow_cools_down_but_not_after_the_first_version() -> None:
    arguments = {"now": NOW, "champion": CHAMPION, "new_labels": 100, "drift": None, "degraded": ()}
    assert decide(**arguments, last=_ended("outcomes", int(COOL_DOWN_S) - 1)).trigger is None  # type: ignore[arg-type]
    assert decide(**arguments, last=_ended("outcomes", int(COOL_DOWN_S))).trigger == "outcomes"  # type: ignore[arg-type]
    assert decide(**arguments, last=_ended("bootstrap", 0)).trigger == "outcomes"  # type: ignore[arg-type]


def test_a_week_s_budget_ends_what_the_loop_begins_by_itself() -> None:
    due = {"now": NOW, "champion": CHAMPION, "new_labels": 500}
    assert decide(**due, spent=Spent(RULES.trainings_a_week - 1, 5.0)).trigger == "outcomes"
    assert "used up" in decide(**due, spent=Spent(RULES.trainings_a_week, 5.0)).reason
    assert decide(**due, spent=Spent(1, RULES.training_s_a_week)).trigger is None
    assert decide(**due, rules=replace_rules(trainings_a_week=0)).trigger is None


def test_a_schedule_retrains_when_the_data_is_old_but_not_on_nothing_new() -> None:
    weekly = replace_rules(schedule_days=10)
    due = {"now": NOW, "champion": CHAMPION, "rules": weekly}
    assert decide(**due, new_labels=40).trigger == "schedule"
    assert decide(**due | {"now": NOW - 1}, new_labels=40).trigger is None
    assert decide(**due, new_labels=RULES.least_new_labels - 1).trigger is None
    assert decide(now=NOW + 365 * DAY, champion=CHAMPION, new_labels=40).trigger is None


def replace_rules(**changes: Any) -> LoopSettings:
    return RULES.model_copy(update=changes)


def _evaluation(verdict: str | None, ours: float = 0.1, usual: float = 0.1) -> Evaluation:
    score = Score("views_24h", 0, 50, ours, ours - 0.01, ours + 0.01, 0.6, 0.8)
    versus = None if verdict is None else PairedComparison(50, 0.01, -0.02, 0.04, verdict, 0.05)  # type: ignore[arg-type]
    return Evaluation(NOW - DAY, NOW, {"model": (score,), "rolling_median": (replace(score, mae_log=usual),)}, versus)


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        ("better", Validation.PASS),
        ("not_worse", Validation.PASS),
        ("undecided", Validation.PASS),
        ("worse", Validation.WORSE),
        (None, Validation.UNKNOWN),
    ],
)
def test_only_a_version_that_is_certainly_worse_is_kept_from_trial(verdict: str | None, outcome: Validation) -> None:
    assert against_champion(_evaluation(verdict)).outcome is outcome


def test_a_first_version_must_hold_its_own_against_the_rolling_median() -> None:
    assert against_rolling_median(_evaluation(None, 0.12, 0.10), 0.05).outcome is Validation.PASS
    assert against_rolling_median(_evaluation(None, 0.16, 0.10), 0.05).outcome is Validation.WORSE
    assert against_rolling_median(None, 0.05).outcome is Validation.UNKNOWN


def test_a_workflow_is_begun_once_per_key_and_one_at_a_time(database: Database) -> None:
    store = WorkflowStore(database)
    first = store.begin("engagement", "manual", "k1", Step.DIAGNOSE, "asked", {"tune": True}, NOW)
    assert store.begin("engagement", "manual", "k1", Step.DIAGNOSE, "asked", {}, NOW + 5) == first
    with pytest.raises(Refused, match=first.id):
        store.begin("engagement", "manual", "k2", Step.DIAGNOSE, "asked", {}, NOW)
    assert store.begin("other", "manual", "k3", Step.DIAGNOSE, "asked", {}, NOW).model == "other"


def test_transitions_are_kept_in_order_and_a_stale_one_is_refused(database: Database) -> None:
    store = WorkflowStore(database)
    begun = store.begin("engagement", "drift", "k", Step.DIAGNOSE, "drift", {"a": 1}, NOW)
    moved = store.move(begun, Step.TRAIN, "looks right", {"b": 2}, NOW + 1)
    assert moved.data == {"a": 1, "b": 2}
    with pytest.raises(Conflict):
        store.move(begun, Step.TRAIN, "again", {}, NOW + 2)
    ended = store.move(moved, Step.STOPPED, "worse", {}, NOW + 3)
    assert [(e.from_step, e.to_step) for e in ended.events] == [
        (None, Step.DIAGNOSE),
        (Step.DIAGNOSE, Step.TRAIN),
        (Step.TRAIN, Step.STOPPED),
    ]
    assert store.active("engagement") is None
    assert store.latest("engagement") == ended
    with pytest.raises(NotFound):
        store.get("nothing")


def test_what_trainings_cost_is_counted_from_their_results(database: Database) -> None:
    tasks, store = TaskStore(database), WorkflowStore(database)
    for number, seconds in enumerate((3.0, 4.5)):
        task = tasks.submit(TrainingRequest(f"k{number}", "engagement"), NOW)
        claimed = tasks.claim(NOW, machine=NOW)
        assert claimed is not None
        tasks.finish(task.id, claimed.attempt, TrainingResult(seconds), NOW + 10 * number)
    tasks.submit(TrainingRequest("waits", "engagement"), NOW)
    assert store.spent_since("engagement", NOW - 1) == Spent(2, 7.5)
    assert store.spent_since("engagement", NOW) == Spent(1, 4.5)
    assert store.spent_since("other", 0) == NOTHING


def test_a_switch_lasts_until_it_is_left_to_the_settings(database: Database) -> None:
    store = WorkflowStore(database)
    store.switch("engagement", "auto_train", False, NOW)
    store.switch("engagement", "auto_rollout", True, NOW)
    assert WorkflowStore(database).switches("engagement") == {"auto_train": False, "auto_rollout": True}
    store.switch("engagement", "auto_train", None, NOW)
    assert store.switches("engagement") == {"auto_rollout": True}
    assert store.switches("other") == {}
