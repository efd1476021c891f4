"""A predictor, a roll-out controller and constant load on a local Ray: what the roll-out benches stand on.

The controller is a detached-style actor that Ray restarts (`max_restarts=-1`) and that may be told to kill itself with
SIGKILL before or after a named write or command. Outcomes are joined by the product's own feedback service; the data's
clock stands at the end of the data, so they arrive at once instead of a day later.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench._serving import Stage, ray_serve, stage
from core.clock import Clock
from core.errors import AnalyticBotError
from core.schemas.predictions import ENGAGEMENT
from core.schemas.rollouts import RolloutConfig, RolloutStatus, SplitReport
from core.store.database import Database
from serve_apps.canary import Canary, CanaryFactory

#: Every question of the judge is on; waits are short and the error objective is wide, so that a trial takes seconds.
FAST = RolloutConfig(
    hold_s=(0.5, 0.5, 0.5), deadline_s=600.0, error_slo=0.05, skip_validation=True, lease_s=30.0, prepare_s=120.0
)
CHANNELS = 100
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


# ---------------------------------------------------------------- faults


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


# ---------------------------------------------------------------- the controller's process


class Host:
    """The controller with its own thread, as the orchestrator runs it; `deaths` is where a kill is ordered."""

    def __init__(self, database: Database, clock: Clock, build: CanaryFactory, deaths: str, keep: bool) -> None:
        from actors.adaptive_learning.deployment.actuator import ServeActuator
        from actors.adaptive_learning.deployment.controller import Controller
        from actors.adaptive_learning.feedback.actor import Feedback
        from actors.adaptive_learning.versioning.actor import Versioning

        self._deaths = Path(deaths)
        self._counted: dict[str, int] = {}
        actuator: Any = ServeActuator(database, clock, build)
        if keep:
            actuator = _Keeping(actuator)
        self.controller = Controller(
            database,
            clock,
            self._mortal(Versioning(database, clock, build.artifacts), {"set_alias": _alias}),
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


# ---------------------------------------------------------------- load


def _loading(url: str, posts: list[tuple[str, int]], rps: float, pipe: Connection) -> None:
    from bench.predict import Load

    load = Load(url, posts, rps)
    ended = threading.Event()

    def wait() -> None:
        pipe.recv()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    asyncio.run(load.run(0.0, ended.wait))
    pipe.send(load.result() | {"all_failures": load.failures[:50]})


@dataclass
class Loader:
    """Constant load from a process of its own, so that measuring does not slow what sends."""

    url: str
    posts: list[tuple[str, int]]
    rps: float
    result: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> Loader:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_loading, args=(self.url, self.posts, self.rps, theirs), daemon=True)
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send("stop")
        if self._pipe.poll(60):
            self.result.update(self._pipe.recv())
        self._process.join(10)


# ---------------------------------------------------------------- all of it


@dataclass
class Trial:
    """What a bench works with."""

    made: Stage
    url: str
    predictor: Any
    host: Any
    faults: Faults
    deaths: Path

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """A method of the controller; asked again while its process is being replaced."""
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        give_up = time.monotonic() + 60
        while True:
            try:
                return ray.get(self.host.call.remote(method, *args, **kwargs), timeout=60)
            except RayTaskError as error:
                raise error.cause from error
            except RayActorError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.1)

    def of_host(self, method: str) -> Any:
        """A method of the controller's process itself."""
        import ray
        from ray.exceptions import RayActorError

        give_up = time.monotonic() + 60
        while True:
            try:
                return ray.get(getattr(self.host, method).remote(), timeout=60)
            except RayActorError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.05)

    def reports(self) -> list[SplitReport]:
        """What every router does."""
        found: list[SplitReport] = self.predictor.broadcast("split_report").results(timeout_s=10)
        return found

    def until(self, rollout: str, done: Callable[[RolloutStatus], bool], timeout_s: float = 120) -> RolloutStatus:
        """Ask until something is so; the last status when it never is."""
        end = time.monotonic() + timeout_s
        while True:
            status: RolloutStatus = self.call("status", rollout)
            if done(status) or time.monotonic() > end:
                return status
            time.sleep(0.1)

    def weightless(self, timeout_s: float) -> float | None:
        """Unix seconds at which every router gave the canary nothing any more; None: not in time."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if all(report.weight == 0.0 for report in self.reports()):
                return time.time()
            time.sleep(0.02)
        return None


@contextmanager
def trial(
    data: Path | None, seeds: tuple[int, ...] = (1, 1), *, keep: bool = False, replicas: int = 1
) -> Iterator[Trial]:
    """Version 1 in service, the others registered; seeds: equal ones are equal versions (A/A)."""
    with stage(data, seeds, CHANNELS) as staged:
        made = replace(staged, clock=StandingClock(staged.clock.now()))
        home = Path(str(made.artifacts.url)).parent
        faults, deaths = Faults(str(home / "faults.json")), home / "deaths"
        faults.set()
        os.environ["BENCH_FAULTS"] = faults.path
        with ray_serve() as url:
            import ray
            from ray import serve

            from core.settings import Settings
            from serve_apps.predictor.app import PredictorFactory, PredictorParts

            parts = PredictorParts(made.database, made.artifacts, Settings(), made.clock)
            predictor = serve.run(
                PredictorFactory(parts, 1, {"num_cpus": 0.5})(),
                name="predictor",
                route_prefix="/v1/predictions",
            )
            options = {"num_cpus": 0.25, "runtime_env": {"env_vars": {"BENCH_FAULTS": faults.path}}}
            build = CanaryFactory(made.database, made.artifacts, actor_options=options, replica=FaultyCanary)
            actor = ray.remote(Host).options(max_restarts=-1, max_concurrency=8, num_cpus=0.1)
            host = actor.remote(made.database, made.clock, build, str(deaths), keep)
            made_trial = Trial(made, url, predictor, host, faults, deaths)
            give_up = time.monotonic() + 60
            while True:
                try:
                    made_trial.call("install", ENGAGEMENT, 1, "first")
                    break
                except AnalyticBotError:
                    if time.monotonic() > give_up:
                        raise
                    time.sleep(0.2)
            yield made_trial
