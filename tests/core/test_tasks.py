from __future__ import annotations

import pickle

import pytest

from core.errors import InvalidInput, NotFound
from core.schemas.models import TrainingProgress, TrainingRequest, TrainingResult
from core.store.database import Database
from core.store.tasks import BACKOFF_S, LONGEST_BACKOFF_S, TaskStore


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
    order = [tasks.claim(now=40, machine=40) for _ in range(3)]
    assert [t.id for t in order if t] == [urgent.id, early.id, late.id]
    assert tasks.claim(now=50, machine=50) is None


def test_a_claimed_task_runs_and_counts_its_attempt(tasks: TaskStore) -> None:
    tasks.submit(request(), now=1)
    task = tasks.claim(now=2, machine=2)
    assert task is not None
    assert (task.state, task.attempt) == ("running", 1)


def test_progress_and_result_come_back(tasks: TaskStore) -> None:
    task = tasks.submit(request(), now=1)
    tasks.claim(now=2, machine=2)
    assert tasks.progress(task.id, 1, TrainingProgress(3, 40, 0.5, 0.25), now=3)
    assert tasks.get(task.id).progress == TrainingProgress(3, 40, 0.5, 0.25)
    result = TrainingResult(1.5, best_params={"lr": 1e-3}, trials=({"lr": 1e-3, "loss": 0.1},))
    assert tasks.finish(task.id, 1, result, now=4)
    assert tasks.get(task.id).result == result
    assert tasks.get(task.id).state == "done"


def test_an_earlier_attempt_can_no_longer_write(tasks: TaskStore) -> None:
    task = tasks.submit(request(), now=1)
    tasks.claim(now=2, machine=2)
    tasks.recover(now=3)
    tasks.claim(now=4, machine=4)
    assert not tasks.finish(task.id, 1, TrainingResult(1.0, 7), now=5)
    assert not tasks.progress(task.id, 1, TrainingProgress(1, 1, 0.0, None), now=5)
    assert tasks.should_stop(task.id, 1)
    assert not tasks.should_stop(task.id, 2)
    assert tasks.get(task.id).result is None


def test_a_queued_task_is_cancelled_at_once(tasks: TaskStore) -> None:
    task = tasks.submit(request(), now=1)
    assert tasks.request_cancel(task.id, now=2).state == "cancelled"
    assert tasks.claim(now=3, machine=3) is None


def test_a_running_task_is_told_to_stop(tasks: TaskStore) -> None:
    task = tasks.submit(request(), now=1)
    tasks.claim(now=2, machine=2)
    assert tasks.request_cancel(task.id, now=3).state == "running"
    assert tasks.should_stop(task.id, 1)
    assert tasks.cancelled(task.id, 1, now=4)
    assert tasks.get(task.id).state == "cancelled"


def test_cancelling_what_has_ended_changes_nothing(tasks: TaskStore) -> None:
    task = tasks.submit(request(), now=1)
    tasks.claim(now=2, machine=2)
    tasks.finish(task.id, 1, TrainingResult(1.0, 1), now=3)
    assert tasks.request_cancel(task.id, now=4).state == "done"


def test_after_a_death_the_running_task_is_queued_again(tasks: TaskStore) -> None:
    task = tasks.submit(request(), now=1)
    tasks.claim(now=2, machine=2)
    (recovered,) = tasks.recover(now=3)
    assert (recovered.id, recovered.state, recovered.attempt) == (task.id, "queued", 1)
    again = tasks.claim(now=4, machine=4)
    assert again is not None
    assert again.attempt == 2


def test_a_task_that_kills_its_learner_is_given_up(tasks: TaskStore) -> None:
    task = tasks.submit(request(), now=1)
    for _ in range(task.request.attempts):
        assert tasks.claim(now=2, machine=2) is not None
        tasks.recover(now=3)
    ended = tasks.get(task.id)
    assert ended.state == "failed"
    assert "gave up after 3 attempts" in (ended.error or "")
    assert ended.reason == "learner-died"
    assert tasks.claim(now=4, machine=4) is None


def test_a_task_cancelled_before_the_death_stays_cancelled(tasks: TaskStore) -> None:
    task = tasks.submit(request(), now=1)
    tasks.claim(now=2, machine=2)
    tasks.request_cancel(task.id, now=3)
    tasks.recover(now=4)
    assert tasks.get(task.id).state == "cancelled"


