"""Which ports the head uses: the wanted one, or the next free one; never one twice, none inside the workers' range."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from core.errors import Refused
from core.settings import Settings

#: Ray's worker processes listen in a range of this many ports, well away from every other port here.
WORKER_PORTS = 1000
_WORKER_BASE = 21000
_SEARCH = 400
#: `free_port` looks here: below what the system gives to outgoing connections, beside what Ray and Serve choose from.
_APART = range(20000, 21000)


@dataclass(frozen=True, slots=True)
class Ports:
    """Every port of a head; `http` is Serve's, the rest are Ray's and HAProxy's own."""

    http: int
    gcs: int
    dashboard: int
    object_manager: int
    node_manager: int
    agent_http: int
    agent_grpc: int
    runtime_env: int
    metrics: int
    dashboard_metrics: int
    haproxy_stats: int
    haproxy_metrics: int
    worker_min: int
    worker_max: int
    # What is added later has a default: `down` must be able to read what an older version's `up` wrote.
    fallback_proxy: int = 0  # answers while an application has no replica; Ray's own default is the same everywhere

    def named(self) -> dict[str, int]:
        """By name."""
        return asdict(self)


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(avoid: Collection[int] = ()) -> int:
    """A port that a server started later can have: unlike one of the system's choice, no connection takes it meanwhile.

    Two processes begin to look at different places. Refused when there is none.
    """
    begin = os.getpid() * 7
    for place in range(len(_APART)):
        port = _APART[(begin + place) % len(_APART)]
        if port not in avoid and is_free(port) and is_free(port, "0.0.0.0"):
            return port
    raise Refused(f"no free port between {_APART[0]} and {_APART[-1]}", port=_APART[0])


@contextmanager
def in_turn(patience_s: float, lock: Path | None = None) -> Iterator[None]:
    """One start at a time of this user on this machine: a port is chosen a while before somebody listens on it.

    Waits for another start to end; Refused after `patience_s`. A start that dies leaves nothing behind.
    """
    path = lock or Path(tempfile.gettempdir()) / f"analyticbot-start-{os.getuid()}.lock"
    give_up = time.monotonic() + patience_s
    with path.open("a") as held:
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= give_up:
                    raise Refused(
                        f"another application has been starting on this machine for {patience_s:.0f} s: "
                        "wait for it, or end it"
                    ) from None
                time.sleep(0.1)
        yield


def require_free(port: int, host: str) -> None:
    """Refused, with what to do, when the port for HTTP is taken."""
    if not is_free(port, host):
        raise Refused(
            f"port {port} on {host} is taken by another program: stop it, or set ANALYTICBOT_HTTP_PORT to a free port",
            port=port,
        )


def choose(settings: Settings) -> Ports:
    """Free ports near the configured ones; Refused when the HTTP port is taken (people know it, so it never moves)."""
    require_free(settings.http_port, settings.host)
    taken = {settings.http_port}

    def next_free(start: int) -> int:
        for port in range(start, min(start + _SEARCH, 65536)):
            if port not in taken and is_free(port) and is_free(port, "0.0.0.0"):
                taken.add(port)
                return port
        raise Refused(f"no free port between {start} and {start + _SEARCH}", port=start)

    gcs = next_free(settings.ray_port)
    dashboard = next_free(settings.dashboard_port)
    names = ("object_manager", "node_manager", "agent_http", "agent_grpc", "runtime_env", "metrics")
    rest = {name: next_free(gcs + 1) for name in names}
    beside = ("dashboard_metrics", "haproxy_stats", "haproxy_metrics", "fallback_proxy")
    near = {name: next_free(dashboard + 1) for name in beside}
    low = _worker_base(taken)
    return Ports(settings.http_port, gcs, dashboard, **rest, **near, worker_min=low, worker_max=low + WORKER_PORTS - 1)


def _worker_base(taken: set[int]) -> int:
    """A thousand ports without one of ours; a second head beside this one shifts by the first port being in use."""
    for low in range(_WORKER_BASE, 30000 - WORKER_PORTS, WORKER_PORTS):
        clear = not any(low <= port < low + WORKER_PORTS for port in taken)
        if clear and all(is_free(port) for port in range(low, low + WORKER_PORTS, 50)):
            return low
    raise Refused(f"no free range of {WORKER_PORTS} ports between {_WORKER_BASE} and 30000 for Ray's workers")
