"""What `up` left behind for `down`, `status` and clients: one JSON file in `home`, and whether it is still true."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from cluster.ports import Ports
from cluster.processes import Identity
from core.codec import from_json, to_json
from core.errors import InvalidInput, StorageBroken
from core.settings import Settings

FILE = "cluster.json"


@dataclass(frozen=True, slots=True)
class HeadState:
    """A head that was started, and what was put on it."""

    id: str  # marks every process of this head in its environment
    head: Identity | None  # None: a cluster that somebody else started (`ray_address`)
    boot: str
    address: str
    host: str
    ports: Ports
    ray_dir: str
    token_file: str
    started_at: int
    ready: bool = False
    deployed: dict[str, str] = field(default_factory=dict)  # service -> fingerprint of code and settings

    @property
    def http_url(self) -> str:
        """Where the service answers."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        return f"http://[{host}]:{self.ports.http}" if ":" in host else f"http://{host}:{self.ports.http}"

    @property
    def dashboard_url(self) -> str:
        """Ray's dashboard and job server."""
        return f"http://127.0.0.1:{self.ports.dashboard}"

    @property
    def alive(self) -> bool:
        """Whether the head process is the one that was started, since this boot of the machine.

        Of a foreign cluster this is not known before connecting; it is taken as alive.
        """
        return self.head is None or (self.boot == boot_id() and self.head.alive)

    def with_deployed(self, service: str, fingerprint: str) -> HeadState:
        """With a service noted."""
        return replace(self, deployed={**self.deployed, service: fingerprint})


def path(settings: Settings) -> Path:
    """Where the state lies."""
    return settings.home.absolute() / FILE


def load(settings: Settings) -> HeadState | None:
    """The state written last, true or stale; None when nothing was started. StorageBroken when unreadable."""
    where = path(settings)
    try:
        return from_json(HeadState, where.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, InvalidInput) as error:
        raise StorageBroken(f"{where}: cannot be read ({error}): move it away, then `analyticbot up`") from error


def running(settings: Settings) -> HeadState | None:
    """The state, only when its head runs."""
    state = load(settings)
    return state if state is not None and state.alive else None


def save(settings: Settings, state: HeadState) -> None:
    """Write under another name, then rename: a reader sees the old or the new one, never half."""
    where = path(settings)
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        partial = where.with_suffix(f".{os.getpid()}.tmp")
        partial.write_text(to_json(state))
        partial.replace(where)
    except OSError as error:
        raise StorageBroken(f"{where}: cannot be written ({error.strerror})") from error


def remove(settings: Settings) -> None:
    """Forget it."""
    path(settings).unlink(missing_ok=True)


def boot_id() -> str:
    """Names this boot of the machine: process ids of an earlier one say nothing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil

        return f"{psutil.boot_time():.0f}"
