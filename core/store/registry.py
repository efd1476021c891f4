"""The registry of model versions: numbers given in the order of registration, aliases moved by compare-and-set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, select

from core import semantic
from core.codec import from_json, to_json
from core.errors import Conflict, NotFound, Refused
from core.schemas.models import Alias, AliasChange, Evaluation, Lineage, ModelVersion, NewVersion, Signature
from core.store import schema
from core.store.database import Database
from core.store.ids import derived_id


@dataclass(frozen=True)
class Registry:
    """Versions are never changed once stored; what moves is the aliases, each move with its reason."""

    database: Database

    def register(self, new: NewVersion, now: int, stored: Callable[[str], bool] = lambda sha256: True) -> ModelVersion:
        """Store under the model's next number; a key that is there already gives its version, unchanged.

        stored: says whether an artifact is there. It is asked while retention has to wait, which might else delete an
        artifact between its being stored again and its being registered. NotFound when it is not.
        """
        table, key = schema.model_version, derived_id(new.model, new.key)
        with self.database.write() as connection:
            self.database.serialise(connection, table)
            known = connection.execute(select(table).where(table.c.request_key == key)).first()
            if known is None:
                if not stored(new.sha256):
                    raise NotFound(f"artifact {new.sha256} is not in the store: store it again", artifact=new.sha256)
                others = read_versions(connection, new.model)
                number = others[0].version + 1 if others else 1
                values = _values(new, number, key, now) | {"semantic": str(semantic.number(new, others))}
                connection.execute(table.insert().values(values))
                known = connection.execute(select(table).where(table.c.request_key == key)).one()
            return _version(known, _aliases(connection, new.model))

    def get(self, model: str, version: int) -> ModelVersion:
        """One version; NotFound."""
        with self.database.read() as connection:
            return _get(connection, model, version)

    def versions(self, model: str) -> tuple[ModelVersion, ...]:
        """All, newest first."""
        with self.database.read() as connection:
            return read_versions(connection, model)

    def resolve(self, model: str, alias: Alias) -> ModelVersion | None:
        """The version that an alias names."""
        with self.database.read() as connection:
            number = _aliases(connection, model).get(alias)
            return None if number is None else _get(connection, model, number)

    def set_alias(
        self, model: str, alias: Alias, version: int | None, expect: int | None, reason: str, actor: str, now: int
    ) -> AliasChange:
        """Move an alias from `expect` to `version` (None: to nothing); Conflict when it names something else.

        An alias that names `version` already stays, and its last change comes back. NotFound for an unknown version,
        Refused for one whose artifact was given up.
        """
        with self.database.write() as connection:
            self.database.serialise(connection, schema.alias_history)
            if version is not None:
                check_kept(_get(connection, model, version))
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


def check_kept(version: ModelVersion) -> None:
    """Refused for a version whose artifact retention gave up."""
    if version.pruned_at is not None:
        raise Refused(
            f"v{version.version} of {version.model} was pruned: its artifact is no longer kept, so it cannot serve",
            model=version.model,
            version=version.version,
            pruned_at=version.pruned_at,
        )


def read_versions(connection: Connection, model: str) -> tuple[ModelVersion, ...]:
    """All versions of a model, newest first, as a transaction sees them."""
    table = schema.model_version
    query = select(table).where(table.c.model == model).order_by(table.c.version.desc())
    aliases = _aliases(connection, model)
    return tuple(_version(row, aliases) for row in connection.execute(query))


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
        semantic=row.semantic,
        pruned_at=row.pruned_at,
    )
