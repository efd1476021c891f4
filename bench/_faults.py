"""A version on trial that goes wrong as it is told: the only injected faults of the roll-out benches."""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_apps.canary import Canary


@dataclass(frozen=True)
class Faults:
    """What a canary does wrong: shares of its executions, kept in a file that it reads when it changes."""

    path: str

    def set(self, *, errors: float = 0.0, slow: float = 0.0, slow_ms: float = 0.0) -> None:
        """From now on."""
        target = Path(self.path)
        fresh = target.with_suffix(".new")
        fresh.write_text(json.dumps({"errors": errors, "slow": slow, "slow_ms": slow_ms}))
        fresh.replace(target)


class FaultyCanary(Canary):
    """A version on trial that fails or dawdles as a file says; its own random numbers decide which execution."""

    def __init__(self, loader: Any, version: int) -> None:
        super().__init__(loader, version)
        self._path = Path(os.environ["BENCH_FAULTS"])
        self._seen = -1
        self._faults = {"errors": 0.0, "slow": 0.0, "slow_ms": 0.0}
        self._random = random.Random(version)

    def score(self, vectors: Any, bases: Any) -> Any:
        """As the version says, unless it is to go wrong."""
        at = self._path.stat().st_mtime_ns
        if at != self._seen:
            self._seen, self._faults = at, json.loads(self._path.read_text())
        if self._random.random() < self._faults["errors"]:
            raise RuntimeError("injected fault")
        begun = time.perf_counter()
        if self._random.random() < self._faults["slow"]:
            time.sleep(self._faults["slow_ms"] / 1000)
        scores, _ = super().score(vectors, bases)
        return scores, (time.perf_counter() - begun) * 1000
