from __future__ import annotations

import pickle

import pytest

from core.errors import NotFound
from core.schemas.models import TrainingProgress, TrainingRequest, TrainingResult
from core.store.database import Database
from core.store.tasks import MAX_ATTEMPTS, TaskStore


@pytest.fixture
def tasks(database: Database) -> TaskStore:
    return TaskStore(database)


def request(key: str = "one", **changes: object) -> TrainingRequest:
    return TrainingRequest(key=key, model="engagement", **changes)  # type: ignore[arg-type]


def test_the_same_key_is_the_same_task(tasks: TaskStore) -> None:
    first = tasks.submit(request(params={"lr": 0.1}), now=10)
    assert tasks.submit(request(params={"lr": 0.1}), now=99) == first
    assert tasks.submit(request("two"), now=10).id != first.id
    assert first.state == "queued"
    assert first.request.params == {"lr": 0.1}


def test_keys_longer_than_a_column_are_fine(tasks: TaskStore) -> None:
    assert tasks.submit(request("k" * 5000), now=1).key == "k" * 5000


def test_priority_goes_first_and_age_decides_among_equals(tasks: TaskStore) -> None:
    late, early = tasks.submit(request("late"), now=20), tasks.submit(request("early"), now=10)
    urgent = tasks.submit(request("urgent", priority=5), now=30)
    order = [tasks.claim(now=40) for _ in range(3)]
    assert [t.id for t in order if t] == [urgent.id, early.id, late.id]
    assert tasks.claim(now=50) is None


def test_a_claimed_task_runs_and_counts_its_attempt(tasks: TaskStore) -> None:
    tasks.submit(request(), now=1)
    task = tasks.claim(now=2)
    assert task is not None
    assert (task.state, task.attempt) == ("running", 1)


def test_progress_and_result_come_back(tasks: TaskStore) -> None:
    task = tasks.submit(request(), now=1)
    tasks.claim(now=2)
    assert tasks.progress(task.id, 1, TrainingProgress(3, 40, 0.5, 0.25), now=3)
    assert tasks.get(task.id).progress == TrainingProgress(3, 40, 0.5, 0.25)
    result = TrainingResult(1.5, best_params={"lr": 1e-3}, trials=({"lr": 1e-3, "loss": 0.1},))
    assert tasks.finish(task.id, 1, result, now=4)
    assert tasks.get(task.id).result == result
    assert tasks.get(task.id).state == "done"


def test_an_earlier_attempt_can_no_longer_write(tasks: TaskStore) -> None:
    task = tasks.submit(request(), now=1)
    tasks.claim(now=2)
    tasks.recover(now=3)
    tasks.claim(now=4)
    assert not tasks.finish(task.id, 1, TrainingResult(1.0, 7), now=5)
    assert not tasks.progress(task.id, 1, TrainingProgress(1, 1, 0.0, None), now=5)
    assert tasks.should_stop(task.id, 1)
    assert not tasks.should_stop(task.id, 2)
    assert tasks.get(task.id).result is None


def test_a_queued_task_is_cancelled_at_once(tasks: TaskStore) -> None:
    task = tasks.submit(request(), now=1)
    assert tasks.request_cancel(task.id, now=2).state == "cancelled"
    assert tasks.claim(now=3) is None


def test_a_running_task_is_told_to_stop(tasks: TaskStore) -> None:
    task = tasks.submit(request(), now=1)
    tasks.claim(now=2)
    assert tasks.request_cancel(task.id, now=3).state == "running"
    assert tasks.should_stop(task.id, 1)
    assert tasks.cancelled(task.id, 1, now=4)
    assert tasks.get(task.id).state == "cancelled"


def test_cancelling_what_has_ended_changes_nothing(tasks: TaskStore) -> None:
    task = tasks.submit(request(), now=1)
    tasks.claim(now=2)
    tasks.finish(task.id, 1, TrainingResult(1.0, 1), now=3)
    assert tasks.request_cancel(task.id, now=4).state == "done"


def test_after_a_death_the_running_task_is_queued_again(tasks: TaskStore) -> None:
    task = tasks.submit(request(), now=1)
    tasks.claim(now=2)
    (recovered,) = tasks.recover(now=3)
    assert (recovered.id, recovered.state, recovered.attempt) == (task.id, "queued", 1)
    again = tasks.claim(now=4)
    assert again is not None
    assert again.attempt == 2


def test_a_task_that_kills_its_learner_is_given_up(tasks: TaskStore) -> None:
    task = tasks.submit(request(), now=1)
    for _ in range(MAX_ATTEMPTS):
        assert tasks.claim(now=2) is not None
        tasks.recover(now=3)
    ended = tasks.get(task.id)
    assert ended.state == "failed"
    assert "gave up after 3 attempts" in (ended.error or "")
    assert tasks.claim(now=4) is None


def test_a_task_cancelled_before_the_death_stays_cancelled(tasks: TaskStore) -> None:
    task = tasks.submit(request(), now=1)
    tasks.claim(now=2)
    tasks.request_cancel(task.id, now=3)
    tasks.recover(now=4)
    assert tasks.get(task.id).state == "cancelled"


def test_unfinished_tasks_are_listed(tasks: TaskStore) -> None:
    tasks.submit(request("a"), now=1)
    tasks.submit(request("b"), now=2)
    tasks.claim(now=3)
    assert [t.state for t in tasks.unfinished()] == ["running", "queued"]


def test_an_unknown_task_is_not_found(tasks: TaskStore) -> None:
    with pytest.raises(NotFound):
        tasks.get("nothing")
    with pytest.raises(NotFound):
        tasks.request_cancel("nothing", now=1)
    assert tasks.should_stop("nothing", 1)


def test_the_store_travels(sqlite_database: Database) -> None:
    store = TaskStore(sqlite_database)
    task = store.submit(request(), now=1)
    assert pickle.loads(pickle.dumps(store)).get(task.id) == task
