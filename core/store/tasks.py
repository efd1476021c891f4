"""The learner's durable queue: what is asked for, how far it is, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, select, update

from core.codec import from_json, to_json
from core.errors import NotFound
from core.schemas.models import TrainingProgress, TrainingRequest, TrainingResult, TrainingTask
from core.store import schema
from core.store.database import Database
from core.store.ids import derived_id

#: A task whose learner died this often is given up: it may be what kills it.
MAX_ATTEMPTS = 3

_table = schema.training_task


@dataclass(frozen=True)
class TaskStore:
    """One row a task. A writer names the attempt that it belongs to; a later attempt makes it a stranger."""

    database: Database

    def submit(self, request: TrainingRequest, now: int) -> TrainingTask:
        """Queue a request; the same model and key give the task that is there already."""
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
            new = self.database.insert(_table).values(values)
            connection.execute(new.on_conflict_do_nothing(index_elements=["request_key"]))
            return _task(_one(connection, key))

    def get(self, task_id: str) -> TrainingTask:
        """One task; NotFound."""
        with self.database.read() as connection:
            return _task(_one(connection, task_id))

    def unfinished(self) -> tuple[TrainingTask, ...]:
        """Tasks that are queued or running, in the order in which they will run."""
        query = _in_order(select(_table).where(_table.c.state.in_(("queued", "running"))))
        with self.database.read() as connection:
            return tuple(_task(row) for row in connection.execute(query))

    def claim(self, now: int) -> TrainingTask | None:
        """Take the next task: highest priority, then oldest; its attempt begins. None: the queue is empty."""
        query = _in_order(select(_table).where(_table.c.state == "queued")).limit(1)
        if not self.database.is_sqlite:
            query = query.with_for_update(skip_locked=True)
        with self.database.write() as connection:
            row = connection.execute(query).first()
            if row is None:
                return None
            change = {"state": "running", "attempt": row.attempt + 1, "progress": None, "updated_at": now}
            connection.execute(update(_table).where(_table.c.id == row.id).values(change))
            return _task(_one(connection, row.id))

    def progress(self, task_id: str, attempt: int, progress: TrainingProgress, now: int) -> bool:
        """Note how far an attempt is; whether it still counts."""
        return self._change(task_id, attempt, now, progress=to_json(progress))

    def finish(self, task_id: str, attempt: int, result: TrainingResult, now: int) -> bool:
        """Store an attempt's result; whether it still counts."""
        return self._change(task_id, attempt, now, state="done", result=to_json(result), error=None)

    def fail(self, task_id: str, attempt: int, error: str, now: int) -> bool:
        """Give an attempt's task up."""
        return self._change(task_id, attempt, now, state="failed", error=error)

    def cancelled(self, task_id: str, attempt: int, now: int) -> bool:
        """The attempt has stopped, as asked."""
        return self._change(task_id, attempt, now, state="cancelled")

    def retry(self, task_id: str, attempt: int, error: str, now: int) -> bool:
        """Put an attempt's task back into the queue, or give it up after MAX_ATTEMPTS; keeps the error."""
        if attempt >= MAX_ATTEMPTS:
            return self.fail(task_id, attempt, f"gave up after {attempt} attempts: {error}", now)
        return self._change(task_id, attempt, now, state="queued", error=error)

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
                self.retry(task_id, task.attempt, task.error or "the learner died", now)
        return tuple(self.get(task_id) for task_id in ids)

    def _change(self, task_id: str, attempt: int, now: int, **values: Any) -> bool:
        where = and_(_table.c.id == task_id, _table.c.attempt == attempt, _table.c.state == "running")
        with self.database.write() as connection:
            done = connection.execute(update(_table).where(where).values(**values, updated_at=now))
            return bool(done.rowcount)


def _in_order(query: Select[Any]) -> Select[Any]:
    return query.order_by(_table.c.priority.desc(), _table.c.created_at, _table.c.id)


def _one(connection: Connection, task_id: str) -> Row[Any]:
    row = connection.execute(select(_table).where(_table.c.id == task_id)).first()
    if row is None:
        raise NotFound(f"no training task {task_id!r}", task=task_id)
    return row


def _task(row: Row[Any]) -> TrainingTask:
    return TrainingTask(
        id=row.id,
        key=from_json(TrainingRequest, row.request).key,
        model=row.model,
        kind=row.kind,
        state=row.state,
        attempt=row.attempt,
        request=from_json(TrainingRequest, row.request),
        progress=None if row.progress is None else from_json(TrainingProgress, row.progress),
        result=None if row.result is None else from_json(TrainingResult, row.result),
        error=row.error,
    )
