"""Stands for a canary's Serve application, which lives outside: a handle whose calls can be made to go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from ray.exceptions import ActorDiedError

from serve_apps.predictor.arms import Model


@dataclass
class Response:
    """What a handle's call returns: awaited in the loop, or asked for its result in a thread."""

    call: Any
    slow: bool = False
    cancelled: bool = False

    def __await__(self) -> Generator[Any, None, Any]:
        return self._run().__await__()

    async def _run(self) -> Any:
        if self.slow:
            await asyncio.sleep(60)
        return self.call()

    def result(self, timeout_s: float) -> Any:
        if self.slow:
            raise TimeoutError(f"no result in {timeout_s} s")
        return self.call()

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Method:
    """One method of the handle."""

    run: Any
    owner: StandIn

    def remote(self, *args: Any) -> Response:
        self.owner.calls += 1
        return Response(lambda: self.run(*args), slow=self.owner.trouble == "slow")


@dataclass
class StandIn:
    """trouble: "" (well), slow, dead, wrong (an exception), nonsense (numbers that make no sense)."""

    version: int
    model: Model
    trouble: str = ""
    calls: int = field(default=0)

    @property
    def score(self) -> Method:
        return Method(self._score, self)

    @property
    def served_version(self) -> Method:
        return Method(self._version, self)

    def _version(self) -> int:
        if self.trouble == "dead":
            raise ActorDiedError
        return self.version

    def _score(self, vectors: Any, bases: Any) -> Any:
        if self.trouble == "dead":
            raise ActorDiedError
        if self.trouble == "wrong":
            raise ValueError("wrong shape")
        scores = self.model.predict(vectors, bases)
        return {t: -v for t, v in scores.items()} if self.trouble == "nonsense" else scores
