"""A version on trial as a Serve application of its own: its crash takes nothing along, its end is a deletion."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray import serve
from ray.serve import Application

from core.artifacts import ArtifactStore
from core.schemas.predictions import Target
from core.settings import ServingSettings
from core.store.database import Database
from serve_apps.loading import ModelLoader


def canary_name(model: str, version: int) -> str:
    """The application's name, by which routers find it."""
    return f"canary-{model}-{version}"


class Canary:
    """One verified version; the constructor fails, and with it the deployment, when the artifact is not good."""

    def __init__(self, loader: ModelLoader, version: int) -> None:
        self._version = version
        self._model = loader.load(version)

    def score(
        self, vectors: NDArray[np.float32], bases: Mapping[Target, NDArray[np.float64]]
    ) -> tuple[dict[Target, NDArray[np.float64]], float]:
        """Views at the 10, 50 and 90 % quantiles, rows x 3 for each target; and the milliseconds that took."""
        begun = time.perf_counter()
        scores = self._model.predict(vectors, bases)
        return scores, (time.perf_counter() - begun) * 1000

    def served_version(self) -> int:
        """The version that this process serves."""
        return self._version

    def pid(self) -> int:
        """This replica's process."""
        return os.getpid()

    def check_health(self) -> None:
        """Serve asks regularly: score a row of unknowns, which every version must be able to."""
        width = len(self._model.signature.features)
        targets = self._model.signature.targets
        bases: dict[Any, NDArray[np.float64]] = {target: np.array([3.0]) for target in targets}
        scores = self._model.predict(np.full((1, width), np.nan, dtype=np.float32), bases)
        if not all(np.isfinite(scores[target]).all() for target in bases):
            raise RuntimeError(f"version {self._version} gives values that are not finite")


@dataclass(frozen=True)
class CanaryFactory:
    """Builds the application of a version; picklable, so that the controller can hold it."""

    database: Database
    artifacts: ArtifactStore
    device: str = "cpu"
    options: ServingSettings = field(default_factory=ServingSettings)
    actor_options: dict[str, Any] = field(default_factory=lambda: {"num_cpus": 0.25})
    replica: type[Canary] = Canary

    def __call__(self, model: str, version: int) -> Application:
        """The application, to be run under `canary_name(model, version)` without a route."""
        deployment = serve.deployment(
            name="canary",
            num_replicas=1,
            max_ongoing_requests=32,
            ray_actor_options=dict(self.actor_options),
            health_check_period_s=5.0,
            health_check_timeout_s=10.0,
            graceful_shutdown_wait_loop_s=0.1,
            graceful_shutdown_timeout_s=5.0,
            max_constructor_retry_count=2,
        )(self.replica)
        loader = ModelLoader(self.database, self.artifacts, model, self.device, self.options)
        application: Application = deployment.bind(loader, version)
        return application
