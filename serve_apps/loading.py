"""Finds a registered version's artifact and loads it, verified; keeps the versions asked for last warm.

Shared by the predictor and by versions on trial: what goes into service has passed here.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from core import telemetry
from core.artifacts import ArtifactStore
from core.errors import NotFound
from core.schemas.content import CONTENT
from core.schemas.predictions import ENGAGEMENT
from core.settings import ServingSettings
from core.store.database import Database
from core.store.registry import Registry, check_kept
from training.artifacts import load_content, load_model
from training.gpu import accelerated, apply_gpu_share

_log = telemetry.logger("loading")

M = TypeVar("M")
Key = tuple[str, int]
#: How the artifact of each model that this code knows is loaded: store, address, device.
LOADERS: dict[str, Callable[[ArtifactStore, str, str], Any]] = {
    ENGAGEMENT: load_model,
    CONTENT: lambda store, sha256, device: load_content(store, sha256),  # small enough for any CPU
}


@dataclass(frozen=True)
class ModelLoader:
    """Loads versions of a model by number; picklable."""

    database: Database
    artifacts: ArtifactStore
    model: str
    device: str = "cpu"
    options: ServingSettings = field(default_factory=ServingSettings)

    def load(self, version: int) -> Any:
        """The verified model, within this process's share of the GPU where one was planned.

        NotFound (no such model, version or artifact), ArtifactCorrupt, Refused (pruned, other features), StorageBroken.
        """
        return self.sized(version)[0]

    def sized(self, version: int) -> tuple[Any, int]:
        """The same with the bytes of its artifact, which are nearly all weights."""
        sha256 = self.sha256(version)
        model = LOADERS[self.model](self.artifacts, sha256, self._device())
        if self.model == ENGAGEMENT and model.device == "cuda":
            model = accelerated(model, self.options.precision, self.options.compile)
        return model, self.artifacts.size(sha256) or 0

    def sha256(self, version: int) -> str:
        """Where a version's artifact is; NotFound, Refused (pruned)."""
        if self.model not in LOADERS:
            raise NotFound(f"no model {self.model!r}: this code serves {', '.join(LOADERS)}", model=self.model)
        found = Registry(self.database).get(self.model, version)
        check_kept(found)
        return found.sha256

    def _device(self) -> str:
        import torch

        torch.set_num_threads(1)  # rows come one at a time: threads would only wait for each other
        return apply_gpu_share() if self.device == "cuda" else self.device  # planned a share; is there a GPU?


@dataclass(slots=True)
class _Warm(Generic[M]):
    model: M
    bytes: int


class WarmModels:
    """The versions asked for last, loaded: at most `count`, and at most `limit` bytes, the one asked for last excepted.

    load: makes a model and tells its bytes, given model and version; its error reaches everybody who waits, and nothing
    is kept. However many ask for a version at once, it is loaded once. A version that is given up here is freed as soon
    as nobody else holds it: a router holds the one it serves. Safe to use from several threads.
    """

    def __init__(self, load: Callable[[str, int], tuple[Any, int]], count: int, limit: int) -> None:
        self._load, self._count, self._limit = load, count, limit
        self._lock = threading.Lock()
        self._warm: OrderedDict[Key, _Warm[Any]] = OrderedDict()
        self._loading: dict[Key, Future[Any]] = {}
        self.loads = 0
        self.evictions = 0

    @classmethod
    def over(cls, database: Database, artifacts: ArtifactStore, device: str, options: ServingSettings) -> WarmModels:
        """Of the registry's versions, within the settings' bounds."""

        def load(model: str, version: int) -> tuple[Any, int]:
            return ModelLoader(database, artifacts, model, device, options).sized(version)

        return cls(load, options.warm_versions, options.warm_mb * 2**20)

    @property
    def versions(self) -> tuple[Key, ...]:
        """What is warm, the longest unasked first."""
        with self._lock:
            return tuple(self._warm)

    @property
    def bytes(self) -> int:
        """Of all that is warm."""
        with self._lock:
            return sum(warm.bytes for warm in self._warm.values())

    def get(self, model: str, version: int) -> Any:
        """A version's model, loaded now if it is not warm; the loader's errors."""
        key = (model, version)
        with self._lock:
            if key in self._warm:
                self._warm.move_to_end(key)
                return self._warm[key].model
            waiting = self._loading.get(key)
            if waiting is None:
                mine: Future[Any] = Future()
                self._loading[key] = mine
        if waiting is not None:
            return waiting.result()
        try:
            loaded, size = self._load(model, version)
        except BaseException as error:
            with self._lock:
                del self._loading[key]
            mine.set_exception(error)
            raise
        with self._lock:
            self.loads += 1
            self._warm[key] = _Warm(loaded, size)
            del self._loading[key]
            gone = self._evict()
        mine.set_result(loaded)
        if gone:
            _log.info("versions given up", versions=[f"{name} v{number}" for name, number in gone])
            _free_gpu()
        return loaded

    def _evict(self) -> list[Key]:
        gone = []
        while len(self._warm) > 1 and (
            len(self._warm) > self._count or sum(warm.bytes for warm in self._warm.values()) > self._limit
        ):
            gone.append(self._warm.popitem(last=False)[0])
        self.evictions += len(gone)
        return gone


def _free_gpu() -> None:
    """What torch keeps of freed tensors counts against this process's share; the driver gets it back."""
    import torch

    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
