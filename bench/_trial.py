"""A predictor, a roll-out controller and constant load on a local Ray: what the roll-out benches stand on.

The controller is a detached-style actor that Ray restarts (`max_restarts=-1`) and that may be told to kill itself with
SIGKILL before or after a named write or command. Outcomes are joined by the product's own feedback service; the data's
clock stands at the end of the data, so they arrive at once instead of a day later.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench._clocked import NOTES, ClockedPredictor
from bench._faults import Faults, FaultyCanary
from bench._host import Host, StandingClock
from bench._serving import Stage, ray_serve, stage
from core.errors import AnalyticBotError
from core.schemas.predictions import ENGAGEMENT
from core.schemas.rollouts import RolloutConfig, RolloutStatus, SplitReport
from serve_apps.canary import CanaryFactory

#: Every question of the judge is on; waits are short and the error objective is wide, so that a trial takes seconds.
FAST = RolloutConfig(
    hold_s=(0.5, 0.5, 0.5), deadline_s=600.0, error_slo=0.05, skip_validation=True, lease_s=30.0, prepare_s=120.0
)
CHANNELS = 100


# ---------------------------------------------------------------- load


def _loading(url: str, posts: list[tuple[str, int]], rps: float, pipe: Connection) -> None:
    from bench.predict import Load

    load = Load(url, posts, rps)
    ended = threading.Event()

    def wait() -> None:
        pipe.recv()
        ended.set()

    def until_told() -> None:
        ended.wait()

    threading.Thread(target=wait, daemon=True).start()
    asyncio.run(load.run(0.0, until_told))
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
    notes: Path

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

    def taken_over(self, after: int, timeout_s: float) -> float | None:
        """Unix seconds at which the router took over a split of a later epoch; None: not in time."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            for line in self.notes.read_text().splitlines():
                _pid, epoch, _weight, at = line.split()
                if int(epoch) > after:
                    return float(at)
            time.sleep(0.05)
        return None

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
            clocked = {"num_cpus": 0.5, "runtime_env": {"env_vars": {NOTES: str(home / "splits")}}}
            predictor = serve.run(
                PredictorFactory(parts, 1, clocked, ClockedPredictor)(),
                name="predictor",
                route_prefix="/v1/predictions",
            )
            options = {"num_cpus": 0.25, "runtime_env": {"env_vars": {"BENCH_FAULTS": faults.path}}}
            build = CanaryFactory(made.database, made.artifacts, actor_options=options, replica=FaultyCanary)
            actor = ray.remote(Host).options(max_restarts=-1, max_concurrency=8, num_cpus=0.1)
            host = actor.remote(made.database, made.clock, made.artifacts, build, str(deaths), keep)
            made_trial = Trial(made, url, predictor, host, faults, deaths, home / "splits")
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
