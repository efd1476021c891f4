"""Two ways to stand up what loses its power: a group of plain processes, and the whole application on Ray."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import httpx2

from bench._power_host import PARTS, Place
from cluster.ports import free_port

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 240.0


class Way(Protocol):
    """Something that is started and killed as a whole, again and again."""

    @property
    def fed(self) -> int:
        """Up to which moment of the data the feed was acknowledged, by any start so far."""
        ...

    def start(self, *, feeding: bool = True, kill_after: float | None = None) -> str | None:
        """The URL, as soon as it answers; None: killed before. kill_after: seconds from now, ready or not."""
        ...

    def kill(self) -> None:
        """SIGKILL to every process at once; returns before they have ended."""
        ...

    def ended(self) -> bool:
        """Whether none of its processes is left."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


def environment(**more: str) -> dict[str, str]:
    """This process's environment without settings of another deployment."""
    mine = ("ANALYTICBOT_", "RAY_", "DATABASE_URL", "REDIS_URL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | more


def until(true: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait; RuntimeError when it never comes true."""
    give_up = time.monotonic() + patience_s
    while not true():
        if time.monotonic() > give_up:
            raise RuntimeError(f"not within {patience_s:g} s: {what}")
        time.sleep(0.02)


def _answers(client: httpx2.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/healthz").is_success
    except httpx2.HTTPError:
        return False


@dataclass
class _Told:
    """What the lines of a process group said so far."""

    imported: bool = False
    group: int = 0
    url: str | None = None
    ended: bool = True
    fed: int = 0
    died: list[str] = field(default_factory=list)

    def read(self, lines: IO[bytes]) -> None:
        """Take lines until the writers are gone."""
        for line in lines:
            event: dict[str, Any] = json.loads(line)
            self.imported |= "nursery" in event
            self.url = event.get("url", self.url)
            self.fed = max(self.fed, event.get("fed", 0))
            if "group" in event:
                self.group = event["group"]
            if "died" in event:
                self.died.append(f"{event['died']} ended by itself with code {event['code']}")
            self.ended |= event.get("ended") == self.group and "ended" in event


class Embedded:
    """The services without Ray, forked from a nursery. cold: a new nursery each time, so that imports count too."""

    def __init__(self, place: Place, log: Path, *, cold: bool = False) -> None:
        self._place, self._log, self._cold = place, log, cold
        self._told = _Told()
        self._nursery: subprocess.Popen[bytes] | None = None
        self._hatch()

    @property
    def fed(self) -> int:
        """Up to which moment of the data the feed was acknowledged."""
        return self._told.fed

    def start(self, *, feeding: bool = True, kill_after: float | None = None) -> str | None:
        """Fork the group and wait until it answers."""
        told = self._told
        timer = None if kill_after is None else threading.Timer(kill_after, self.kill)
        if timer is not None and self._cold:
            timer.start()
        self._hatch()
        until(lambda: told.imported or self._gone, "the imports")
        assert self._nursery is not None
        assert self._nursery.stdin is not None
        told.group, told.url, told.ended = 0, None, self._gone
        if not told.ended:
            self._order(self._nursery.stdin, PARTS if feeding else PARTS[:-1])
            until(lambda: told.group != 0 or self._gone, "the group")
            if timer is not None and not self._cold:
                timer.start()
        until(lambda: told.url is not None or self.ended(), "the URL")
        with httpx2.Client(
            timeout=5.0, verify=False
        ) as client:  # plain HTTP: certificates would only take time to load
            until(lambda: self.ended() or (told.url is not None and _answers(client, told.url)), "an answer")
        self._complain()
        return None if self.ended() else told.url

    @property
    def _gone(self) -> bool:
        return self._nursery is None or self._nursery.poll() is not None

    def kill(self) -> None:
        """SIGKILL to the whole group, in one system call."""
        group = self._told.group
        if group and not self._told.ended:
            with suppress(ProcessLookupError):  # a group without its nursery may have ended unseen
                os.killpg(group, signal.SIGKILL)
        if self._cold and self._nursery is not None:
            self._nursery.kill()

    def ended(self) -> bool:
        """Whether the nursery has seen the end of every child."""
        self._complain()
        return self._told.ended or self._gone

    def close(self) -> None:
        """Kill what runs, and the nursery; a group without its nursery is killed by the kernel."""
        self.kill()
        if self._nursery is not None:
            self._nursery.kill()
            self._nursery.wait(30)

    def _hatch(self) -> None:
        """Start a nursery unless one lives."""
        if not self._gone:
            return
        self._told.imported = False
        with self._log.open("ab") as log:
            self._nursery = subprocess.Popen(
                self._place.command("nursery"),
                env=environment(RAY_AUTH_MODE="disabled"),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        threading.Thread(target=self._told.read, args=(self._nursery.stdout,), daemon=True).start()

    def _order(self, stdin: IO[bytes], parts: Sequence[str]) -> None:
        try:
            stdin.write(" ".join(parts).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            if not self._cold:  # there the nursery may have been killed in this very moment, as was asked for
                raise

    def _complain(self) -> None:
        if self._told.died:
            raise RuntimeError(f"{'; '.join(self._told.died)}: {self._log.read_text()[-3000:]}")


class Cluster:
    """The real thing: `analyticbot up` with all of its processes, and the feed beside it."""

    def __init__(self, place: Place, log: Path) -> None:
        from core.settings import Settings

        self._place, self._log = place, log
        self._settings = Settings(home=Path(place.home), http_port=free_port())
        self._told = _Told()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._env = environment(
            ANALYTICBOT_HOME=place.home,
            ANALYTICBOT_HTTP_PORT=str(self._settings.http_port),
            ANALYTICBOT_CLOCK="replay",
            ANALYTICBOT_AUTO_TRAIN="false",
            ANALYTICBOT_AUTO_ROLLOUT="false",
            DATABASE_URL=place.database,
        )

    @property
    def fed(self) -> int:
        """Up to which moment of the data the feed was acknowledged."""
        return self._told.fed

    def start(self, *, feeding: bool = True, kill_after: float | None = None) -> str | None:
        """`analyticbot up`, and the feed at the same time; `up` itself is one of those that may be killed."""
        up = self._run([sys.executable, "-m", "cluster.cli", "up", "--json"], self._log)
        timer = None if kill_after is None else threading.Timer(kill_after, self.kill)
        if timer is not None:
            timer.start()
        if feeding:
            fed = self._run(self._place.command("feed"), None)
            threading.Thread(target=self._told.read, args=(fed.stdout,), daemon=True).start()
        code = up.wait(PATIENCE_S)
        if code == -signal.SIGKILL:
            return None
        if code != 0:
            raise RuntimeError(f"`up` ended with code {code}: {self._log.read_text()[-3000:]}")
        return f"http://127.0.0.1:{self._settings.http_port}"

    def kill(self) -> None:
        """SIGKILL to every member, until none is found: what is forked while we look is killed as well."""
        for _ in range(20):
            for process in self._processes:
                if process.poll() is None:
                    process.kill()
            found = self._members()
            for member in found:
                _kill(member)
            if not found:
                return

    def ended(self) -> bool:
        """Whether no member of the last head is left."""
        return all(process.poll() is not None for process in self._processes) and not self._members()

    def close(self) -> None:
        """Kill, clear away what the head left, and remove Ray's directory."""
        from cluster import environment as cluster_environment

        self.kill()
        down = [sys.executable, "-m", "cluster.cli", "down"]
        subprocess.run(down, env=self._env, cwd=ROOT, capture_output=True, timeout=120, check=True)
        shutil.rmtree(cluster_environment.ray_dir(self._settings), ignore_errors=True)

    def _members(self) -> list[int]:
        from cluster import processes, state

        known = state.load(self._settings)
        if known is None or known.head is None:
            return []
        return [process.pid for process in processes.members(known.head, known.id)]

    def _run(self, command: list[str], said: Path | None) -> subprocess.Popen[bytes]:
        self._processes = [process for process in self._processes if process.poll() is None]
        with self._log.open("ab") as log:
            out: Any = subprocess.PIPE if said is None else log
            process = subprocess.Popen(command, env=self._env, cwd=ROOT, stdout=out, stderr=log)
        self._processes.append(process)
        return process


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):  # it ended with its parent
        os.kill(pid, signal.SIGKILL)
