"""On a real local Ray: the predictor, a version on trial, its process killed, a promotion; the channel numbers."""

from __future__ import annotations

import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from actors.analytics_fusion.actor import Analytics
from cluster.ports import free_port
from core.artifacts import ArtifactStore
from core.clock import DAY, ManualClock
from core.codec import to_json
from core.errors import AnalyticBotError
from core.protocols import AnalyticsService
from core.schemas.health import Health
from core.schemas.rollouts import SplitReport, TrafficSplit
from core.settings import Settings
from core.store.database import Database
from core.store.predictions import PredictionLog
from core.store.splits import SplitStore
from serve_apps.proxy import served
from serve_apps.stateless import build_stateless
from tests.serve_apps.world import START, World
from tests.tallies import background

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture(scope="module")
def http() -> Iterator[str]:
    """A local Ray of this test's own, with Serve's HTTP port."""
    os.environ["RAY_AUTH_MODE"] = "disabled"
    import ray
    from ray import serve

    port = free_port()
    with tempfile.TemporaryDirectory(prefix="rt", dir="/tmp", ignore_cleanup_errors=True) as temp:
        ray.init(
            address="local",
            num_cpus=4,
            include_dashboard=False,
            object_store_memory=80_000_000,
            log_to_driver=False,
            _temp_dir=temp,
        )
        try:
            serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
            yield f"http://127.0.0.1:{port}"
            serve.shutdown()
        finally:
            ray.shutdown()  # or every later test with a Ray of its own would fail with this one


