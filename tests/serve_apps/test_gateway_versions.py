"""Versions over HTTP: verified, compared, pruned, and which are in charge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from actors.adaptive_learning.versioning.actor import Versioning
from core.schemas.rollouts import TrafficSplit
from core.settings import Settings
from core.store.registry import Registry
from core.store.splits import SplitStore
from serve_apps import problems
from serve_apps.gateway import models
from serve_apps.gateway.services import GatewayParts
from tests.serve_apps.world import World, register

BASE = "/v1/models/engagement"


@dataclass
class _Services:
    """Versioning alone; the routes of other services are not asked."""

    versioning: Versioning

    def __getattr__(self, name: str) -> None:
        return None


@pytest.fixture
def client(world: World) -> Iterator[TestClient]:
    services = _Services(Versioning(world.database, world.clock, world.artifacts))
    app = FastAPI()
    problems.install(app)
    app.include_router(models.build(GatewayParts(cast(Any, services), world.database, world.clock, Settings())))
    with TestClient(app) as made:
        yield made


def name(client: TestClient, alias: str, version: int) -> None:
    body = {"version": version, "expect": None, "reason": "first"}
    assert client.put(f"{BASE}/aliases/{alias}", json=body).status_code == 200


def test_versions_carry_their_number(client: TestClient) -> None:
    assert [v["semantic"] for v in client.get(f"{BASE}/versions").json()] == ["1.1.0", "1.0.0"]


def test_a_tampered_artifact_is_refused_over_http(client: TestClient, world: World) -> None:
    answer = client.get(f"{BASE}/versions/1/verify")
    assert (answer.status_code, len(answer.json()["checks"])) == (200, 4)
    path = next(Path(world.artifacts.url).rglob(answer.json()["sha256"]))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    answer = client.get(f"{BASE}/versions/1/verify")
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:analyticbot:artifact-corrupt")
    assert client.get(f"{BASE}/versions/9/verify").status_code == 404


def test_deploying_a_version_that_does_not_exist_is_404(client: TestClient) -> None:
    body = {"version": 99, "expect": None, "reason": "typo"}
    assert client.put(f"{BASE}/aliases/champion", json=body).status_code == 404
    assert client.get(f"{BASE}/deployment").json()["aliases"] == []


def test_two_versions_are_compared(client: TestClient) -> None:
    answer = client.get(f"{BASE}/compare", params={"first": 1, "second": 2})
    assert answer.status_code == 200
    found = answer.json()
    assert (found["first"], found["second"], found["basis"]) == (1, 2, "newer_outcomes")
    assert {s["metric"] for s in found["slices"]} >= {"mae_log", "coverage"}
    same = client.get(f"{BASE}/compare", params={"first": 1, "second": 1})
    assert (same.status_code, same.json()["field"]) == (422, "second")
    assert client.get(f"{BASE}/compare", params={"first": 1}).status_code == 422


def test_pruning_needs_a_number_and_tells_what_it_did(client: TestClient, world: World) -> None:
    files = world.artifacts.get(Registry(world.database).get("engagement", 1).sha256)
    assert register(world, files | {"more": b"x"}, "v3") == 3
    name(client, "champion", 1)
    assert client.post(f"{BASE}/prune", json={}).status_code == 422
    assert client.post(f"{BASE}/prune", json={"keep": 0}).status_code == 422
    planned = client.post(f"{BASE}/prune", json={"keep": 1, "dry_run": True}).json()
    assert [p["version"] for p in planned["pruned"]] == [2]
    assert client.get(f"{BASE}/versions/2").json()["pruned_at"] is None
    done = client.post(f"{BASE}/prune", json={"keep": 1}).json()
    assert {k["version"] for k in done["kept"]} == {1, 3}
    assert done["freed_bytes"] == planned["freed_bytes"] > 0
    refused = client.put(f"{BASE}/aliases/challenger", json={"version": 2, "expect": None, "reason": "again"})
    assert (refused.status_code, refused.json()["pruned_at"]) == (409, world.clock.now())
    assert client.get(f"{BASE}/versions/2/verify").status_code == 409


def test_the_deployment_joins_aliases_and_routers(client: TestClient, world: World) -> None:
    name(client, "champion", 1)
    SplitStore(world.database).write(TrafficSplit("engagement", 3, 1, None, 0.0, False, 30.0, 300.0, 0), world.clock)
    found = client.get(f"{BASE}/deployment").json()
    (champion,) = found["aliases"]
    assert (champion["version"], champion["semantic"], champion["by"]) == (1, "1.0.0", "api")
    assert (found["split"]["epoch"], found["differences"], found["open_rollouts"]) == (3, [], [])
