"""Workflows and their transitions, and the facts that start one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from core.errors import Conflict, NotFound, Refused
from core.schemas.workflows import ENDED, Spent, Step, Switch, Trigger, Workflow, WorkflowEvent
from core.store import schema
from core.store.database import Database
from core.store.ids import new_id
from core.store.series import SeriesStates

_SWITCHES = "loop:switches"
_ENDED = sorted(str(step) for step in ENDED)


@dataclass(frozen=True)
class WorkflowStore:
    """One writer (the orchestrator); every transition is one transaction."""

    database: Database

    def begin(
        self, model: str, trigger: Trigger, key: str, first: Step, reason: str, data: dict[str, Any], at: int
    ) -> Workflow:
        """Create a workflow at its first step; the same key gives the same one, another active one is Refused."""
        table = schema.workflow
        with self.database.write() as connection:
            found = connection.execute(select(table.c.id).where(table.c.request_key == key)).scalar()
            if found is not None:
                return _load(connection, str(found))
            active = _active_id(connection, model)
            if active is not None:
                raise Refused(f"workflow {active} of {model} is active: wait for its end", workflow=active)
            row = {
                "id": new_id(),
                "model": model,
                "trigger": trigger,
                "step": first,
                "data": json.dumps(data, sort_keys=True),
                "request_key": key,
                "created_at": at,
                "updated_at": at,
            }
            connection.execute(table.insert(), row)
            _note(connection, str(row["id"]), 1, at, None, first, reason)
            return _load(connection, str(row["id"]))

    def move(self, workflow: Workflow, to: Step, reason: str, data: dict[str, Any], at: int) -> Workflow:
        """Commit a transition; Conflict when the stored step is not the one that the caller saw."""
        table = schema.workflow
        with self.database.write() as connection:
            done = connection.execute(
                update(table)
                .where(table.c.id == workflow.id, table.c.step == workflow.step)
                .values(step=to, data=json.dumps({**workflow.data, **data}, sort_keys=True), updated_at=at)
            )
            if done.rowcount != 1:
                raise Conflict(f"workflow {workflow.id} is no longer at {workflow.step}")
            events = schema.workflow_event
            last = connection.execute(
                select(func.max(events.c.seq)).where(events.c.workflow_id == workflow.id)
            ).scalar_one()
            _note(connection, workflow.id, int(last) + 1, at, workflow.step, to, reason)
            return _load(connection, workflow.id)

    def get(self, workflow_id: str) -> Workflow:
        """One with its history; NotFound."""
        with self.database.read() as connection:
            return _load(connection, workflow_id)

    def active(self, model: str) -> Workflow | None:
        """The one that has not ended."""
        with self.database.read() as connection:
            found = _active_id(connection, model)
            return None if found is None else _load(connection, found)

    def latest(self, model: str) -> Workflow | None:
        """The one begun last, with its history."""
        table = schema.workflow
        query = select(table.c.id).where(table.c.model == model).order_by(*_NEWEST_FIRST).limit(1)
        with self.database.read() as connection:
            found = connection.execute(query).scalar()
            return None if found is None else _load(connection, str(found))

    def all(self, model: str, limit: int = 200) -> tuple[Workflow, ...]:
        """Newest first, without histories."""
        table = schema.workflow
        query = select(table).where(table.c.model == model).order_by(*_NEWEST_FIRST).limit(limit)
        with self.database.read() as connection:
            return tuple(_workflow(row, ()) for row in connection.execute(query))

    def spent_since(self, model: str, moment: int) -> Spent:
        """Trainings and searches of a model that ended after a moment, whoever asked for them."""
        table = schema.training_task
        query = select(table.c.result).where(
            table.c.model == model, table.c.result.is_not(None), table.c.updated_at > moment
        )
        with self.database.read() as connection:
            seconds = [float(json.loads(result)["seconds"]) for result in connection.execute(query).scalars()]
        return Spent(len(seconds), sum(seconds))

    def switches(self, model: str) -> dict[Switch, bool]:
        """What a person has switched, beyond the settings."""
        found = SeriesStates(self.database).load(_SWITCHES, model)
        return {} if found is None else json.loads(found)

    def switch(self, model: str, name: Switch, on: bool | None, at: int) -> None:
        """Set a switch, or (None) leave it to the settings again."""
        with self.database.write() as connection:
            before = self.switches(model)
            after = {key: value for key, value in before.items() if key != name} | ({} if on is None else {name: on})
            SeriesStates(self.database).save(connection, _SWITCHES, model, json.dumps(after, sort_keys=True), at)

    def labelled_posts_since(self, model: str, moment: int, published_from: int | None = None) -> int:
        """Posts whose outcome became known after a moment, among those that predictions were asked for; only posts
        published from `published_from` on, where it is given.
        """
        p, o, post = schema.prediction, schema.outcome, schema.post
        query = (
            select(p.c.channel_id, p.c.post_id)
            .join(o, o.c.prediction_id == p.c.id)
            .where(p.c.model == model, o.c.known_at > moment)
        )
        if published_from is not None:
            same = (post.c.channel_id == p.c.channel_id) & (post.c.post_id == p.c.post_id)
            query = query.join(post, same).where(post.c.published_at >= published_from)
        posts = query.distinct().subquery()
        with self.database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(posts)).scalar_one())


# Data time may stand still between two workflows of a replay; the later one was also changed later.
_NEWEST_FIRST = (schema.workflow.c.created_at.desc(), schema.workflow.c.updated_at.desc())


def _active_id(connection: Connection, model: str) -> str | None:
    table = schema.workflow
    query = select(table.c.id).where(table.c.model == model, table.c.step.not_in(_ENDED)).limit(1)
    return connection.execute(query).scalar()


def _note(
    connection: Connection, workflow_id: str, seq: int, at: int, from_step: Step | None, to_step: Step, reason: str
) -> None:
    row = {
        "workflow_id": workflow_id,
        "seq": seq,
        "at": at,
        "from_step": from_step,
        "to_step": to_step,
        "reason": reason,
    }
    connection.execute(schema.workflow_event.insert(), row)


def _load(connection: Connection, workflow_id: str) -> Workflow:
    table, events = schema.workflow, schema.workflow_event
    row = connection.execute(select(table).where(table.c.id == workflow_id)).one_or_none()
    if row is None:
        raise NotFound(f"no workflow {workflow_id}", workflow=workflow_id)
    history = connection.execute(select(events).where(events.c.workflow_id == workflow_id).order_by(events.c.seq)).all()
    return _workflow(row, history)


def _workflow(row: Row[Any], history: Any) -> Workflow:
    return Workflow(
        id=row.id,
        model=row.model,
        trigger=row.trigger,
        step=Step(row.step),
        data=json.loads(row.data),
        created_at=row.created_at,
        updated_at=row.updated_at,
        events=tuple(
            WorkflowEvent(e.seq, e.at, None if e.from_step is None else Step(e.from_step), Step(e.to_step), e.reason)
            for e in history
        ),
    )
