"""On a real local Ray: canaries come and go as applications of their own, every router hears of a split."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from core.clock import ManualClock
from core.errors import Conflict, ServiceUnavailable
from core.schemas.rollouts import SplitReport, TrafficSplit
from core.store.database import Database

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

SPLIT = TrafficSplit("engagement", 1, 1, 2, 0.1, True, 30.0, 300.0, 0)


class Router:
    """The two methods of the predictor that the actuator uses."""

    def __init__(self) -> None:
        self.split: TrafficSplit | None = None

    def apply_split(self, split: TrafficSplit) -> SplitReport:
        self.split = split
        return self.split_report()

    def split_report(self) -> SplitReport:
        s = self.split
        if s is None:
            return SplitReport(0, None, None, 0.0, False, False, False, os.getpid())
        return SplitReport(s.epoch, s.stable, s.canary, s.weight, True, False, False, os.getpid())


class OnTrial:
    """Version 9 stands for one that cannot be loaded."""

    def __init__(self, version: int) -> None:
        if version == 9:
            raise RuntimeError("ArtifactCorrupt: the bytes do not have their hash")

    def pid(self) -> int:
        return os.getpid()


@dataclass(frozen=True)
class Factory:
    """Builds an application of a version."""

    def __call__(self, model: str, version: int) -> Any:
        from ray import serve

        options = {"num_cpus": 0}
        made = serve.deployment(name="canary", ray_actor_options=options, max_constructor_retry_count=2)(OnTrial)
        return made.bind(version)


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    os.environ["RAY_AUTH_MODE"] = "disabled"
    import ray
    from ray import serve

    with tempfile.TemporaryDirectory(prefix="rt", dir="/tmp", ignore_cleanup_errors=True) as temp:
        ray.init(
            address="local",
            num_cpus=4,
            include_dashboard=False,
            object_store_memory=80_000_000,
            log_to_driver=False,
            _temp_dir=temp,
        )
        yield
        serve.shutdown()
        ray.shutdown()


def wait_for(reached: Callable[[], object], timeout_s: float = 90) -> None:
    end = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


def quietly(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except ServiceUnavailable:
        return ()


def test_the_actuator_drives_serve(session: None, sqlite_database: Database, clock: ManualClock) -> None:
    from ray import cloudpickle, serve

    from actors.adaptive_learning.deployment.actuator import ServeActuator, canary_app

    actuator = cloudpickle.loads(cloudpickle.dumps(ServeActuator(sqlite_database, clock, Factory(), timeout_s=10.0)))
    with pytest.raises(ServiceUnavailable):
        actuator.warm("engagement", 2)  # Serve does not run: it must not be started by the way
    serve.start(proxy_location="Disabled")

    actuator.set_split(SPLIT)  # stored though no router is there to hear it
    with pytest.raises(ServiceUnavailable):
        actuator.observed("engagement")
    routers = serve.deployment(name="predictor", num_replicas=2, ray_actor_options={"num_cpus": 0})(Router)
    serve.run(routers.bind(), name="predictor", route_prefix=None)

    begun = time.monotonic()
    actuator.warm("engagement", 2)
    actuator.warm("engagement", 9)
    assert time.monotonic() - begun < 5, "warming must not wait for the version to load"
    wait_for(lambda: actuator.ready("engagement", 2).ready)
    handle = serve.get_app_handle(canary_app("engagement", 2))
    pid = handle.pid.remote().result(timeout_s=30)
    actuator.warm("engagement", 2)
    assert handle.pid.remote().result(timeout_s=30) == pid, "warming again must not restart the version"

    wait_for(lambda: actuator.ready("engagement", 9).failed)
    failed = actuator.ready("engagement", 9)
    assert not failed.ready
    assert "ArtifactCorrupt" in str(failed.failed)

    risen = replace(SPLIT, epoch=2, weight=0.5)
    wait_for(lambda: len(quietly(lambda: actuator.observed("engagement"))) == 2)
    actuator.set_split(risen)
    reports = actuator.observed("engagement")
    assert [(r.epoch, r.weight) for r in reports] == [(2, 0.5), (2, 0.5)]
    assert len({r.pid for r in reports}) == 2
    actuator.renew("engagement", 2)
    with pytest.raises(Conflict):
        actuator.set_split(SPLIT)

    for version in (2, 9, 77):
        wait_for(lambda version=version: actuator.release("engagement", version))  # type: ignore[misc]
    assert set(serve.status().applications) == {"predictor"}
