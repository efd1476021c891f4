"""The processes of one head: who they are, what they hold in memory, and how they end; never anybody else's.

Three signs make a process ours: it descends from the head, it lives in the head's session, or its environment carries
the head's mark. The last two still find what a head killed with -9 left behind.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import psutil

#: Environment variable whose value is the id of the head that a process belongs to.
MARK = "ANALYTICBOT_CLUSTER_ID"


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that a later one with the same number is not."""

    pid: int
    started: float  # psutil's create_time

    @classmethod
    def of(cls, pid: int) -> Identity:
        """Of a living process; psutil.NoSuchProcess when there is none."""
        return cls(pid, psutil.Process(pid).create_time())

    @property
    def alive(self) -> bool:
        """Whether this very process runs (a zombie does not)."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


@dataclass(frozen=True, slots=True)
class Footprint:
    """Memory of a process; `pss_mb` counts shared pages once over all that share them."""

    pid: int
    name: str
    rss_mb: float
    pss_mb: float


def members(head: Identity, cluster_id: str) -> list[psutil.Process]:
    """Every living process of a head, itself included, in no order."""
    import os

    me = os.getpid()
    family = _descendants(head)
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        if process.pid == me:
            continue
        try:
            ours = process.pid in family or os.getsid(process.pid) == head.pid or _marked(process, cluster_id)
            # A session is named after the head's pid: one older than the head is a stranger's.
            if ours and process.create_time() >= head.started - 1.0 and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = process
        except (psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            continue
    return list(found.values())


def _descendants(head: Identity) -> set[int]:
    if not head.alive:
        return set()
    try:
        root = psutil.Process(head.pid)
        return {root.pid, *(child.pid for child in root.children(recursive=True))}
    except psutil.NoSuchProcess:
        return set()


def _marked(process: psutil.Process, cluster_id: str) -> bool:
    try:
        return process.environ().get(MARK) == cluster_id and not _is_visitor(process)
    except (psutil.AccessDenied, psutil.NoSuchProcess, OSError):
        return False


def _is_visitor(process: psutil.Process) -> bool:
    """A CLI that runs inside a job carries the mark as well: it is a member, unless it is what calls `down`."""
    return process.pid in {parent.pid for parent in psutil.Process().parents()}


def end(head: Identity, cluster_id: str, *, patience_s: float = 15.0) -> list[int]:
    """Ask the head to stop, then end whoever of its processes is left; returns pids that survived even SIGKILL."""
    if head.alive:
        _signal([psutil.Process(head.pid)], "terminate")
        psutil.wait_procs([psutil.Process(head.pid)] if head.alive else [], timeout=patience_s)
    for _ in range(3):
        left = members(head, cluster_id)
        if not left:
            return []
        _signal(left, "kill")
        psutil.wait_procs(left, timeout=3.0)
    return [process.pid for process in members(head, cluster_id)]


def _signal(processes: Iterable[psutil.Process], how: str) -> None:
    for process in processes:
        try:
            getattr(process, how)()
        except psutil.NoSuchProcess:
            continue


def footprints(processes: Iterable[psutil.Process]) -> list[Footprint]:
    """Memory of each, largest first; a process that ends meanwhile is left out."""
    rows = []
    for process in processes:
        try:
            memory = process.memory_full_info()
            pss = getattr(memory, "pss", memory.rss)
            rows.append(Footprint(process.pid, _title(process), memory.rss / 2**20, pss / 2**20))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return sorted(rows, key=lambda row: -row.pss_mb)


def _title(process: psutil.Process) -> str:
    words = process.cmdline()
    if not words:
        return process.name()
    if words[0].startswith("ray"):
        return words[0].split(" (")[0]
    module = next((w for w in words[1:] if w.endswith(".py") or ("." in w and not w.startswith("-"))), "")
    return " ".join(filter(None, [words[0].rsplit("/", 1)[-1], module.rsplit("/", 1)[-1]]))
