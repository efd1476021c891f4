"""The registry of model versions: numbers given in the order of registration, aliases moved by compare-and-set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, select

from core.codec import from_json, to_json
from core.errors import Conflict, NotFound
from core.schemas.models import Alias, AliasChange, Evaluation, Lineage, ModelVersion, NewVersion, Signature
from core.store import schema
from core.store.database import Database
from core.store.ids import derived_id


@dataclass(frozen=True)
class Registry:
    """Versions are never changed once stored; what moves is the aliases, each move with its reason."""

    database: Database

    def register(self, new: NewVersion, now: int) -> ModelVersion:
        """Store under the model's next number; a key that is there already gives its version, unchanged."""
        table, key = schema.model_version, derived_id(new.model, new.key)
        with self.database.write() as connection:
            self.database.serialise(connection, table)
            known = connection.execute(select(table).where(table.c.request_key == key)).first()
            if known is None:
                highest = connection.execute(
                    select(func.max(table.c.version)).where(table.c.model == new.model)
                ).scalar()
                connection.execute(table.insert().values(_values(new, (highest or 0) + 1, key, now)))
                known = connection.execute(select(table).where(table.c.request_key == key)).one()
            return _version(known, _aliases(connection, new.model))

    def get(self, model: str, version: int) -> ModelVersion:
        """One version; NotFound."""
        with self.database.read() as connection:
            return _get(connection, model, version)

    def versions(self, model: str) -> tuple[ModelVersion, ...]:
        """All, newest first."""
        table = schema.model_version
        query = select(table).where(table.c.model == model).order_by(table.c.version.desc())
        with self.database.read() as connection:
            aliases = _aliases(connection, model)
            return tuple(_version(row, aliases) for row in connection.execute(query))

    def resolve(self, model: str, alias: Alias) -> ModelVersion | None:
        """The version that an alias names."""
        with self.database.read() as connection:
            number = _aliases(connection, model).get(alias)
            return None if number is None else _get(connection, model, number)

    def set_alias(
        self, model: str, alias: Alias, version: int | None, expect: int | None, reason: str, actor: str, now: int
    ) -> AliasChange:
        """Move an alias from `expect` to `version` (None: to nothing); Conflict when it names something else.

        An alias that names `version` already stays, and its last change comes back.
        """
        with self.database.write() as connection:
            self.database.serialise(connection, schema.alias_history)
            if version is not None:
                _get(connection, model, version)
            present = _aliases(connection, model).get(alias)
            last = _last_change(connection, model, alias)
            if present == version:
                return last or AliasChange(model, alias, None, None, 0, "never set", actor, now)
            if present != expect:
                raise Conflict(
                    f"{alias} of {model} is {_named(present)}, not {_named(expect)}: somebody moved it",
                    model=model,
                    alias=alias,
                    present=present,
                )
            change = AliasChange(
                model, alias, present, version, (last.generation if last else 0) + 1, reason, actor, now
            )
            self._move(connection, change)
        return change

    def history(self, model: str) -> tuple[AliasChange, ...]:
        """Every change of every alias, newest first."""
        table = schema.alias_history
        query = select(table).where(table.c.model == model).order_by(table.c.seq.desc())
        with self.database.read() as connection:
            return tuple(_change(row) for row in connection.execute(query))

    def _move(self, connection: Connection, change: AliasChange) -> None:
        table = schema.model_alias
        connection.execute(delete(table).where(and_(table.c.model == change.model, table.c.alias == change.alias)))
        if change.to_version is not None:
            values = {
                "model": change.model,
                "alias": change.alias,
                "version": change.to_version,
                "generation": change.generation,
            }
            connection.execute(table.insert().values(values))
        row = {name: getattr(change, name) for name in AliasChange.__slots__}
        self.database.append(connection, schema.alias_history, [row])


def _get(connection: Connection, model: str, version: int) -> ModelVersion:
    table = schema.model_version
    row = connection.execute(select(table).where(and_(table.c.model == model, table.c.version == version))).first()
    if row is None:
        raise NotFound(f"{model} has no version {version}", model=model, version=version)
    return _version(row, _aliases(connection, model))


def _aliases(connection: Connection, model: str) -> dict[str, int]:
    table = schema.model_alias
    found = connection.execute(select(table.c.alias, table.c.version).where(table.c.model == model))
    return {row.alias: row.version for row in found}


def _last_change(connection: Connection, model: str, alias: str) -> AliasChange | None:
    table = schema.alias_history
    where = and_(table.c.model == model, table.c.alias == alias)
    row = connection.execute(select(table).where(where).order_by(table.c.seq.desc()).limit(1)).first()
    return None if row is None else _change(row)


def _change(row: Row[Any]) -> AliasChange:
    return AliasChange(**{name: getattr(row, name) for name in AliasChange.__slots__})


def _named(version: int | None) -> str:
    return "nothing" if version is None else f"v{version}"


def _values(new: NewVersion, version: int, key: str, now: int) -> dict[str, Any]:
    return {
        "model": new.model,
        "version": version,
        "sha256": new.sha256,
        "parent": new.lineage.parent,
        "strategy": new.lineage.strategy,
        "signature": to_json(new.signature),
        "params": to_json(new.params),
        "metrics": "null" if new.metrics is None else to_json(new.metrics),
        "lineage": to_json(new.lineage),
        "created_at": now,
        "request_key": key,
    }


def _version(row: Row[Any], aliases: dict[str, int]) -> ModelVersion:
    return ModelVersion(
        model=row.model,
        version=row.version,
        sha256=row.sha256,
        signature=from_json(Signature, row.signature),
        params=from_json(dict[str, Any], row.params),
        metrics=None if row.metrics == "null" else from_json(Evaluation, row.metrics),
        lineage=from_json(Lineage, row.lineage),
        created_at=row.created_at,
        aliases=tuple(sorted(alias for alias, number in aliases.items() if number == row.version)),
    )
