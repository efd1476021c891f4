"""The traffic split of each model: what routers obey, fenced so that a late or second writer cannot turn it back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, and_, select, update

from core.clock import Clock
from core.errors import Conflict
from core.schemas.rollouts import TrafficSplit
from core.store import schema
from core.store.database import Database


@dataclass(frozen=True)
class SplitStore:
    """One row a model; its epoch only grows."""

    database: Database

    def read(self, model: str) -> TrafficSplit | None:
        """The split in force; None: no version of the model was ever put into service."""
        with self.database.read() as connection:
            return _read(connection, model)

    def write(self, split: TrafficSplit, clock: Clock) -> TrafficSplit:
        """Store a split of a higher epoch and return it.

        The same split again changes nothing (`renewals` is not compared: it counts by itself). Conflict for a lower
        epoch, or for the present epoch with other content: somebody else steers this model.
        """
        table = schema.traffic_split
        fresh = replace(split, renewals=0)
        values = {name: getattr(fresh, name) for name in TrafficSplit.__slots__} | {"updated_at": clock.now()}
        statement = self.database.insert(table).values(values)
        changes = {name: statement.excluded[name] for name in values if name != "model"}
        with self.database.write() as connection:
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=[table.c.model], set_=changes, where=table.c.epoch < statement.excluded.epoch
                )
            )
            stored = _read(connection, split.model)
        if stored is None or replace(stored, renewals=0) != fresh:
            present = stored.epoch if stored else "?"
            raise Conflict(
                f"the split of {split.model} is at epoch {present}: epoch {split.epoch} comes too late",
                model=split.model,
                epoch=split.epoch,
            )
        return stored

    def renew(self, model: str, epoch: int) -> None:
        """Tell routers that the split is still steered; Conflict when another epoch is in force."""
        table = schema.traffic_split
        where = and_(table.c.model == model, table.c.epoch == epoch)
        with self.database.write() as connection:
            done = connection.execute(update(table).where(where).values(renewals=table.c.renewals + 1))
        if done.rowcount != 1:
            raise Conflict(f"epoch {epoch} of the split of {model} is not in force", model=model, epoch=epoch)


def _read(connection: Connection, model: str) -> TrafficSplit | None:
    row = connection.execute(select(schema.traffic_split).where(schema.traffic_split.c.model == model)).first()
    return None if row is None else _split(row)


def _split(row: Row[Any]) -> TrafficSplit:
    return TrafficSplit(**{name: getattr(row, name) for name in TrafficSplit.__slots__})
