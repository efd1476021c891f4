"""The controller's process in the roll-out benches; imports little, so that it restarts as quickly as the product's."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.adaptive_learning.deployment.actuator import ServeActuator
from actors.adaptive_learning.deployment.controller import Controller
from actors.adaptive_learning.feedback.actor import Feedback
from actors.adaptive_learning.versioning.actor import Versioning
from core.artifacts import ArtifactStore
from core.clock import Clock
from core.errors import AnalyticBotError
from core.schemas.predictions import ENGAGEMENT
from core.store.database import Database

TICK_S = 1.0


@dataclass(frozen=True, slots=True)
class StandingClock:
    """The data's time stands still where it ends; durations are the machine's."""

    time: int

    def now(self) -> int:
        """The end of the data."""
        return self.time

    def monotonic(self) -> float:
        """Seconds that pass."""
        return time.monotonic()


class Host:
    """The controller with its own thread, as the orchestrator runs it; `deaths` is where a kill is ordered."""

    def __init__(
        self, database: Database, clock: Clock, artifacts: ArtifactStore, build: Any, deaths: str, keep: bool
    ) -> None:
        self._deaths = Path(deaths)
        self._counted: dict[str, int] = {}
        actuator: Any = ServeActuator(database, clock, build)
        if keep:
            actuator = _Keeping(actuator)
        self.controller = Controller(
            database,
            clock,
            self._mortal(Versioning(database, clock, artifacts), {"set_alias": _alias}),
            self._mortal(actuator, {"warm": _warm, "set_split": _split, "release": _release}),
        )
        self.controller._store = self._mortal(self.controller._store, {"append": _append})
        self._feedback = Feedback(database, clock)
        self.first_pass_at: float | None = None
        for turn in (self._control, self._join):
            threading.Thread(target=self._run, args=(turn,), daemon=True).start()

    def _run(self, turn: Callable[[], object]) -> None:
        while True:
            try:
                turn()
            except AnalyticBotError as error:
                print(f"{turn.__name__}: {error}", flush=True)
            time.sleep(TICK_S)

    def _control(self) -> None:
        self.controller.tick(ENGAGEMENT)
        if self.first_pass_at is None:
            self.first_pass_at = time.time()

    def _join(self) -> None:
        self._feedback.catch_up()

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """A method of the controller."""
        return getattr(self.controller, method)(*args, **kwargs)

    def pid(self) -> int:
        """This process."""
        return os.getpid()

    def passed_at(self) -> float | None:
        """When this process finished its first pass (Unix seconds)."""
        return self.first_pass_at

    def counted(self) -> dict[str, int]:
        """Kill points that this process went by."""
        return dict(self._counted)

    def _mortal(self, target: Any, names: dict[str, Callable[..., str]]) -> Any:
        return _Mortal(target, names, self._point)

    def _point(self, name: str) -> None:
        self._counted[name] = self._counted.get(name, 0) + 1
        try:
            wanted = self._deaths.read_text()
        except FileNotFoundError:
            return
        if wanted == name:
            self._deaths.unlink()  # the next process lives
            self._deaths.with_suffix(".died").write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class _Mortal:
    target: Any
    names: dict[str, Callable[..., str]]
    point: Callable[[str], None]

    def __getattr__(self, method: str) -> Any:
        call = getattr(self.target, method)
        if method not in self.names:
            return call

        def through(*args: Any, **kwargs: Any) -> Any:
            name = self.names[method](*args, **kwargs)
            self.point(f"before {name}")
            result = call(*args, **kwargs)
            self.point(f"after {name}")
            return result

        return through


class _Keeping:
    """An actuator that leaves the canary's application warm, so that many roll-backs can follow each other."""

    def __init__(self, actuator: Any) -> None:
        self._actuator = actuator

    def __getattr__(self, method: str) -> Any:
        return getattr(self._actuator, method)

    def release(self, model: str, version: int) -> bool:
        return True


def _append(_id: str, _seq: int, decisions: Any, state: Any, _now: int) -> str:
    record = json.loads(state.record)
    kind = "decision" if any(decision.record.startswith("{") for decision in decisions) else "evidence"
    return f"writing {kind}: {record['phase']}/{record['stage']}/{record['place']}"


def _alias(_model: str, alias: str, version: int | None, **_: Any) -> str:
    return f"alias {alias} {'set' if version is not None else 'dropped'}"


def _warm(_model: str, _version: int) -> str:
    return "warming the canary"


def _split(split: Any) -> str:
    trial = "trial" if split.canary is not None else "alone"
    return f"split {trial} {split.weight:g}"


def _release(_model: str, _version: int) -> str:
    return "releasing the canary"