class Traffic(threading.Thread):
    """Steady requests until stopped; every answer is kept."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.ended = threading.Event()
        self.answers: list[dict[str, Any]] = []
        self.failures: list[str] = []

    def run(self) -> None:
        with httpx2.Client(base_url=self.url, timeout=30) as client:
            i = 0
            while not self.ended.is_set():
                i += 1
                answer = client.post("/v1/predictions", json={"channel": "@town", "post_id": 30 + i % 25})
                if answer.status_code == 200:
                    self.answers.append(answer.json())
                else:
                    self.failures.append(answer.text)
                time.sleep(0.02)

    def since(self, moment: int) -> list[str]:
        return [answer["arm"] for answer in self.answers[moment:]]


def wait_for(ready: Any, timeout_s: float = 30) -> None:
    end = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def test_a_trial_its_death_and_a_promotion_without_a_failed_request(world: World, http: str) -> None:
    from ray import serve

    from serve_apps.canary import CanaryFactory, canary_name
    from serve_apps.predictor.app import PredictorParts, build_predictor

    settings = Settings(tick_s=0.5)
    splits, log = SplitStore(world.database), PredictionLog(world.database)
    splits.write(world.split(), world.clock)
    parts = PredictorParts(world.database, world.artifacts, settings, world.clock)
    predictor = serve.run(build_predictor(parts, num_cpus=0.1), name="predictor", route_prefix="/v1/predictions")
    answer = httpx2.post(f"{http}/v1/predictions", json={"channel": "@town", "post_id": 55, "key": "k"}, timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.json()["arm"] == "stable"
    again = httpx2.post(
        f"{http}/v1/predictions", json={"channel": "@town", "post_id": 55}, headers={"Idempotency-Key": "k"}
    )
    assert again.json() == answer.json()
    settled = httpx2.get(f"{http}/v1/predictions/{answer.json()['id']}").json()
    assert settled == {"prediction": answer.json(), "outcomes": []}

    def tell(split: TrafficSplit) -> SplitReport:
        splits.write(split, world.clock)
        return predictor.broadcast("apply_split", split).results(timeout_s=10)[0]  # type: ignore[no-any-return]

    build = CanaryFactory(world.database, world.artifacts, actor_options={"num_cpus": 0.1})
    canary = serve.run(build("engagement", 2), name=canary_name("engagement", 2), route_prefix=None)
    traffic = Traffic(http)
    traffic.start()
    tell(world.split(epoch=2, canary=2, weight=0.0, shadow=True))
    wait_for(lambda: predictor.split_report.remote().result(timeout_s=10).canary_ready)
    wait_for(lambda: background(log.database, 2)[0] > 0)
    report = tell(world.split(epoch=3, canary=2, weight=1.0, shadow=True))
    assert (report.epoch, report.weight) == (3, 1.0)
    seen = len(traffic.answers)
    wait_for(lambda: "canary" in traffic.since(seen))

    os.kill(canary.pid.remote().result(timeout_s=10), signal.SIGKILL)
    killed = len(traffic.answers)
    wait_for(lambda: "rescued" in traffic.since(killed))
    wait_for(lambda: predictor.split_report.remote().result(timeout_s=10).canary_ready, 60)

    refused = predictor.broadcast("apply_split", world.split(epoch=1)).results(timeout_s=10)[0]
    assert refused.epoch == 3
    tell(world.split(epoch=4, stable=2))
    wait_for(lambda: predictor.split_report.remote().result(timeout_s=10).epoch == 4)
    promoted = len(traffic.answers)
    wait_for(lambda: len(traffic.answers) > promoted + 5)
    assert {(a["arm"], a["version"]) for a in traffic.answers[promoted + 1 :]} == {("stable", 2)}
    serve.delete(canary_name("engagement", 2))
    traffic.ended.set()
    traffic.join(30)
    assert traffic.failures == []


def test_a_corrupt_version_never_becomes_ready(world: World, http: str) -> None:
    from ray import serve

    from serve_apps.canary import CanaryFactory, canary_name

    store: ArtifactStore = replace(world.artifacts)
    for path in [p for p in Path(store.url).rglob("*") if p.is_file()]:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    build = CanaryFactory(world.database, store, actor_options={"num_cpus": 0.1})
    with pytest.raises(RuntimeError):
        serve.run(build("engagement", 2), name=canary_name("engagement", 2), route_prefix=None)
    status = serve.status().applications[canary_name("engagement", 2)]
    assert "ArtifactCorrupt" in status.message + "".join(d.message for d in status.deployments.values())


@dataclass(frozen=True)
class MakeAnalytics:
    """The channel numbers' service of the test's world; picklable."""

    database: Database
    clock: ManualClock

    def __call__(self) -> AnalyticsService:
        return Analytics(self.database, self.clock)


def test_every_question_about_a_channel_is_answered_over_serve(world: World, http: str) -> None:
    """A replica gives what the same service gives here, its typed errors included."""
    from ray import serve

    make = MakeAnalytics(world.database, world.clock)
    name = "analytics_fusion"
    serve.run(build_stateless(AnalyticsService, name, make), name=name, route_prefix=None)
    asked: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
        "overview": (("@town",), {"days": 7}),
        "posts": (("@town", 3), {"order": "views"}),
        "series": (("@town", "posts"), {"bucket": "week"}),
        "data_status": (("@town",), {}),
        "curve": (("@town", 5), {}),
        "mix": (("@town", 10), {}),
        "percentiles": (("@town",), {"days": 7}),
        "compare": ((["@town", "@village"],), {"days": 7}),
        "ads": (("@town",), {"price": 2.0}),  # NoData: nobody marked ads
        "quality": (("@town", 10), {}),
        "trend": (("@town", "posts", 19), {}),
        "before_after": (("@town", "posts", START + 9 * DAY), {"days": 8}),
        "put_watch_list": (("mine", ["@village"]), {}),
        "watch_lists": ((), {}),
        "watch_list": (("mine",), {}),
        "discover": (("@town",), {"limit": 5}),
        "competition": (("@town",), {"watch_list": "mine", "days": 7}),
        "report": (("@town", "csv"), {"days": 7}),
        "remove_watch_list": (("mine",), {}),
        "health": ((), {}),
    }
    assert asked.keys() == {method for method in dir(AnalyticsService) if not method.startswith("_")}
    there, here = served(AnalyticsService, name), make()
    refused = []
    for method, (args, kwargs) in asked.items():
        try:
            expected = getattr(here, method)(*args, **kwargs)
        except AnalyticBotError as error:
            refused.append(method)
            with pytest.raises(type(error), match=re.escape(str(error))):
                getattr(there, method)(*args, **kwargs)
            continue
        answer = getattr(there, method)(*args, **kwargs)
        if isinstance(answer, Health):
            assert (answer.did, answer.pid != expected.pid) == (expected.did, True)
        else:
            assert to_json(answer) == to_json(expected), method
    assert refused == ["ads"]
    serve.delete(name)
