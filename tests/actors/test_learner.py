"""The learner in process, on real stores."""

from __future__ import annotations

import dataclasses
import json
import pickle
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.adaptive_learning.learning.actor import Learner
from actors.adaptive_learning.learning.reporting import TaskReporter
from actors.adaptive_learning.versioning.actor import Versioning
from core.artifacts import ArtifactStore
from core.clock import DAY, ManualClock
from core.errors import InvalidInput, NotFound, ServiceUnavailable
from core.history import ChannelHistory
from core.schemas.models import NewVersion, TrainingProgress, TrainingRequest, TrainingTask
from core.settings import Settings
from core.store import schema
from core.store.database import Database
from core.store.ids import channel_id
from core.store.series import SeriesStates
from core.store.tasks import BACKOFF_S, TaskStore
from tests.training.audience import START, make_history
from training.artifacts import load_model
from training.bandit import Bandit

NOW = START + 90 * DAY
QUICK = {"hidden": [8], "lr": 3e-3, "epochs": 4, "patience": 2, "folds": 2}
LONG = {"hidden": [8], "lr": 1e-6, "epochs": 500, "patience": 100}


def fill(database: Database, histories: list[ChannelHistory]) -> None:
    """Store histories as an import would leave them."""
    with database.write() as connection:
        for h in histories:
            channel = channel_id("default", h.channel.name)
            connection.execute(
                schema.channel.insert().values(
                    id=channel,
                    tenant="default",
                    name=h.channel.name,
                    timezone=h.channel.timezone,
                    source="bundle",
                    created_at=START,
                    data_version=1,
                )
            )
            posts = [
                {"channel_id": channel, "post_id": int(p), "published_at": int(t), "media": m, "text_len": int(a[0])}
                for p, t, m, a in zip(h.post_ids, h.published_at, h.media, h.attributes, strict=True)
            ]
            connection.execute(schema.post.insert(), posts)
            readings = [
                {
                    "channel_id": channel,
                    "post_id": int(h.post_ids[i]),
                    "ts": int(h.reading_ts[j]),
                    "views": int(h.reading_views[j]),
                    "precision": 0,
                }
                for i in range(h.n)
                for j in range(h.offsets[i], h.offsets[i + 1])
            ]
            connection.execute(schema.post_snapshot.insert(), readings)


@dataclasses.dataclass
class World:
    database: Database
    artifacts: ArtifactStore
    clock: ManualClock
    settings: Settings
    versioning: Versioning
    home: Path
    learners: list[Learner] = dataclasses.field(default_factory=list)

    def learner(self, **changes: object) -> Learner:
        given = {
            "database": self.database,
            "artifacts": self.artifacts,
            "clock": self.clock,
            "settings": self.settings,
            "versioning": self.versioning,
            "home": self.home,
        } | changes
        made = Learner(**given)  # type: ignore[arg-type]
        self.learners.append(made)
        return made


@pytest.fixture
def world(sqlite_database: Database, tmp_path: Path) -> Iterator[World]:
    fill(sqlite_database, [make_history(number, posts=110) for number in (1, 2)])
    clock = ManualClock(time=NOW)
    world = World(
        sqlite_database,
        ArtifactStore(str(tmp_path / "artifacts")),
        clock,
        Settings(home=tmp_path, env="test"),
        Versioning(sqlite_database, clock),
        tmp_path,
    )
    yield world
    for learner in world.learners:
        learner.close()


def wait(
    check: Callable[[], TrainingTask], done: Callable[[TrainingTask], bool], patience_s: float = 120
) -> TrainingTask:
    """Poll until a condition holds; fails with the task's state otherwise."""
    end = time.monotonic() + patience_s
    while not done(task := check()):
        assert time.monotonic() < end, task
        time.sleep(0.02)
    return task


def ended(task: TrainingTask) -> bool:
    return task.state in ("done", "failed", "cancelled")


def request(key: str = "first", **changes: object) -> TrainingRequest:
    return TrainingRequest(**({"key": key, "model": "engagement", "params": QUICK} | changes))  # type: ignore[arg-type]


def test_a_training_registers_a_version_that_loads(world: World) -> None:
    learner = world.learner()
    task = learner.submit(request())
    task = wait(lambda: learner.task(task.id), ended)
    assert task.state == "done", task.error
    assert task.result is not None
    assert task.result.version == 1
    version = world.versioning.get("engagement", 1)
    assert version.metrics == task.result.evaluation
    assert version.lineage.data_until == NOW
    assert load_model(world.artifacts, version.sha256).signature == version.signature
    assert learner.submit(request()) == task


