"""What runs inside replicas, without Serve: the predictor's parts, a version on trial, the proxies' errors."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.serve.exceptions import RayServeException

from core.errors import ArtifactCorrupt, Broken, NotFound, ServiceUnavailable
from core.protocols import AnalyticsService
from core.schemas.predictions import ENGAGEMENT
from core.settings import Settings
from core.store.splits import SplitStore
from serve_apps import proxy
from serve_apps.canary import Canary, CanaryFactory
from serve_apps.loading import ModelLoader
from serve_apps.predictor.app import Predictor, PredictorParts, build_predictor
from serve_apps.proxy import served
from serve_apps.stateless import build_stateless, replica
from tests.serve_apps.world import World


@pytest.fixture
def parts(world: World) -> PredictorParts:
    return PredictorParts(world.database, world.artifacts, Settings(tick_s=0.05), world.clock)


def test_a_replica_loads_the_stored_version_before_its_first_request(world: World, parts: PredictorParts) -> None:
    SplitStore(world.database).write(world.split(), world.clock)
    predictor = Predictor(parts)
    report = asyncio.run(predictor.split_report())
    health = asyncio.run(predictor.health())
    predictor.check_health()
    predictor.close()
    assert (report.epoch, report.stable) == (1, 1)
    assert (health.status, health.details["stable"]) == ("ok", 1)


def test_a_replica_sees_a_stored_split_without_being_told(world: World, parts: PredictorParts) -> None:
    predictor = Predictor(parts)
    assert asyncio.run(predictor.split_report()).stable is None
    SplitStore(world.database).write(world.split(epoch=4, stable=2), world.clock)
    eventually(lambda: asyncio.run(predictor.split_report()).stable == 2)
    predictor.close()
    predictor._threads[1].join(10)
    with pytest.raises(RuntimeError, match="has ended"):
        predictor.check_health()


def test_a_trial_ends_within_the_watch_of_the_table_not_within_a_tick(
    world: World, parts: PredictorParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(*_: object) -> None:
        raise ServiceUnavailable("the canary has not started")

    monkeypatch.setattr("serve_apps.predictor.app.connect_canary", nowhere)
    splits = SplitStore(world.database)
    splits.write(world.split(), world.clock)
    predictor = Predictor(replace(parts, settings=Settings(tick_s=60.0)))
    on_trial = splits.write(world.split(epoch=2, canary=2, weight=0.1), world.clock)
    asyncio.run(predictor.apply_split(on_trial))
    splits.write(world.split(epoch=3), world.clock)
    eventually(lambda: asyncio.run(predictor.split_report()).epoch == 3)
    predictor.close()


def eventually(true: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_version_that_cannot_be_loaded_is_told_in_health(world: World, parts: PredictorParts) -> None:
    SplitStore(world.database).write(world.split(stable=7), world.clock)
    predictor = Predictor(parts)
    health = asyncio.run(predictor.health())
    predictor.close()
    assert health.status == "degraded"
    assert "version 7" in health.details["trouble"]


def test_the_routes_of_a_replica_answer(world: World, parts: PredictorParts) -> None:
    from starlette.testclient import TestClient

    SplitStore(world.database).write(world.split(), world.clock)
    predictor = Predictor(parts)
    with TestClient(predictor.__serve_build_asgi_app__()) as client:
        answer = client.post("/v1/predictions", json={"channel": "@town", "post_id": 55})
    predictor.close()
    assert (answer.status_code, answer.json()["version"]) == (200, 1)


def test_a_version_on_trial_scores_like_the_same_version_in_process(world: World) -> None:
    loader = ModelLoader(world.database, world.artifacts, ENGAGEMENT)
    canary = Canary(loader, 2)
    model = loader.load(2)
    rows = np.zeros((3, len(model.signature.features)), dtype=np.float32)
    bases: Any = {"views_24h": np.array([5.0, 6.0, 7.0])}
    scores, ms = canary.score(rows, bases)
    assert np.array_equal(scores["views_24h"], model.predict(rows, bases)["views_24h"])
    assert ms > 0
    assert canary.served_version() == 2
    canary.check_health()


def test_a_version_that_gives_nonsense_is_not_healthy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    canary = Canary(ModelLoader(world.database, world.artifacts, ENGAGEMENT), 2)
    signature = canary._model.signature
    nonsense = SimpleNamespace(
        signature=signature, predict=lambda x, bases: {t: np.full((1, 3), np.nan) for t in bases}
    )
    monkeypatch.setattr(canary, "_model", nonsense)
    with pytest.raises(RuntimeError, match="not finite"):
        canary.check_health()


def test_a_corrupt_or_unknown_version_fails_before_it_serves(world: World) -> None:
    loader = ModelLoader(world.database, world.artifacts, ENGAGEMENT)
    with pytest.raises(NotFound):
        Canary(loader, 9)
    for path in [p for p in Path(world.artifacts.url).rglob("*") if p.is_file()]:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactCorrupt):
        Canary(loader, 1)


def test_applications_are_built_from_picklable_factories(world: World, parts: PredictorParts) -> None:
    import pickle

    factory = pickle.loads(pickle.dumps(CanaryFactory(world.database, world.artifacts)))
    assert factory(ENGAGEMENT, 2) is not None
    assert build_predictor(pickle.loads(pickle.dumps(parts))) is not None


class Numbers:
    """A service that says what it was asked, and in which thread."""

    def __getattr__(self, method: str) -> Any:
        return lambda *args, **kwargs: (method, args, kwargs, threading.current_thread() is threading.main_thread())


def public(kind: type) -> dict[str, Any]:
    return {name: value for name, value in inspect.getmembers(kind) if not name.startswith("_")}


def test_a_stateless_replica_is_its_protocol_and_passes_questions_on() -> None:
    made = replica(AnalyticsService)
    asked = made(Numbers)
    for name, declared in public(AnalyticsService).items():
        assert inspect.iscoroutinefunction(getattr(made, name))
        assert inspect.signature(getattr(made, name)) == inspect.signature(declared)
        assert asyncio.run(getattr(asked, name)("@x", days=3)) == (name, ("@x",), {"days": 3}, False)
    assert public(made).keys() == public(AnalyticsService).keys()
    assert build_stateless(AnalyticsService, "analytics_fusion", lambda: cast(Any, Numbers())) is not None


def task_error(cause: Exception) -> RayTaskError:
    return RayTaskError("overview", "traceback", cause)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (task_error(NotFound("no channel '@x'")), NotFound),
        (task_error(KeyError("x")), Broken),
        (TimeoutError(), ServiceUnavailable),
        (ActorDiedError(), ServiceUnavailable),
        (RayServeException("no such application"), ServiceUnavailable),
    ],
)
def test_a_served_service_raises_what_its_replica_raised(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, expected: type[Exception]
) -> None:
    class Response:
        def result(self, timeout_s: float) -> Any:
            raise raised

    handle = SimpleNamespace(overview=SimpleNamespace(remote=lambda *args: Response()))
    monkeypatch.setattr(proxy, "_handle", lambda app: handle)
    with pytest.raises(expected) as caught:
        served(AnalyticsService, "analytics_fusion").overview("@x")
    assert type(caught.value) is expected


def test_a_served_service_has_no_private_methods() -> None:
    with pytest.raises(AttributeError):
        getattr(served(AnalyticsService, "analytics_fusion"), "_secret")  # noqa: B009
