"""Several actors that divide the channels among them, seen as the one service that they are together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from core.protocols import AnomalyService
from core.schemas.analytics import AnomalyFinding
from core.schemas.health import Health

T = TypeVar("T")
_WORST = ("ok", "degraded", "broken")


@dataclass(frozen=True)
class ShardedAnomaly:
    """Asks every shard; a channel belongs to one of them, so answers only need to be put together."""

    shards: tuple[AnomalyService, ...]

    def catch_up(self) -> int:
        """Number of new findings of all shards."""
        return sum(self._each(lambda shard: shard.catch_up()))

    def findings(self, channel: str | None = None, since: int | None = None) -> tuple[AnomalyFinding, ...]:
        """Newest first; findings are shared through the database, so any shard knows all of them."""
        return self.shards[0].findings(channel, since)

    def health(self) -> Health:
        """The worst of the shards'."""
        answers = self._each(lambda shard: shard.health())
        worst = max(answers, key=lambda health: _WORST.index(health.status))
        return Health(worst.service, worst.status, worst.did, worst.pid, {"shards": [a.status for a in answers]})

    def _each(self, ask: Callable[[AnomalyService], T]) -> list[T]:
        with ThreadPoolExecutor(len(self.shards)) as pool:
            return list(pool.map(ask, self.shards))