def test_a_second_version_learns_on_and_is_compared(world: World) -> None:
    learner = world.learner()
    first = learner.submit(request(until=START + 28 * DAY))
    wait(lambda: learner.task(first.id), ended)
    second = learner.submit(
        request("second", strategy="incremental", warm_start=1, compare_with=1, params={"epochs": 3})
    )
    task = wait(lambda: learner.task(second.id), ended)
    assert task.state == "done", task.error
    assert task.result is not None
    assert task.result.evaluation is not None
    assert task.result.evaluation.versus_champion is not None
    assert world.versioning.get("engagement", 2).lineage.parent == 1


def test_until_is_fixed_when_the_task_is_queued(world: World) -> None:
    learner = world.learner(autostart=False)
    task = learner.submit(request())
    world.clock.time += 10 * DAY
    assert learner.task(task.id).request.until == NOW


def test_cancelling_a_running_training_stops_it_and_registers_nothing(world: World) -> None:
    learner = world.learner()
    task = learner.submit(request(params=LONG))
    wait(lambda: learner.task(task.id), lambda t: t.progress is not None or ended(t))
    learner.cancel(task.id)
    stopped = wait(lambda: learner.task(task.id), ended)
    assert stopped.state == "cancelled"
    assert stopped.progress is not None
    assert stopped.progress.epoch < 500
    assert world.versioning.versions("engagement") == ()
    after = learner.submit(request("after"))
    assert wait(lambda: learner.task(after.id), ended).state == "done"


def test_after_a_kill_the_task_is_done_by_the_next_learner(world: World) -> None:
    tasks = TaskStore(world.database)
    task = tasks.submit(request(until=NOW), NOW)
    tasks.claim(NOW, NOW)  # ... and the process was killed here
    learner = world.learner()
    done = wait(lambda: learner.task(task.id), ended)
    assert (done.state, done.attempt) == ("done", 2)
    assert len(world.versioning.versions("engagement")) == 1


def test_a_kill_after_registering_does_not_register_twice(world: World) -> None:
    learner = world.learner()
    task = learner.submit(request())
    wait(lambda: learner.task(task.id), ended)
    learner.close()
    with world.database.write() as connection:
        connection.execute(schema.training_task.update().values(state="running", result=None))
    again = world.learner()
    done = wait(lambda: again.task(task.id), ended)
    assert done.result is not None
    assert done.result.version == 1
    assert len(world.versioning.versions("engagement")) == 1


def test_closing_leaves_the_running_task_for_the_next_learner(world: World) -> None:
    learner = world.learner()
    task = learner.submit(request(params=LONG))
    wait(lambda: learner.task(task.id), lambda t: t.progress is not None or ended(t))
    learner.close()
    assert learner.task(task.id).state == "running"
    assert learner.health().status == "broken"
    world.learner(autostart=False)
    assert learner.task(task.id).state == "queued"


def test_too_little_data_fails_with_the_numbers(world: World) -> None:
    learner = world.learner()
    task = learner.submit(request(until=START + 6 * DAY))
    failed = wait(lambda: learner.task(task.id), ended)
    assert failed.state == "failed"
    assert "needed 60" in (failed.error or "")


def test_a_bad_request_fails_with_what_is_wrong(world: World) -> None:
    learner = world.learner()
    tasks = [
        learner.submit(request("a", model="weather")),
        learner.submit(request("b", params={"speed": 1})),
        learner.submit(request("c", compare_with=9)),
    ]
    errors = [wait(lambda t=t: learner.task(t.id), ended).error or "" for t in tasks]  # type: ignore[misc]
    assert "weather" in errors[0]
    assert "speed" in errors[1]
    assert "9" in errors[2]
    with pytest.raises(InvalidInput):
        learner.submit(request(""))
    with pytest.raises(NotFound):
        learner.task("nothing")


def test_when_versioning_does_not_answer_the_task_is_tried_again(world: World) -> None:
    calls = []

    class Away(Versioning):
        def register(self, new: NewVersion):  # type: ignore[no-untyped-def]
            calls.append(new.key)
            if len(calls) == 1:
                raise ServiceUnavailable("versioning is not running")
            return super().register(new)

    machine = ManualClock(time=1_000)
    learner = world.learner(versioning=Away(world.database, world.clock), machine=machine)
    task = learner.submit(request())
    waiting = wait(lambda: learner.task(task.id), lambda t: (t.state == "queued" and t.attempt == 1) or ended(t))
    assert (waiting.state, waiting.reason, waiting.not_before) == ("queued", "service-unavailable", 1_000 + BACKOFF_S)
    machine.time += BACKOFF_S
    done = wait(lambda: learner.task(task.id), ended)
    assert (done.state, done.attempt, calls) == ("done", 2, [task.id, task.id])


