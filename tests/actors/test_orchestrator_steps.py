"""What a workflow asks the learner for, and where it goes from what comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from actors.adaptive_learning.learning.actor import Learner
from actors.adaptive_learning.orchestrator.steps import LOOK_AGAIN_S, YOUNG, Steps, Transition, Waiting
from actors.adaptive_learning.versioning.actor import Versioning
from core.artifacts import ArtifactStore
from core.clock import DAY, ManualClock
from core.errors import InsufficientData
from core.schemas.models import Evaluation, Lineage, NewVersion, PairedComparison, Signature, TrainingTask
from core.schemas.predictions import ENGAGEMENT
from core.schemas.workflows import Step, Workflow
from core.settings import Settings
from core.store.database import Database
from core.store.tasks import TaskStore

NOW = 1_740_000_000
CHANGED = NOW - 5 * DAY
LEARNED = NOW - 10 * DAY  # until then the champion has learned


@pytest.fixture
def steps(sqlite_database: Database, tmp_path: Path) -> Steps:
    clock, settings = ManualClock(time=NOW), Settings(home=tmp_path)
    artifacts = ArtifactStore(settings.artifacts)
    versioning = Versioning(sqlite_database, clock, artifacts)
    unused = cast(Any, None)
    return Steps(
        clock=clock,
        settings=settings,
        channels=3,
        versioning=versioning,
        drift=unused,
        monitoring=unused,
        learning=Learner(sqlite_database, artifacts, clock, settings, versioning, autostart=False),
        anomaly=unused,
        controller=unused,
        auto_rollout=lambda _: True,
    )


def registered(steps: Steps, lineage: Lineage, verdict: str | None = None) -> int:
    versus = None if verdict is None else PairedComparison(50, 0.2, 0.1, 0.3, verdict, 0.05)  # type: ignore[arg-type]
    key = f"v{len(steps.versioning.versions(ENGAGEMENT))}"
    signature = Signature(("hour",), ("views_24h",), "1")
    sha256 = ArtifactStore(steps.settings.artifacts).put({"weights": key.encode()})
    new = NewVersion(ENGAGEMENT, sha256, signature, {}, Evaluation(0, 1, {}, versus), lineage, key=key)
    return steps.versioning.register(new).version


def lineage(posts: int, until: int, published_from: int | None = None) -> Lineage:
    return Lineage(None, 0, until, 4 * posts, "b" * 64, "t", 7, "batch", posts=posts, published_from=published_from)


def workflow(step: Step, champion: int, **data: Any) -> Workflow:
    return Workflow("w", ENGAGEMENT, "drift", step, {"until": NOW, "champion": champion, **data}, NOW, NOW)


def asked(steps: Steps, given: Workflow) -> TrainingTask:
    assert isinstance(steps.advance(given), Waiting)
    (task,) = steps.learning.tasks(state="queued")
    return task


def test_the_first_version_of_a_changed_world_is_built_from_what_was_published_since(steps: Steps) -> None:
    champion = registered(steps, lineage(5 * YOUNG, LEARNED))
    request = asked(steps, workflow(Step.TRAIN, champion, published_from=CHANGED)).request
    assert (request.strategy, request.published_from, request.warm_start) == ("batch", CHANGED, None)
    assert request.compare_with == champion


@pytest.mark.parametrize(("posts", "strategy"), [(YOUNG - 1, "batch"), (YOUNG, "incremental")])
def test_a_changed_world_is_learned_on_once_enough_of_it_is_known(steps: Steps, posts: int, strategy: str) -> None:
    champion = registered(steps, lineage(posts, NOW - DAY, CHANGED))
    request = asked(steps, workflow(Step.TRAIN, champion, published_from=CHANGED)).request
    assert (request.strategy, request.published_from) == (strategy, CHANGED)


def test_without_a_change_all_posts_are_learned_from(steps: Steps) -> None:
    champion = registered(steps, lineage(100, LEARNED))
    request = asked(steps, workflow(Step.TRAIN, champion)).request
    assert (request.strategy, request.published_from, request.warm_start) == ("incremental", None, champion)


def test_a_version_of_a_changed_world_that_is_worse_gives_the_old_one_another_chance(steps: Steps) -> None:
    champion = registered(steps, lineage(100, LEARNED))
    version = registered(steps, lineage(60, NOW, CHANGED), "worse")
    data = {"published_from": CHANGED, "version": version, "strategy": "batch"}
    outcome = steps.advance(workflow(Step.VALIDATE, champion, **data))
    assert isinstance(outcome, Transition)
    assert (outcome.to, outcome.data) == (Step.TRAIN, {"retry": "incremental"})
    request = asked(steps, workflow(Step.TRAIN, champion, **data, **outcome.data)).request
    assert (request.strategy, request.published_from, request.warm_start) == ("incremental", None, champion)
    again = steps.advance(workflow(Step.VALIDATE, champion, **data, **outcome.data))
    assert isinstance(again, Transition)
    assert again.to is Step.STOPPED


def test_a_second_try_from_the_champion_leaves_out_what_the_champion_left_out(steps: Steps) -> None:
    champion = registered(steps, lineage(100, NOW - DAY, LEARNED))
    given = workflow(Step.TRAIN, champion, published_from=CHANGED, retry="incremental")
    request = asked(steps, given).request
    assert (request.strategy, request.published_from, request.warm_start) == ("incremental", LEARNED, champion)


def test_a_world_too_young_to_learn_from_is_looked_at_again_instead_of_given_up(
    steps: Steps, sqlite_database: Database
) -> None:
    champion = registered(steps, lineage(5 * YOUNG, LEARNED))
    young = workflow(Step.TRAIN, champion, published_from=CHANGED)
    task = asked(steps, young)
    queue = TaskStore(sqlite_database)
    claimed = queue.claim(NOW, NOW)
    assert claimed is not None
    queue.fail(task.id, claimed.attempt, "too few posts (needed 60, have 27)", NOW, InsufficientData.code)
    outcome = steps.advance(young)
    assert isinstance(outcome, Transition)
    assert outcome.to is Step.DIAGNOSE
    assert "have 27" in outcome.reason
    waiting = workflow(Step.DIAGNOSE, champion, published_from=CHANGED, **outcome.data)
    assert isinstance(steps.advance(waiting), Waiting)
    later = workflow(Step.TRAIN, champion, published_from=CHANGED)
    later.data["until"] = NOW + LOOK_AGAIN_S
    assert asked(steps, later).id != task.id  # the same data are not asked for again


def test_too_little_to_learn_from_ends_a_workflow_that_no_change_began(steps: Steps, sqlite_database: Database) -> None:
    champion = registered(steps, lineage(100, LEARNED))
    given = workflow(Step.TRAIN, champion)
    task, queue = asked(steps, given), TaskStore(sqlite_database)
    claimed = queue.claim(NOW, NOW)
    assert claimed is not None
    queue.fail(task.id, claimed.attempt, "too few posts", NOW, InsufficientData.code)
    outcome = steps.advance(given)
    assert isinstance(outcome, Transition)
    assert outcome.to is Step.STOPPED
