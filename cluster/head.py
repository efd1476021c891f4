"""Starts and stops Ray's head as a child of its own session, on ports and in a directory of its own.

`ray stop` ends every Ray of the machine, so it is never used: `stop` ends the processes that `start` began, and proves
that they are gone. A head killed with -9, or by a reboot, is recognised by its state file and cleared away.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from cluster import environment, ports, processes, state
from cluster.ports import Ports
from cluster.processes import Identity
from cluster.state import HeadState
from core.errors import Broken, Refused
from core.settings import Settings
from core.store.ids import new_id

#: Sessions of earlier heads kept for their logs.
_KEPT_SESSIONS = 2


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the head tells Ray that this machine has."""

    cpus: int
    gpus: int
    object_store_mb: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """What `stop` found and ended."""

    was_running: bool
    ended: int  # processes
    seconds: float


def start(settings: Settings, capacity: Capacity, *, patience_s: float = 120.0) -> HeadState:
    """The running head, started unless it runs already.

    Refused when the HTTP port is taken; Broken, with Ray's own last words, when Ray does not come up.
    """
    before = state.load(settings)
    if before is not None and before.alive:
        return before
    if before is not None:
        clear_stale(settings, before)
    chosen, cluster_id = ports.choose(settings), new_id()
    own = _prepare_directory(environment.ray_dir(settings))
    _own_directory(environment.proxy_dir(settings))
    log = settings.home.absolute() / "logs" / "head.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        child = subprocess.Popen(
            _command(settings, capacity, chosen, own),
            env=environment.of_head(settings, chosen, cluster_id),
            cwd=settings.home.absolute(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    begun = HeadState(
        id=cluster_id,
        head=Identity.of(child.pid),
        boot=state.boot_id(),
        address=f"{_node_host(settings)}:{chosen.gcs}",
        host=settings.host,
        ports=chosen,
        ray_dir=str(own),
        token_file=str(environment.token_file(settings)),
        started_at=int(time.time()),
    )
    state.save(settings, begun)  # before waiting: whatever happens to this process, `down` finds the head
    try:
        _wait(child, chosen, log, patience_s)
    except BaseException:
        clear_stale(settings, begun)
        raise
    return begun


def stop(settings: Settings) -> Stopped:
    """End the head and everything that it started; Broken when a process survives SIGKILL."""
    begun = time.monotonic()
    known = state.load(settings)
    if known is None or known.head is None:
        return Stopped(False, 0, 0.0)
    was_running = known.alive
    ended = clear_stale(settings, known)
    return Stopped(was_running, ended, time.monotonic() - begun)


def clear_stale(settings: Settings, known: HeadState) -> int:
    """End what is left of a head and forget it; returns how many processes there were."""
    if known.head is None or known.boot != state.boot_id():
        state.remove(settings)
        return 0
    found = len(processes.members(known.head, known.id))
    survivors = processes.end(known.head, known.id)
    if survivors:
        raise Broken(f"processes {survivors} do not end, not even by SIGKILL: look at them with ps", pids=survivors)
    shutil.rmtree(environment.proxy_dir(settings), ignore_errors=True)  # sockets and a generated file, all made again
    state.remove(settings)
    return found


def _command(settings: Settings, capacity: Capacity, chosen: Ports, own: Path) -> list[str]:
    flags: dict[str, object] = {
        "node-ip-address": _node_host(settings),
        "port": chosen.gcs,
        "object-manager-port": chosen.object_manager,
        "node-manager-port": chosen.node_manager,
        "dashboard-host": "127.0.0.1",
        "dashboard-port": chosen.dashboard,
        "include-dashboard": "true",
        "dashboard-agent-listen-port": chosen.agent_http,
        "dashboard-agent-grpc-port": chosen.agent_grpc,
        "runtime-env-agent-port": chosen.runtime_env,
        "metrics-export-port": chosen.metrics,
        "min-worker-port": chosen.worker_min,
        "max-worker-port": chosen.worker_max,
        "num-cpus": capacity.cpus,
        "num-gpus": capacity.gpus,
        "object-store-memory": capacity.object_store_mb * 2**20,
        "resources": json.dumps({}),
        "temp-dir": str(own),
        "include-log-monitor": "false" if settings.profile == "laptop" else "true",
        "log-color": "false",
    }
    given = [f"--{name}={value}" for name, value in flags.items()]
    return [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--no-monitor", *given]


def _node_host(settings: Settings) -> str:
    """Loopback unless others may reach the service; then the address that the machine has for them."""
    if settings.loopback:
        return "127.0.0.1"
    if settings.host not in ("0.0.0.0", "::"):
        return settings.host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: asks the routing table which address faces outwards
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _wait(child: subprocess.Popen[bytes], chosen: Ports, log: Path, patience_s: float) -> None:
    """Until the raylet, which starts last, listens."""
    give_up = time.monotonic() + patience_s
    while time.monotonic() < give_up:
        if child.poll() is not None:
            raise Broken(f"Ray's head ended with code {child.returncode}: {_last_words(log)} (all of it: {log})")
        if not ports.is_free(chosen.gcs) and not ports.is_free(chosen.node_manager):
            return
        time.sleep(0.1)
    raise Broken(f"Ray's head did not answer within {patience_s:g} s: {_last_words(log)} (all of it: {log})")


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it wrote nothing"


def _prepare_directory(own: Path) -> Path:
    """Ray's directory, owned by this user, without the sessions of long ago."""
    _own_directory(own)
    sessions = sorted(p for p in own.glob("session_2*") if p.is_dir() and not p.is_symlink())
    for session in sessions[:-_KEPT_SESSIONS]:
        shutil.rmtree(session, ignore_errors=True)  # logs of long ago; a file that stays does no harm
    return own


def _own_directory(path: Path) -> None:
    """A directory that nobody else can write into; the short ones in /tmp could have been made by anybody."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.stat().st_uid != os.getuid():
        raise Refused(f"{path} belongs to another user: set ANALYTICBOT_HOME to a directory of yours with a short path")


def mark_ready(settings: Settings, known: HeadState) -> HeadState:
    """Note that everything answered once."""
    ready = replace(known, ready=True)
    state.save(settings, ready)
    return ready


def kill_nine(known: HeadState) -> None:
    """What a crash of the machine's worst kind does to the head; for recovery drills."""
    if known.head is not None and known.head.alive:
        os.kill(known.head.pid, signal.SIGKILL)
