"""The learner: one task at a time in a thread of its own, so that it answers while it trains."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import structlog

from core.artifacts import ArtifactStore
from core.clock import Clock, SystemClock
from core.errors import AnalyticBotError, InvalidInput, ServiceUnavailable, StorageBroken
from core.protocols import VersioningService
from core.schemas.health import Health
from core.schemas.models import TaskState, TrainingRequest, TrainingResult, TrainingTask
from core.settings import Settings
from core.store.database import Database
from core.store.tasks import TaskStore

log = structlog.get_logger(__name__)

#: The thread looks at the queue this often even when nobody wakes it.
_LOOK_S = 1.0
#: Most attempts that a request may ask for.
_ATTEMPTS = 20
#: Kind of failure of an attempt that took longer than it may. It is not tried again: the same work takes as long.
TIMED_OUT = "timed-out"


class Learner:
    """Runs trainings and studies from the durable queue (LearningService).

    The queue is the database's: a learner that was killed puts the task it was at back when it starts again, and the
    version is registered under the task's id, so that a task done twice registers one version. torch and Ray's
    libraries are imported by the working thread, when there is work. machine: the clock that waiting between attempts
    goes by; the data's own may stand still.
    """

    def __init__(
        self,
        database: Database,
        artifacts: ArtifactStore,
        clock: Clock,
        settings: Settings,
        versioning: VersioningService,
        home: Path | None = None,
        *,
        autostart: bool = True,
        machine: Clock | None = None,
    ) -> None:
        self._tasks = TaskStore(database)
        self._clock = clock
        self._machine = SystemClock() if machine is None else machine
        self._artifacts = artifacts
        self._given = (database, artifacts, clock, settings, versioning, home or settings.home)
        self._wake, self._closing = threading.Event(), threading.Event()
        for task in self._tasks.recover(clock.now()):
            log.info("task recovered", task=task.id, state=task.state, attempt=task.attempt)
        self._thread = threading.Thread(target=self._run, name="learner", daemon=True)
        if autostart:
            self._thread.start()

    def submit(self, request: TrainingRequest) -> TrainingTask:
        """Queue it; the same key gives the same task. What is known now is what it will learn from."""
        if not request.key or request.budget_s <= 0:
            raise InvalidInput("a training request needs a key and a budget above 0 s", field="key")
        if request.limit_s <= 0 or not 1 <= request.attempts <= _ATTEMPTS:
            raise InvalidInput(f"timeout_s must be above 0, attempts from 1 to {_ATTEMPTS}", field="timeout_s")
        if request.until is None:
            request = replace(request, until=self._clock.now())
        task = self._tasks.submit(request, self._clock.now())
        self._wake.set()
        return task

    def task(self, task_id: str) -> TrainingTask:
        """State, progress and result; NotFound."""
        return self._tasks.get(task_id)

    def tasks(
        self, model: str | None = None, state: TaskState | None = None, limit: int = 100
    ) -> tuple[TrainingTask, ...]:
        """Newest first."""
        return self._tasks.recent(model, state, limit)

    def cancel(self, task_id: str) -> TrainingTask:
        """A queued task is cancelled at once, a running one stops at its next step."""
        return self._tasks.request_cancel(task_id, self._clock.now())

    def health(self) -> Health:
        """Read the queue, write and verify a small artifact, and see that the working thread lives."""
        pid = os.getpid()
        try:
            unfinished = self._tasks.unfinished()
            probe = {"probe": b"written by the learner's health check"}
            self._artifacts.get(self._artifacts.put(probe))
        except AnalyticBotError as error:
            return Health("learner", "broken", str(error), pid)
        running = [task.id for task in unfinished if task.state == "running"]
        details = {"queued": len(unfinished) - len(running), "running": running}
        if not self._thread.is_alive():
            return Health("learner", "broken", "the working thread has ended: restart the learner", pid, details)
        return Health("learner", "ok", "read the queue, verified an artifact", pid, details)

    def close(self) -> None:
        """Stop working at the next step of whatever runs, which stays in the queue; for tests and orderly ends."""
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        lost = False
        while not self._closing.is_set():
            try:
                if lost:
                    self._tasks.recover(self._clock.now())
                    lost = False
                task = self._tasks.claim(self._clock.now(), self._machine.now())
                if task is not None:
                    self._do(task)
                    continue
            except AnalyticBotError as error:
                # The database does not answer; a task that was running is put back once it does.
                lost = True
                log.error("the learner cannot reach its queue", error=str(error))
            self._wake.wait(_LOOK_S)
            self._wake.clear()

    def _do(self, task: TrainingTask) -> None:
        from actors.adaptive_learning.learning.work import Work
        from training.loop import TrainingStopped

        log.info("task begins", task=task.id, kind=task.kind, strategy=task.request.strategy, attempt=task.attempt)
        now, begin = self._clock.now, time.monotonic()
        try:
            result: TrainingResult = Work(*self._given).do(task, self._closing.is_set)
        except TrainingStopped:
            if self._closing.is_set():
                return
            limit = task.request.limit_s
            if time.monotonic() - begin >= limit:
                self._tasks.fail(task.id, task.attempt, f"timed out after {limit:g} s", now(), TIMED_OUT)
            else:
                self._tasks.cancelled(task.id, task.attempt, now())
        except (ServiceUnavailable, StorageBroken) as error:
            self._tasks.retry(task.id, task.attempt, str(error), now(), reason=error.code, machine=self._machine.now())
        except AnalyticBotError as error:
            self._tasks.fail(task.id, task.attempt, str(error), now(), error.code)
        except Exception as error:
            # The thread must live on: a bug in one task is that task's failure, with its whole trace in the log.
            log.exception("task failed", task=task.id)
            self._tasks.fail(task.id, task.attempt, f"{type(error).__name__}: {error}", now())
        else:
            self._tasks.finish(task.id, task.attempt, result, now())
            log.info("task done", task=task.id, seconds=round(result.seconds, 1), version=result.version)
