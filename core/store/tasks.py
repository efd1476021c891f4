"""The learner's durable queue: what is asked for, what it waits for, how far it is, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, or_, select, update

from core.codec import from_json, to_json
from core.errors import InvalidInput, NotFound
from core.schemas.models import TaskState, TrainingProgress, TrainingRequest, TrainingResult, TrainingTask
from core.store import schema
from core.store.database import Database
from core.store.ids import derived_id

#: Wait before the second attempt, seconds; it doubles with every attempt, up to the longest.
BACKOFF_S, LONGEST_BACKOFF_S = 2, 600
#: A task that waited for one that was never done.
DEPENDENCY_FAILED = "dependency-failed"

_table = schema.training_task


@dataclass(frozen=True)
class TaskStore:
    """One row a task. A writer names the attempt that it belongs to; a later attempt makes it a stranger.

    now: epoch seconds on the data's timeline; machine: on the machine's clock, which waiting goes by, because the
    data's may stand still (a replay that is paused).
    """

    database: Database

    def submit(self, request: TrainingRequest, now: int) -> TrainingTask:
        """Queue a request; the same model and key give the task that is there already.

        InvalidInput when a task that it is to wait for does not exist: order follows, and no circle can be made.
        """
        key = derived_id("training", request.model, request.key)
        values = {
            "id": key,
            "request_key": key,
            "model": request.model,
            "kind": request.kind,
            "state": "queued",
            "priority": request.priority,
            "request": to_json(request),
            "attempt": 0,
            "cancel_requested": False,
            "created_at": now,
            "updated_at": now,
        }
        with self.database.write() as connection:
            known = _states(connection, request.after)
            for other in request.after:
                if other not in known:
                    raise InvalidInput(f"there is no task {other!r} to wait for", field="after")
            new = self.database.insert(_table).values(values)
            connection.execute(new.on_conflict_do_nothing(index_elements=["request_key"]))
            return _task(_one(connection, key))

    def get(self, task_id: str) -> TrainingTask:
        """One task; NotFound."""
        with self.database.read() as connection:
            return _task(_one(connection, task_id))

    def recent(
        self, model: str | None = None, state: TaskState | None = None, limit: int = 100
    ) -> tuple[TrainingTask, ...]:
        """Tasks, newest first, of one model or in one state where asked for."""
        query = select(_table).order_by(_table.c.created_at.desc(), _table.c.id).limit(limit)
        if model is not None:
            query = query.where(_table.c.model == model)
        if state is not None:
            query = query.where(_table.c.state == state)
        with self.database.read() as connection:
            return tuple(_task(row) for row in connection.execute(query))

    def unfinished(self) -> tuple[TrainingTask, ...]:
        """Tasks that are queued or running, in the order in which they will run."""
        query = _in_order(select(_table).where(_table.c.state.in_(("queued", "running"))))
        with self.database.read() as connection:
            return tuple(_task(row) for row in connection.execute(query))

    def claim(self, now: int, machine: int) -> TrainingTask | None:
        """Begin the next task's attempt: highest priority first, then oldest. None: nothing may begin now.

        Left waiting are tasks whose time has not come and those that wait for others. A task that waits for one which
        failed or was cancelled fails here: what it was to build on will not be there.
        """
        ripe = or_(_table.c.not_before.is_(None), _table.c.not_before <= machine)
        query = _in_order(select(_table).where(and_(_table.c.state == "queued", ripe)))
        if not self.database.is_sqlite:
            query = query.with_for_update(skip_locked=True)
        with self.database.write() as connection:
            for row in connection.execute(query).all():
                states = _states(connection, from_json(TrainingRequest, row.request).after)
                lost = [(other, state) for other, state in states.items() if state in ("failed", "cancelled")]
                here = update(_table).where(_table.c.id == row.id)
                if lost:
                    error = f"it waited for task {lost[0][0]}, which is {lost[0][1]}"
                    change = {"state": "failed", "error": error, "reason": DEPENDENCY_FAILED, "updated_at": now}
                    connection.execute(here.values(change))
                elif all(state == "done" for state in states.values()):
                    change = {"state": "running", "attempt": row.attempt + 1, "progress": None, "updated_at": now}
                    connection.execute(here.values(change))
                    return _task(_one(connection, row.id))
        return None

    def progress(self, task_id: str, attempt: int, progress: TrainingProgress, now: int) -> bool:
        """Note how far an attempt is; whether it still counts."""
        return self._change(task_id, attempt, now, progress=to_json(progress))

    def finish(self, task_id: str, attempt: int, result: TrainingResult, now: int) -> bool:
        """Store an attempt's result; whether it still counts."""
        return self._change(task_id, attempt, now, state="done", result=to_json(result), error=None, reason=None)

    def fail(self, task_id: str, attempt: int, error: str, now: int, reason: str = "error") -> bool:
        """Give an attempt's task up. reason: kind of the failure."""
        return self._change(task_id, attempt, now, state="failed", error=error, reason=reason)

    def cancelled(self, task_id: str, attempt: int, now: int) -> bool:
        """The attempt has stopped, as asked."""
        return self._change(task_id, attempt, now, state="cancelled")

    def retry(
        self,
        task_id: str,
        attempt: int,
        error: str,
        now: int,
        *,
        reason: str = "error",
        machine: int | None = None,
    ) -> bool:
        """Put an attempt's task back into the queue, or give it up after its last attempt; keeps the error.

        machine: the machine's time; given, the task waits BACKOFF_S, then twice as long after every further attempt.
        """
        allowed = self.get(task_id).request.attempts
        if attempt >= allowed:
            return self.fail(task_id, attempt, f"gave up after {attempt} attempts: {error}", now, reason)
        wait = min(BACKOFF_S * 2 ** (attempt - 1), LONGEST_BACKOFF_S)
        not_before = None if machine is None else machine + wait
        return self._change(task_id, attempt, now, state="queued", error=error, reason=reason, not_before=not_before)

    def request_cancel(self, task_id: str, now: int) -> TrainingTask:
        """A queued task is cancelled at once, a running one when its loop next asks; ended tasks stay as they are."""
        with self.database.write() as connection:
            row = _one(connection, task_id)
            changes: dict[str, dict[str, Any]] = {
                "queued": {"state": "cancelled", "cancel_requested": True},
                "running": {"cancel_requested": True},
            }
            if row.state in changes:
                where = _table.c.id == task_id
                connection.execute(update(_table).where(where).values(**changes[row.state], updated_at=now))
            return _task(_one(connection, task_id))

    def should_stop(self, task_id: str, attempt: int) -> bool:
        """Whether an attempt is to stop: cancelled, or no longer the one that counts."""
        query = select(_table.c.state, _table.c.attempt, _table.c.cancel_requested).where(_table.c.id == task_id)
        with self.database.read() as connection:
            row = connection.execute(query).first()
        return row is None or row.state != "running" or row.attempt != attempt or bool(row.cancel_requested)

    def recover(self, now: int) -> tuple[TrainingTask, ...]:
        """After a learner died: its running tasks go back into the queue (cancelled or given up where due)."""
        with self.database.read() as connection:
            ids = [row.id for row in connection.execute(select(_table.c.id).where(_table.c.state == "running"))]
        for task_id in ids:
            task = self.get(task_id)
            if self.should_stop(task_id, task.attempt):
                self.cancelled(task_id, task.attempt, now)
            else:
                # No wait: starting the learner again has taken its time.
                self.retry(task_id, task.attempt, task.error or "the learner died", now, reason="learner-died")
        return tuple(self.get(task_id) for task_id in ids)

    def _change(self, task_id: str, attempt: int, now: int, **values: Any) -> bool:
        where = and_(_table.c.id == task_id, _table.c.attempt == attempt, _table.c.state == "running")
        with self.database.write() as connection:
            done = connection.execute(update(_table).where(where).values(**values, updated_at=now))
            return bool(done.rowcount)


def _in_order(query: Select[Any]) -> Select[Any]:
    return query.order_by(_table.c.priority.desc(), _table.c.created_at, _table.c.id)


def _states(connection: Connection, ids: tuple[str, ...]) -> dict[str, str]:
    if not ids:
        return {}
    query = select(_table.c.id, _table.c.state).where(_table.c.id.in_(ids)).order_by(_table.c.id)
    return {row.id: row.state for row in connection.execute(query)}


def _one(connection: Connection, task_id: str) -> Row[Any]:
    row = connection.execute(select(_table).where(_table.c.id == task_id)).first()
    if row is None:
        raise NotFound(f"no training task {task_id!r}", task=task_id)
    return row


def _task(row: Row[Any]) -> TrainingTask:
    request = from_json(TrainingRequest, row.request)
    return TrainingTask(
        id=row.id,
        key=request.key,
        model=row.model,
        kind=row.kind,
        state=row.state,
        attempt=row.attempt,
        request=request,
        progress=None if row.progress is None else from_json(TrainingProgress, row.progress),
        result=None if row.result is None else from_json(TrainingResult, row.result),
        error=row.error,
        reason=row.reason,
        not_before=row.not_before,
        created_at=row.created_at,
    )
