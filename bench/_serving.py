"""A predictor of the bench's own: simulated channels, registered versions, a local Ray with HAProxy on free ports."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cluster.ports import free_port
from core.artifacts import ArtifactStore
from core.clock import Clock, ManualClock, SystemClock
from core.ingest.importer import import_path
from core.schemas.models import Lineage, NewVersion, Signature
from core.schemas.predictions import ENGAGEMENT, TARGETS
from core.schemas.rollouts import TrafficSplit
from core.store import migrate
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.registry import Registry


@dataclass(frozen=True)
class Stage:
    """Data and versions to serve; `posts` are (channel, post) pairs that can be asked about before publishing."""

    database: Database
    artifacts: ArtifactStore
    clock: Clock
    posts: tuple[tuple[str, int], ...]

    def split(self, epoch: int, stable: int, canary: int | None = None, weight: float = 0.0) -> TrafficSplit:
        """A traffic split that outlives the bench."""
        return TrafficSplit(ENGAGEMENT, epoch, stable, canary, weight, canary is not None, 3600, 7200, 0)


@contextmanager
def stage(data: Path | None, seeds: Sequence[int] = (1, 2, 3), channels: int = 12) -> Iterator[Stage]:
    """Import a bundle (simulated channels, unless one is given) and register untrained networks of the usual size.

    seeds: one version each; the same seed gives the same weights.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        home = Path(folder)
        database = Database(f"sqlite:///{home / 'bench.db'}")
        migrate.upgrade(database)
        import_path(data or _simulated(home / "bundle", channels), database, clock=SystemClock())
        store, posts, last = ChannelStore(database), [], 0
        for channel in store.channels():
            history = store.history(channel)
            if len(history.reading_ts):
                last = max(last, int(history.reading_ts.max()))
                posts += [(channel.name, int(post)) for post in history.post_ids[-80:-20]]
        made = Stage(database, ArtifactStore(str(home / "artifacts")), ManualClock(time=last), tuple(posts))
        for number, seed in enumerate(seeds, start=1):
            _register(made, number, seed)
        yield made
        database.dispose()


def _simulated(folder: Path, channels: int) -> Path:
    from core.ingest.simulator import SimulatorConfig, simulate

    simulate(SimulatorConfig(channels=channels), folder)
    return folder


def _register(made: Stage, number: int, seed: int) -> None:
    import torch

    from training.calibration import Calibration
    from training.features import FEATURES, SCHEMA
    from training.model import EngagementModel
    from training.network import EngagementNet

    hidden, signature = (64, 64), Signature(FEATURES, TARGETS, SCHEMA)
    net = EngagementNet(len(FEATURES), len(TARGETS), hidden, torch.Generator().manual_seed(seed)).eval()
    golden = np.random.default_rng(number).normal(size=(4, len(FEATURES))).astype(np.float32)
    files = EngagementModel(net, signature, Calibration.none(), hidden).to_artifact(golden)
    lineage = Lineage(None, 0, 0, 0, "0" * 64, "bench", number, "batch")
    new = NewVersion(ENGAGEMENT, made.artifacts.put(files), signature, {}, None, lineage, f"bench-{number}")
    Registry(made.database).register(new, 0)


@contextmanager
def ray_serve() -> Iterator[str]:
    """A local Ray with Serve behind HAProxy; gives the URL. Set up before Ray is imported: it reads some at import."""
    with tempfile.TemporaryDirectory(prefix="rb", dir="/tmp", ignore_cleanup_errors=True) as temp:
        haproxy = Path(temp) / "ha"
        haproxy.mkdir()
        port = free_port()
        stats = free_port({port})
        metrics = free_port({port, stats})
        os.environ |= {
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
            "RAY_SERVE_HAPROXY_NBTHREAD": "1",
            "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
            "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin.sock"),
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
            "OMP_NUM_THREADS": "1",
        }
        import ray
        from ray import serve

        ray.init(
            address="local",
            num_cpus=4,
            include_dashboard=False,
            object_store_memory=80_000_000,
            log_to_driver=False,
            _temp_dir=temp,
        )
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": "127.0.0.1", "port": port},
            logging_config={"enable_access_log": False},
        )
        yield f"http://127.0.0.1:{port}"
        serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()
