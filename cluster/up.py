"""Brings everything up, in an order that lets the slow parts wait for each other as little as they can.

database → head → actors and Serve at the same time → `/readyz`. Running it again adds what is missing and replaces
what an older version of the code, or other settings, left behind.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

from cluster import code, environment, head, ports, resources, state, topology
from cluster.head import Capacity
from cluster.resources import Plan
from cluster.state import HeadState
from cluster.topology import Topology
from core.codec import to_json
from core.errors import Broken, Refused, ServiceUnavailable
from core.settings import Settings
from core.store.database import Database

if TYPE_CHECKING:
    from cluster.services import ActorSpec, Wiring

Report = Callable[[str, float], None]


@dataclass(slots=True)
class Timings:
    """Seconds of each phase, reported as they end."""

    report: Report
    phases: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure one."""
        begun = time.monotonic()
        yield
        self.phases[name] = time.monotonic() - begun
        self.report(name, self.phases[name])


@dataclass(frozen=True, slots=True)
class Up:
    """What runs now."""

    state: HeadState
    plan: Plan
    seconds: float
    phases: dict[str, float]
    started: tuple[str, ...]  # services that this call started or replaced


def make_plan(settings: Settings) -> tuple[Topology, Plan]:
    """The profile's topology on this machine; an already running head's own memory counts as available."""
    shape = topology.load(settings.profile)
    machine = resources.this_machine()
    known = state.running(settings)
    if known is not None:
        from cluster import processes

        held = processes.footprints(processes.members(known.head, known.id)) if known.head else []
        machine = resources.Machine(
            machine.cpus, machine.memory_mb + int(sum(f.pss_mb for f in held)), machine.gpu_memory_mb
        )
    return shape, resources.make(shape, machine)


def up(settings: Settings, report: Report = lambda name, seconds: None, *, patience_s: float = 180.0) -> Up:
    """Everything answers when this returns.

    Refused (plan does not fit, port taken, SQLite on several nodes), StorageBroken, Broken (Ray), ServiceUnavailable
    (something did not become ready in time; it names what).
    """
    settings = environment.absolute(settings)
    begun = time.monotonic()
    timings = Timings(report)
    alone = nullcontext() if state.running(settings) else ports.in_turn(patience_s)
    with only_one(settings), alone:
        shape, plan = make_plan(settings)
        _refuse_shared_sqlite(settings)
        resources.require(plan)
        known = state.running(settings)
        if not settings.ray_address:
            environment.enter(settings, str(environment.token_file(settings)))  # before the services import Ray
        with ThreadPoolExecutor(2) as pool:
            # The database and the services' imports use the time in which the head starts.
            preparing = pool.submit(_prepare, settings, shape, plan, timings)
            with timings.phase("head"):
                capacity = Capacity(plan.machine.cpus, len(plan.machine.gpu_memory_mb), plan.object_store_mb)
                known = _head(settings, known, capacity)
            wiring, specs = preparing.result()
        with timings.phase("connect"):
            connect_ray(settings, known)
        started, known = _services(wiring, specs, known, timings)
        with timings.phase("ready"):
            await_ready(known, give_up=begun + patience_s)
        known = head.mark_ready(settings, known)
    return Up(known, plan, time.monotonic() - begun, timings.phases, started)


@contextmanager
def only_one(settings: Settings) -> Iterator[None]:
    """Two `up` at the same time would start two heads."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "cluster.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused("another `up` or `down` is at work in this home: wait for it to end") from None
        yield


def _refuse_shared_sqlite(settings: Settings) -> None:
    if settings.database.startswith("sqlite") and (settings.profile == "cluster" or settings.ray_address):
        raise Refused(
            "SQLite is one machine's database, and this deployment has several: set DATABASE_URL to PostgreSQL"
        )


def _prepare(settings: Settings, shape: Topology, plan: Plan, timings: Timings) -> tuple[Wiring, tuple[ActorSpec, ...]]:
    from core.store import migrate

    with timings.phase("database"):
        database = Database(settings.database)
        migrate.upgrade(database)
        database.dispose()
    with timings.phase("imports"):
        from cluster import services

        wiring = services.Wiring.of(settings, shape, plan)
        return wiring, services.actor_specs(wiring)


def _head(settings: Settings, known: HeadState | None, capacity: Capacity) -> HeadState:
    if known is not None:
        return known
    if settings.ray_address:
        return _foreign(settings)
    return head.start(settings, capacity)


def _foreign(settings: Settings) -> HeadState:
    """A cluster that somebody else started: its ports and its authentication are theirs."""
    from cluster import ports
    from core.store.ids import new_id

    known = HeadState(
        id=new_id(),
        head=None,
        boot=state.boot_id(),
        address=str(settings.ray_address),
        host=settings.host,
        ports=ports.choose(settings),
        ray_dir="",
        token_file=os.environ.get("RAY_AUTH_TOKEN_PATH", ""),
        started_at=int(time.time()),
    )
    state.save(settings, known)
    return known


def connect_ray(settings: Settings, known: HeadState) -> None:
    """Make this process a driver of the head; harmless when it is one already. Broken when Ray does not answer."""
    if known.head is not None:
        environment.enter(settings, known.token_file)
    import ray

    from actors.runtime import NAMESPACE

    if ray.is_initialized():
        return
    for name in ("ray", "ray.serve"):
        logging.getLogger(name).setLevel(logging.WARNING)  # what it announces, `up` says in its own words
    try:
        ray.init(address=known.address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, TimeoutError) as error:
        raise Broken(f"Ray at {known.address} does not answer: {error}; `analyticbot down`, then `up`") from error


def fingerprint(settings: Settings, service: str, shape: Topology) -> str:
    """Changes when the code, the settings or the service's entry in the topology do."""
    parts = (
        code.version(),
        settings.model_dump_json(exclude={"database_url", "redis_url"}),
        settings.database,
        str(settings.redis_url and settings.redis_url.get_secret_value()),
        *settings.alerts.secrets,
        to_json(shape.services[service].model_dump()),
    )
    return blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


def _services(
    wiring: Wiring, specs: tuple[ActorSpec, ...], known: HeadState, timings: Timings
) -> tuple[tuple[str, ...], HeadState]:
    """Actors are being created while Serve starts: both mostly wait for new processes."""
    from cluster import applications, detached

    settings, shape = wiring.settings, wiring.topology
    prints = {name: fingerprint(settings, name, shape) for name in shape.services}
    with timings.phase("services"):
        created = detached.ensure(specs, {s.name: prints[s.service] for s in specs}, known)
        deployed = applications.ensure(wiring, prints, known)
        detached.await_health(specs)
    for name, value in [*created.items(), *deployed.items()]:
        known = known.with_deployed(name, value)
    state.save(settings, known)
    return (*created, *deployed), known


def await_ready(known: HeadState, *, give_up: float) -> None:
    """Until `/readyz` says yes; ServiceUnavailable with its last words."""
    import httpx2

    said = "no answer"
    while time.monotonic() < give_up:
        try:
            response = httpx2.get(f"{known.http_url}/readyz", timeout=5.0)
            if response.is_success:
                return
            said = f"HTTP {response.status_code}: {response.text[:300]}"
        except httpx2.HTTPError as error:
            said = repr(error)
        time.sleep(0.1)
    raise ServiceUnavailable(f"{known.http_url}/readyz did not become true: {said}")
