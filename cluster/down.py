"""Takes everything down: the head with all of its processes, or, on a foreign cluster, only what is ours."""

from __future__ import annotations

import time

from cluster import head, state, topology
from cluster.head import Stopped
from cluster.up import connect_ray, only_one
from core.errors import Broken
from core.settings import Settings


def down(settings: Settings) -> Stopped:
    """End what `up` and the demonstration started, and prove it; stored data stays. Broken when something survives."""
    begun = time.monotonic()
    story = settings.model_copy(update={"home": settings.home.absolute() / "story"})  # the demonstration's own home
    parts = [_down(part) for part in (story, settings) if state.load(part) is not None]
    return Stopped(any(p.was_running for p in parts), sum(p.ended for p in parts), time.monotonic() - begun)


def _down(settings: Settings) -> Stopped:
    with only_one(settings):
        known = state.load(settings)
        if known is not None and known.head is None:
            return _leave(settings)
        return head.stop(settings)


def _leave(settings: Settings) -> Stopped:
    """Take our services off a cluster that somebody else runs."""
    begun = time.monotonic()
    known = state.load(settings)
    assert known is not None
    connect_ray(settings, known)
    import ray
    from ray import serve

    from cluster import detached

    shape = topology.load(settings.profile)
    for name in shape.of_kind("serve"):
        serve.delete(name)
    ended = []
    for service in shape.of_kind("actor"):
        for name in shape.actor_names(service):
            handle = detached.find(name)
            if handle is not None:
                ray.kill(handle)
                ended.append(name)
    time.sleep(0.5)
    left = [name for name in ended if detached.find(name) is not None]
    if left:
        raise Broken(f"actors {', '.join(left)} do not end", actors=left)
    state.remove(settings)
    return Stopped(True, len(ended), time.monotonic() - begun)
