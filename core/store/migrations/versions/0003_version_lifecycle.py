"""Versions get a number MAJOR.MINOR.PATCH, and a mark when their artifact was given up."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_version = sa.table(
    "model_version",
    *map(sa.column, ("model", "version", "parent", "strategy", "signature", "params", "semantic")),
)


def upgrade() -> None:
    op.add_column("model_version", sa.Column("semantic", sa.String(length=32), nullable=False, server_default=""))
    op.add_column("model_version", sa.Column("pruned_at", sa.BigInteger(), nullable=True))
    _number(op.get_bind())
    op.create_index(op.f("ix_model_version_model_semantic"), "model_version", ["model", "semantic"], unique=True)


def _number(connection: sa.Connection) -> None:
    """Versions that are there already, in order: as they would be numbered now, except that every warm start with its
    parent's layers is a patch.
    """
    given: dict[str, dict[int, tuple[Any, tuple[int, int, int]]]] = {}
    for row in connection.execute(sa.select(_version).order_by(_version.c.model, _version.c.version)).all():
        known = given.setdefault(row.model, {})
        semantic = _next(row, known)
        known[row.version] = (row, semantic)
        here = sa.and_(_version.c.model == row.model, _version.c.version == row.version)
        connection.execute(_version.update().where(here).values(semantic=".".join(map(str, semantic))))


def _next(row: Any, known: dict[int, tuple[Any, tuple[int, int, int]]]) -> tuple[int, int, int]:
    if not known:
        return 1, 0, 0
    base, (major, minor, _) = known.get(row.parent) or known[max(known)]
    numbers = [semantic for _, semantic in known.values()]
    if json.loads(row.signature) != json.loads(base.signature):
        return max(n[0] for n in numbers) + 1, 0, 0
    layers = [json.loads(r.params).get("hidden") for r in (row, base)]
    if row.strategy == "incremental" and row.parent in known and layers[0] == layers[1]:
        return major, minor, max(n[2] for n in numbers if n[:2] == (major, minor)) + 1
    return major, max(n[1] for n in numbers if n[0] == major) + 1, 0
