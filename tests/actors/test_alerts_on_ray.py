"""On a real local Ray: the alerts actor judges and delivers by itself, and goes on after its process is killed."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr

from bench._made_channel import T0, make
from bench._receiver import Receiver
from cluster import ports
from cluster.detached import await_health, ensure
from cluster.services import ActorSpec
from cluster.state import HeadState
from core.clock import DAY, HOUR, ManualClock
from core.protocols import AlertsService, AnalyticsService
from core.schemas.alerts import RuleSpec, Target
from core.settings import AlertSettings, Settings
from core.store.database import Database
from core.store.ingest import IngestWriter
from serve_apps.proxy import served
from tests.actors.alert_world import Findings

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture
def local_ray() -> Iterator[None]:
    """A local Ray of this test's own."""
    os.environ["RAY_AUTH_MODE"] = "disabled"
    import ray

    with tempfile.TemporaryDirectory(prefix="rt", dir="/tmp", ignore_cleanup_errors=True) as temp:
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=80_000_000,
            log_to_driver=False,
            _temp_dir=temp,
        )
        try:
            yield
        finally:
            ray.shutdown()


def eventually(true: Callable[[], bool]) -> None:
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < 90
        time.sleep(0.1)


def test_the_actor_starts_tells_and_survives_its_process(sqlite_database: Database, local_ray: None) -> None:
    from actors.alerts_fusion.actor import Alerts
    from actors.runtime import remote

    made, receiver = make(20, 5), Receiver()
    IngestWriter(sqlite_database).write(made.batch(0, T0 + 10 * DAY), T0 + 10 * DAY)
    arguments = {
        "database": sqlite_database,
        "clock": ManualClock(T0 + 10 * DAY + 20 * HOUR),
        "anomaly": Findings(),
        "analytics": served(AnalyticsService, "analytics_fusion"),  # no report is due: nobody asks it
        "settings": AlertSettings(webhook_secret=SecretStr("s"), allow_private=True, sweep_s=0.1),
        "tick_s": 0.1,
    }
    spec = ActorSpec("alerts_fusion", "alerts_fusion", Alerts, arguments, 8, {"num_cpus": 0.1})
    known = HeadState("t", None, "", "", "127.0.0.1", ports.choose(Settings()), "", "", 0)
    ensure([spec], {"alerts_fusion": "1"}, known)
    first = await_health([spec])["alerts_fusion"]
    assert first.status == "ok"
    alerts = remote(AlertsService, "alerts_fusion")
    target = Target("webhook", receiver.url)
    stale = RuleSpec("stale", "threshold", "data_age", direction="above", threshold=12.0, targets=(target,))
    rule = alerts.add_rule(stale, "k")
    eventually(lambda: len(receiver.accepted) == 1)
    assert [a.rule_id for a in alerts.alerts()] == [rule.id]
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: alerts.health().pid != first.pid)
    eventually(lambda: alerts.health().details["behind"] == 0)
    assert len(alerts.alerts()) == 1
    alert = alerts.alerts()[0]
    assert alerts.acknowledge(alert.id, "Ann").acknowledged_by == "Ann"
    assert receiver.taken.total() == 1
    receiver.close()
