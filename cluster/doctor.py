"""Examines a deployment: each check does the real thing and answers with one line."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

from cluster import ports, processes, state
from cluster.up import make_plan
from core.errors import AnalyticBotError
from core.settings import Settings

#: Ray spills and refuses to create objects on a fuller disk.
_DISK_SHARE, _DISK_GB = 0.05, 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's answer."""

    check: str
    ok: bool
    said: str


def examine(settings: Settings) -> tuple[Finding, ...]:
    """All checks, in the order in which a person would look."""
    checks: tuple[tuple[str, Callable[[Settings], tuple[bool, str]]], ...] = (
        ("python", _python),
        ("home", _home),
        ("disk", _disk),
        ("resources", _resources),
        ("port", _port),
        ("database", _database),
        ("artifacts", _artifacts),
        ("redis", _redis),
        ("cluster", _cluster),
    )
    return tuple(Finding(name, *_guarded(check, settings)) for name, check in checks)


def _guarded(check: Callable[[Settings], tuple[bool, str]], settings: Settings) -> tuple[bool, str]:
    """A check that itself cannot be made is a finding as well."""
    try:
        return check(settings)
    except AnalyticBotError as error:
        return False, error.message
    except OSError as error:
        return False, str(error)


def _python(_settings: Settings) -> tuple[bool, str]:
    found = ".".join(map(str, sys.version_info[:3]))
    return (3, 11) <= sys.version_info[:2] < (3, 13), f"{found} (3.11 or 3.12 is needed)"


def _home(settings: Settings) -> tuple[bool, str]:
    settings.home.mkdir(parents=True, exist_ok=True)
    probe = settings.home / ".doctor"
    probe.write_text("ok")
    probe.unlink()
    return True, f"{settings.home} can be written"


def _disk(settings: Settings) -> tuple[bool, str]:
    usage = shutil.disk_usage(settings.home if settings.home.exists() else settings.home.parent)
    free_gb, share = usage.free / 2**30, usage.free / usage.total
    enough = free_gb >= _DISK_GB and share >= _DISK_SHARE
    return enough, f"{free_gb:.1f} GB free, {share:.0%} (at least {_DISK_GB:g} GB and {_DISK_SHARE:.0%} are needed)"


def _resources(settings: Settings) -> tuple[bool, str]:
    _, plan = make_plan(settings)
    if plan.problems:
        return False, "; ".join(plan.problems)
    return True, f"{plan.cpu:.2f} of {plan.machine.cpus} CPU, {plan.memory_mb:,} of {plan.machine.memory_mb:,} MB"


def _port(settings: Settings) -> tuple[bool, str]:
    if state.running(settings) is not None:
        return True, f"{settings.http_port} is held by this deployment"
    ports.require_free(settings.http_port, settings.host)
    return True, f"{settings.http_port} on {settings.host} is free"


def _database(settings: Settings) -> tuple[bool, str]:
    from core.store import migrate
    from core.store.database import Database

    database = Database(settings.database)
    try:
        problems = migrate.check(database)
        if problems:
            return False, "; ".join(problems)
        with database.write():
            pass  # takes the write lock, and gives it back
    finally:
        database.dispose()
    return True, f"{'SQLite' if database.is_sqlite else 'PostgreSQL'} at revision {migrate.head()}, whole, writable"


def _artifacts(settings: Settings) -> tuple[bool, str]:
    from core.artifacts import ArtifactStore

    store = ArtifactStore(settings.artifacts)
    probe = {"probe.txt": b"analyticbot doctor"}
    found = store.get(store.put(probe))
    return found == probe, f"{settings.artifacts}: written and read back"


def _redis(settings: Settings) -> tuple[bool, str]:
    if settings.redis_url is None:
        return True, "not configured: a bounded cache in each process is used"
    import redis

    try:
        redis.Redis.from_url(settings.redis_url.get_secret_value(), socket_timeout=3).ping()
    except redis.RedisError as error:
        return False, f"does not answer: {error}"
    return True, "answers"


def _cluster(settings: Settings) -> tuple[bool, str]:
    known = state.load(settings)
    if known is None:
        return True, "not running (start it with `analyticbot up`)"
    if not known.alive:
        left = processes.members(known.head, known.id) if known.head and known.boot == state.boot_id() else []
        return False, f"the head is gone, {len(left)} of its processes are left: `analyticbot down`, then `up`"
    import httpx2

    try:
        answer = httpx2.get(f"{known.http_url}/readyz", timeout=10.0)
    except httpx2.HTTPError as error:
        return False, f"{known.http_url} does not answer ({error!r}): see docs/runbook.md"
    return answer.is_success, f"{known.http_url}/readyz says {answer.status_code}"