def test_health_has_touched_queue_and_store(world: World, tmp_path: Path) -> None:
    learner = world.learner()
    assert learner.health().status == "ok"
    (tmp_path / "blocked").write_text("a file where the store's folder should be")
    blocked = world.learner(artifacts=ArtifactStore(str(tmp_path / "blocked")), autostart=False)
    assert blocked.health().status == "broken"
    assert "artifact" in blocked.health().did


def test_progress_is_written_now_and_then_and_the_reporter_travels(world: World) -> None:
    tasks = TaskStore(world.database)
    task = tasks.submit(request(), NOW)
    tasks.claim(NOW, NOW)
    reporter = pickle.loads(pickle.dumps(TaskReporter(tasks, world.clock, task.id, 1)))
    for epoch in range(200):
        reporter.report(TrainingProgress(epoch, 200, 0.5, None))
    first = tasks.get(task.id).progress
    assert first is not None
    assert first.epoch < 199
    assert not reporter.should_stop()
    assert reporter.restored() is None
    tasks.request_cancel(task.id, NOW)
    time.sleep(0.3)  # cancelling is noticed at most so often
    assert reporter.should_stop()


def test_an_attempt_that_takes_too_long_is_ended_as_timed_out(world: World) -> None:
    learner = world.learner()
    task = learner.submit(request(params=LONG, timeout_s=1.5))
    late = wait(lambda: learner.task(task.id), ended)
    assert (late.state, late.reason, late.attempt) == ("failed", "timed-out", 1)
    assert "1.5 s" in (late.error or "")
    assert world.versioning.versions("engagement") == ()
    with pytest.raises(InvalidInput):
        learner.submit(request("never", timeout_s=0))


def test_the_time_that_is_left_travels_with_the_reporter(world: World) -> None:
    tasks = TaskStore(world.database)
    task = tasks.submit(request(), NOW)
    tasks.claim(NOW, NOW)
    reporter = TaskReporter(tasks, world.clock, task.id, 1, limit_s=100.0)
    time.sleep(0.01)
    there = pickle.loads(pickle.dumps(reporter))
    assert 99 < there.limit_s < 100
    assert not there.timed_out
    assert TaskReporter(tasks, world.clock, task.id, 1, limit_s=0.0).should_stop()


def test_a_task_waits_for_the_one_that_makes_its_version(world: World) -> None:
    """Strategies one after the other: a version of one channel, its head for the other, a corrector on top."""
    learner = world.learner(autostart=False)
    first = learner.submit(request(channels=("c1",), until=START + 28 * DAY))
    head = request("head", strategy="transfer", warm_start=1, channels=("c2",), params={"epochs": 2}, after=(first.id,))
    second = learner.submit(head)
    online = request("online", strategy="online", warm_start=1, params={}, after=(second.id,))
    third = learner.submit(online)
    worker = world.learner()
    done = [wait(lambda t=t: worker.task(t.id), ended) for t in (first, second, third)]  # type: ignore[misc]
    assert [t.state for t in done] == ["done"] * 3, [t.error for t in done]
    versions = {v.lineage.strategy: v for v in world.versioning.versions("engagement")}
    assert {name: v.lineage.parent for name, v in versions.items()} == {"batch": None, "transfer": 1, "online": 1}
    assert versions["transfer"].params["channels"] == ["c2"]
    assert load_model(world.artifacts, versions["online"].sha256).corrector is not None
    assert {t.key for t in worker.tasks(state="done")} == {"first", "head", "online"}
    assert worker.tasks(state="failed") == ()


def test_the_bandit_says_when_to_publish_and_keeps_what_it_learned(world: World) -> None:
    learner = world.learner()
    task = learner.submit(request("when", strategy="bandit", params={}))
    done = wait(lambda: learner.task(task.id), ended)
    assert done.state == "done", done.error
    assert done.result is not None
    assert done.result.version is None
    assert [t.channel for t in done.result.posting_times] == ["c1", "c2"]
    for found in done.result.posting_times:
        assert found.gap is None
        assert found.hour is not None
        assert found.low is not None
        assert found.rise is not None
        assert 0 < found.low < found.rise
        assert found.posts >= 40
    states = SeriesStates(world.database).all("learner")
    assert len(states) == 2
    learned = [int(Bandit.from_plain(json.loads(state)).n.sum()) for state in states.values()]
    assert sorted(learned) == sorted(t.posts for t in done.result.posting_times)
    early = learner.submit(request("early", strategy="bandit", params={}, until=START + 6 * DAY))
    failed = wait(lambda: learner.task(early.id), ended)
    assert (failed.state, failed.reason) == ("failed", "insufficient-data")
