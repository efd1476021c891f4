"""Several actors that divide the channels among them, seen as the one service that they are together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any, TypeVar, cast

from core.schemas.health import Health

P = TypeVar("P")
_WORST = ("ok", "degraded", "broken")


def _worst(answers: Sequence[Health]) -> Health:
    worst = max(answers, key=lambda health: _WORST.index(health.status))
    return Health(worst.service, worst.status, worst.did, worst.pid, {"shards": [a.status for a in answers]})


def _total(answers: Sequence[Any]) -> Any:
    """Sum of whole numbers, or of reports that hold nothing else."""
    if isinstance(answers[0], int):
        return sum(answers)
    return type(answers[0])(*(sum(getattr(a, f.name) for a in answers) for f in fields(answers[0])))


#: what every shard has to do, and how their answers become one
_TOGETHER: dict[str, Callable[[Sequence[Any]], Any]] = {
    "health": _worst,
    "catch_up": _total,
    "deliver": _total,
    "send_reports": _total,
}


@dataclass(frozen=True)
class ShardedService:
    """Asks every shard to do its part of the work; all else any shard knows, because they share the database."""

    shards: tuple[Any, ...]

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("_"):
            raise AttributeError(method)
        if method not in _TOGETHER:
            one: Callable[..., Any] = getattr(self.shards[0], method)
            return one

        def call(*args: Any, **kwargs: Any) -> Any:
            with ThreadPoolExecutor(len(self.shards)) as pool:
                answers = pool.map(lambda shard: getattr(shard, method)(*args, **kwargs), self.shards)
                return _TOGETHER[method](list(answers))

        return call


def sharded(protocol: type[P], shards: Sequence[P]) -> P:
    """The service that some shards are together, typed as their protocol; a single one is it itself."""
    return shards[0] if len(shards) == 1 else cast(P, ShardedService(tuple(shards)))
