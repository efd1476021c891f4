from __future__ import annotations

import dataclasses
import pickle

import pytest

from actors.anomaly_analysis.actor import AnomalyAnalysis
from cluster import topology
from cluster.services import Proxies
from cluster.shards import ShardedService, sharded
from core.clock import ManualClock, SystemClock
from core.errors import NotFound
from core.ingest.importer import import_path
from core.ingest.simulator import SimulatorConfig, simulate
from core.protocols import AnomalyService
from core.schemas.health import Health
from core.store.database import Database
from serve_apps.gateway.services import brief
from tests.databases import empty_sqlite


def test_shards_together_find_what_one_actor_finds(
    sqlite_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = tmp_path_factory.mktemp("data")
    config = SimulatorConfig(channels=4, days=40)
    simulate(config, data)
    other = empty_sqlite(data / "other.db")
    clock = ManualClock(time=config.start + 41 * 86400)
    for database in (sqlite_database, other):
        import_path(data, database, "default", clock=SystemClock())
    whole = AnomalyAnalysis(other, clock)
    parts = [AnomalyAnalysis(sqlite_database, clock, shard=i, shards=3) for i in range(3)]
    cut: AnomalyService = sharded(AnomalyService, parts)
    assert cut.catch_up() == whole.catch_up() > 0
    assert [f.id for f in cut.findings()] == [f.id for f in whole.findings()]
    with pytest.raises(NotFound):
        cut.findings("@nowhere")
    other.dispose()


def test_health_is_that_of_the_worst_shard(sqlite_database: Database) -> None:
    class Behind(AnomalyAnalysis):
        def health(self) -> Health:
            return dataclasses.replace(super().health(), status="degraded")

    clock = ManualClock()
    shards = (
        AnomalyAnalysis(sqlite_database, clock, shard=0, shards=2),
        Behind(sqlite_database, clock, shard=1, shards=2),
    )
    health = sharded(AnomalyService, shards).health()
    assert (health.status, health.details["shards"]) == ("degraded", ["ok", "degraded"])


def test_proxies_travel_and_know_their_shards() -> None:
    one, four = Proxies.of(topology.load("laptop")), Proxies.of(topology.load("cluster"))
    assert not isinstance(one.anomaly, ShardedService)
    assert isinstance(four.anomaly, ShardedService)
    assert isinstance(four.alerts, ShardedService)
    assert (len(four.anomaly.shards), len(four.alerts.shards)) == (4, 2)
    assert pickle.loads(pickle.dumps(four)) == four
    hasty = brief(four.alerts, 2.0)
    assert [(s.name, s.timeout_s, s.patience_s) for s in hasty.shards] == [
        ("alerts_fusion-0", 2.0, 0.0),
        ("alerts_fusion-1", 2.0, 0.0),
    ]