def test_unfinished_tasks_are_listed(tasks: TaskStore) -> None:
    tasks.submit(request("a"), now=1)
    tasks.submit(request("b"), now=2)
    tasks.claim(now=3, machine=3)
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


def test_a_failed_attempt_waits_twice_as_long_every_time(tasks: TaskStore) -> None:
    task = tasks.submit(request(attempts=20), now=1)
    waits = []
    machine = 1000
    for attempt in range(1, 13):
        begun = tasks.claim(now=1, machine=machine)
        assert begun is not None
        assert begun.attempt == attempt
        assert tasks.retry(task.id, attempt, "versioning is away", now=1, reason="service-unavailable", machine=machine)
        again = tasks.get(task.id)
        assert again.not_before is not None
        waits.append(again.not_before - machine)
        assert tasks.claim(now=1, machine=again.not_before - 1) is None
        machine = again.not_before
    assert waits[:4] == [BACKOFF_S, 2 * BACKOFF_S, 4 * BACKOFF_S, 8 * BACKOFF_S]
    assert waits[-1] == LONGEST_BACKOFF_S
    assert tasks.get(task.id).reason == "service-unavailable"


def test_a_task_that_waits_for_its_time_does_not_hold_up_the_others(tasks: TaskStore) -> None:
    first = tasks.submit(request("first", priority=9), now=1)
    tasks.claim(now=1, machine=1)
    tasks.retry(first.id, 1, "away", now=1, machine=1)
    second = tasks.submit(request("second"), now=2)
    begun = tasks.claim(now=2, machine=2)
    assert begun is not None
    assert begun.id == second.id


def test_the_last_attempt_is_as_many_as_were_asked_for(tasks: TaskStore) -> None:
    task = tasks.submit(request(attempts=1), now=1)
    tasks.claim(now=1, machine=1)
    tasks.retry(task.id, 1, "away", now=1, machine=1)
    assert tasks.get(task.id).state == "failed"


def test_a_task_begins_only_after_those_that_it_waits_for(tasks: TaskStore) -> None:
    base = tasks.submit(request("base"), now=1)
    tasks.submit(request("next", after=(base.id,), priority=10), now=2)
    first = tasks.claim(now=3, machine=3)
    assert first is not None
    assert first.id == base.id
    assert tasks.claim(now=4, machine=4) is None
    tasks.finish(base.id, 1, TrainingResult(1.0, 1), now=5)
    then = tasks.claim(now=6, machine=6)
    assert then is not None
    assert then.key == "next"


@pytest.mark.parametrize("end", ["fail", "cancel"])
def test_what_waits_for_a_task_that_was_never_done_fails_and_says_why(tasks: TaskStore, end: str) -> None:
    base = tasks.submit(request("base"), now=1)
    child = tasks.submit(request("child", after=(base.id,)), now=2)
    grandchild = tasks.submit(request("grandchild", after=(child.id,)), now=3)
    if end == "fail":
        tasks.claim(now=4, machine=4)
        tasks.fail(base.id, 1, "too few posts", now=5, reason="insufficient-data")
    else:
        tasks.request_cancel(base.id, now=4)
    assert tasks.claim(now=6, machine=6) is None
    for task in (tasks.get(child.id), tasks.get(grandchild.id)):
        assert (task.state, task.reason) == ("failed", "dependency-failed")
    assert base.id in (tasks.get(child.id).error or "")
    assert child.id in (tasks.get(grandchild.id).error or "")


def test_waiting_for_what_is_not_there_is_refused(tasks: TaskStore) -> None:
    with pytest.raises(InvalidInput, match="no task"):
        tasks.submit(request(after=("nothing",)), now=1)


def test_tasks_are_listed_newest_first_by_model_and_state(tasks: TaskStore) -> None:
    old, new = tasks.submit(request("old"), now=1), tasks.submit(request("new"), now=2)
    tasks.claim(now=3, machine=3)
    assert [t.id for t in tasks.recent()] == [new.id, old.id]
    assert [t.id for t in tasks.recent(state="running")] == [old.id]
    assert [t.id for t in tasks.recent(limit=1)] == [new.id]
    assert tasks.recent(model="weather") == ()
    assert tasks.recent()[0].created_at == 2
