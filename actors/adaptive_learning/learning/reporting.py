"""Between a training loop and the task table: progress out, "stop" in."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.clock import Clock
from core.schemas.models import TrainingProgress
from core.store.tasks import TaskStore

#: Progress is written, and cancelling noticed, at most this often.
WRITE_S, ASK_S = 0.5, 0.25


@dataclass(slots=True)
class TaskReporter:
    """Reporter of one attempt at a task; picklable unless `interrupted` is given.

    interrupted: asked at every step, besides the table; the learner's way to end an attempt when it closes. limit_s:
    longest time of the attempt, from when the reporter was made.
    """

    tasks: TaskStore
    clock: Clock
    task_id: str
    attempt: int
    interrupted: Callable[[], bool] | None = None
    limit_s: float = float("inf")
    _begin: float = field(default_factory=time.monotonic, init=False)
    _written: float = field(default=float("-inf"), init=False)
    _asked: float = field(default=float("-inf"), init=False)
    _stop: bool = field(default=False, init=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # Monotonic clocks of other machines begin elsewhere: what travels is the time that is left.
        given = (self.tasks, self.clock, self.task_id, self.attempt, self.interrupted, self.limit_s - self.elapsed_s)
        return TaskReporter, given

    @property
    def elapsed_s(self) -> float:
        """Seconds since the attempt began."""
        return time.monotonic() - self._begin

    @property
    def timed_out(self) -> bool:
        """Whether the attempt has taken longer than it may."""
        return self.elapsed_s >= self.limit_s

    def report(self, progress: TrainingProgress, checkpoint: bytes | None = None) -> None:
        """Write progress, the first one at once; checkpoints are Ray Train's business."""
        now = time.monotonic()
        if now - self._written >= WRITE_S:
            self._written = now
            self.tasks.progress(self.task_id, self.attempt, progress, self.clock.now())

    def should_stop(self) -> bool:
        """Whether somebody cancelled the task, or took it over, or its time is up."""
        if self.timed_out or (self.interrupted is not None and self.interrupted()):
            return True
        now = time.monotonic()
        if not self._stop and now - self._asked >= ASK_S:
            self._asked = now
            self._stop = self.tasks.should_stop(self.task_id, self.attempt)
        return self._stop

    def restored(self) -> bytes | None:
        """An attempt in this process begins anew: a fit takes seconds."""
        return None
