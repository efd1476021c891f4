"""Fractional resources: what the machine has and the topology wants, as a plan, or a refusal before anything starts.

Ray only counts fractions of CPUs and GPUs. A GPU's share is made real inside torch (`training.gpu.apply_gpu_share`),
so the plan names it per process; shares on one GPU sum to at most 1, with the learner's own share among them.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, field
from pathlib import Path

from cluster.topology import Service, Topology
from core.errors import AnalyticBotError, Refused

_EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is; of a cluster, the sum over its nodes with every node's GPUs."""

    cpus: int
    memory_mb: int  # available now
    gpu_memory_mb: tuple[int, ...] = ()  # one entry a GPU


@dataclass(frozen=True, slots=True)
class Share:
    """What one process of a service gets."""

    service: str
    kind: str
    instances: int
    cpu: float
    memory_mb: int
    gpu: float = 0.0  # of one GPU; 0: it runs on the CPU
    gpus: tuple[int, ...] = ()  # where each instance fits, in the plan's packing
    on_demand: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Who gets what; `problems` is empty when it fits."""

    profile: str
    machine: Machine
    shares: tuple[Share, ...]
    spare_cpu: float
    object_store_mb: int
    system_memory_mb: int
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def cpu(self) -> float:
        """CPUs given out, with what is kept free."""
        return sum(s.cpu * s.instances for s in self.shares) + self.spare_cpu

    @property
    def memory_mb(self) -> int:
        """Memory planned with."""
        return self.system_memory_mb + self.object_store_mb + sum(s.memory_mb * s.instances for s in self.shares)

    def share(self, service: str) -> Share:
        """One service's."""
        return next(s for s in self.shares if s.service == service)


class PlanDoesNotFit(Refused):
    """More is wanted than there is; `details["plan"]` holds the plan as plain data."""

    code, title = "plan-does-not-fit", "Plan does not fit"


def make(topology: Topology, machine: Machine) -> Plan:
    """The plan, with its problems."""
    with_gpu = bool(machine.gpu_memory_mb)
    places, gpu_problems = _pack(topology, len(machine.gpu_memory_mb)) if with_gpu else ({}, [])
    shares = tuple(_share(name, s, with_gpu, places.get(name, ())) for name, s in topology.services.items())
    notes = [] if with_gpu else ["no GPU: everything runs on the CPU, with the same topology"]
    system = topology.system
    plan = Plan(
        topology.profile, machine, shares, system.spare_cpu, system.object_store_mb, system.memory_mb, (), tuple(notes)
    )
    problems = [*gpu_problems]
    if plan.cpu > machine.cpus + _EPSILON:
        problems.insert(
            0,
            f"too few CPUs: {plan.cpu:.2f} wanted, {machine.cpus} there: choose a smaller profile "
            "(ANALYTICBOT_PROFILE) or lower shares in cluster/topology.yaml",
        )
    if plan.memory_mb > machine.memory_mb:
        problems.insert(
            0,
            f"too little memory: {plan.memory_mb:,} MB wanted, {machine.memory_mb:,} MB available: end other "
            "programs, or choose a smaller profile (ANALYTICBOT_PROFILE)",
        )
    return Plan(
        plan.profile,
        machine,
        shares,
        plan.spare_cpu,
        plan.object_store_mb,
        plan.system_memory_mb,
        tuple(problems),
        plan.notes,
    )


def require(plan: Plan) -> Plan:
    """The plan itself; PlanDoesNotFit with its first problem when it has one."""
    from core.codec import to_plain

    if plan.problems:
        raise PlanDoesNotFit(plan.problems[0], problems=list(plan.problems), plan=to_plain(plan))
    return plan


def _share(name: str, service: Service, with_gpu: bool, gpus: tuple[int, ...]) -> Share:
    gpu = service.gpu if with_gpu else 0.0
    return Share(name, service.kind, service.instances, service.cpu, service.memory_mb, gpu, gpus, service.on_demand)


def _pack(topology: Topology, gpus: int) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """First fit, largest share first: proves that every GPU's shares sum to at most 1."""
    free = [1.0] * gpus
    wanted = sorted(
        ((s.gpu, name) for name, s in topology.services.items() for _ in range(s.instances) if s.gpu > 0),
        key=lambda item: (-item[0], item[1]),
    )
    places: dict[str, tuple[int, ...]] = {}
    for gpu, name in wanted:
        spot = next((i for i, room in enumerate(free) if room + _EPSILON >= gpu), None)
        if spot is None:
            total = sum(share for share, _ in wanted)
            return places, [
                f"too little GPU: {total:.2f} wanted on {gpus} GPU{'s' * (gpus > 1)}, no room for {gpu:g} of {name}: "
                "lower gpu shares in cluster/topology.yaml"
            ]
        free[spot] -= gpu
        places[name] = (*places.get(name, ()), spot)
    return places, []


# ---------------------------------------------------------------- what this machine has


def this_machine() -> Machine:
    """CPUs and memory that this process may use (control groups counted), and the GPUs that the driver reports."""
    import psutil

    available = psutil.virtual_memory().available
    limit = _cgroup_memory_left()
    memory = available if limit is None else min(available, limit)
    return Machine(_cpus(), int(memory / 2**20), _gpu_memory_mb())


def _cpus() -> int:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return allowed
    return allowed if quota == "max" else max(1, min(allowed, int(quota) // int(period)))


def _cgroup_memory_left() -> int | None:
    """Bytes left under the container's limit; None: no limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, used = (folder / "memory.max").read_text().strip(), (folder / "memory.current").read_text().strip()
    except OSError:
        return None
    return None if limit == "max" else max(0, int(limit) - int(used))


def _gpu_memory_mb() -> tuple[int, ...]:
    """Memory of each NVIDIA GPU that may be used; none without the `cuda` extra or without a driver."""
    if importlib.util.find_spec("pynvml") is None:
        return ()
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        count = pynvml.nvmlDeviceGetCount()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(count)]
        sizes = tuple(int(pynvml.nvmlDeviceGetMemoryInfo(h).total) // 2**20 for h in handles)
    except pynvml.NVMLError as error:
        raise AnalyticBotError(f"the NVIDIA driver does not answer: {error}") from error
    finally:
        pynvml.nvmlShutdown()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return sizes
    chosen = [part.strip() for part in visible.split(",")]
    return tuple(sizes[int(part)] for part in chosen if part.isdigit() and int(part) < len(sizes))
