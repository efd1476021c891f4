"""Starts the named detached actors, all at once, and replaces those that an older version left behind."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from actors.runtime import NAMESPACE
from cluster.services import ActorSpec
from cluster.state import HeadState
from core.errors import AnalyticBotError, Broken, ServiceUnavailable
from core.schemas.health import Health


def ensure(specs: Sequence[ActorSpec], prints: Mapping[str, str], known: HeadState) -> dict[str, str]:
    """Create what is missing or out of date; returns the fingerprints of those. Does not wait for constructors."""
    created = {}
    for spec in specs:
        handle = find(spec.name)
        if handle is not None and known.deployed.get(spec.name) == prints[spec.name]:
            continue
        if handle is not None:
            _replace(spec.name, handle)
        options = {
            "name": spec.name,
            "namespace": NAMESPACE,
            "lifetime": "detached",
            "max_restarts": -1,
            "max_task_retries": 0,  # the callers' proxy repeats what may be repeated
            "max_concurrency": spec.concurrency,
            **spec.resources,
        }
        ray.remote(spec.cls).options(**options).remote(**spec.arguments)
        created[spec.name] = prints[spec.name]
    return created


def find(name: str) -> Any | None:
    """The handle of a named actor; None when there is none."""
    try:
        return ray.get_actor(name, namespace=NAMESPACE)
    except ValueError:
        return None


def await_health(specs: Sequence[ActorSpec], *, timeout_s: float = 90.0) -> dict[str, Health]:
    """Every actor's `health()`, so that each one's constructor has run.

    Broken when a constructor failed (with its own error), ServiceUnavailable when it takes too long.
    """
    asked: dict[str, Any] = {spec.name: ray.get_actor(spec.name, namespace=NAMESPACE).health.remote() for spec in specs}
    give_up = time.monotonic() + timeout_s
    answers: dict[str, Health] = {}
    for name, answer in asked.items():
        try:
            answers[name] = ray.get(answer, timeout=max(0.1, give_up - time.monotonic()))
        except GetTimeoutError as error:
            raise ServiceUnavailable(f"{name} did not start within {timeout_s:g} s", service=name) from error
        except RayTaskError as error:
            if isinstance(error.cause, AnalyticBotError):
                raise error.cause from error
            raise Broken(f"{name}.health failed: {error.cause!r}", service=name) from error
        except RayActorError as error:
            raise Broken(f"{name} did not start: {_cause(error)}", service=name) from error
    return answers


def _cause(error: RayActorError) -> str:
    """The constructor's own error: the last line of Ray's account that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else repr(error)


def _replace(name: str, handle: Any) -> None:
    """End an actor for good and wait until its name is free; its state is in the database."""
    ray.kill(handle)
    give_up = time.monotonic() + 15.0
    while find(name) is not None:
        if time.monotonic() > give_up:
            raise Broken(f"the old {name} does not end", service=name)
        time.sleep(0.05)
