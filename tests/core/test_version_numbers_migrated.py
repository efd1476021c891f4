"""Versions registered before they had numbers get them when the database is brought up to date."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text

from core.store import migrate
from core.store.database import Database
from core.store.registry import Registry
from tests.core.older import at_revision

_LINEAGE = {"data_from": 0, "data_until": 9, "rows": 1, "data_sha256": "b", "code": "x", "seed": 1}


@pytest.fixture
def old(database: Database) -> Database:
    """At the revision before, with four versions."""
    with at_revision(database, "0002") as connection:
        rows = [
            (1, None, "batch", ["a"], [8]),
            (2, 1, "incremental", ["a"], [8]),
            (3, 1, "batch", ["a"], [8]),
            (4, 3, "batch", ["a", "b"], [8]),
            (5, 3, "incremental", ["a"], [8]),
        ]
        for version, parent, strategy, features, hidden in rows:
            values = {
                "v": version,
                "p": parent,
                "s": strategy,
                "g": json.dumps({"features": features, "targets": ["t"], "schema": "1"}),
                "h": json.dumps({"hidden": hidden}),
                "l": json.dumps({"parent": parent, "strategy": strategy, **_LINEAGE}),
            }
            connection.execute(
                text(
                    "INSERT INTO model_version (model, version, sha256, parent, strategy, signature, params, metrics, "
                    "lineage, created_at, request_key) VALUES ('m', :v, 'x', :p, :s, :g, :h, 'null', :l, 0, NULL)"
                ),
                values,
            )
    return database


def test_old_versions_are_numbered_by_the_same_rules(old: Database) -> None:
    migrate.upgrade(old)
    assert migrate.check(old) == ()
    versions = Registry(old).versions("m")
    numbers = {v.version: v.semantic for v in versions}
    assert numbers == {1: "1.0.0", 2: "1.0.1", 3: "1.1.0", 4: "2.0.0", 5: "1.1.1"}
    assert {v.pruned_at for v in versions} == {None}
