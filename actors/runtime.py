"""Between services: named detached actors, and remote proxies that satisfy the protocols of the classes behind them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError, RayActorError, RayTaskError

from core.errors import AnalyticBotError, Broken, ServiceUnavailable

NAMESPACE = "analyticbot"

P = TypeVar("P")


@dataclass(frozen=True)
class RemoteService:
    """Calls a named actor like a local object; picklable, and finds the actor again after it died.

    A call that an actor's death cut short is repeated (protocol methods may be called again without harm) until
    `patience_s` is over, then raises ServiceUnavailable. Typed errors of the service arrive as they were raised.
    """

    name: str
    timeout_s: float = 60.0
    patience_s: float = 60.0

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("_"):
            raise AttributeError(method)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._call(method, args, kwargs)

        return call

    def _call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        give_up = time.monotonic() + self.patience_s
        pause = 0.05
        while True:
            try:
                handle = ray.get_actor(self.name, namespace=NAMESPACE)
                return ray.get(getattr(handle, method).remote(*args, **kwargs), timeout=self.timeout_s)
            except RayTaskError as error:
                if isinstance(error.cause, AnalyticBotError):
                    raise error.cause from error
                raise Broken(f"{self.name}.{method} failed: {error.cause!r}", service=self.name) from error
            except GetTimeoutError as error:
                raise ServiceUnavailable(
                    f"{self.name}.{method} gave no answer within {self.timeout_s:g} s", service=self.name
                ) from error
            except (ActorUnavailableError, ActorDiedError, RayActorError, ValueError) as error:
                # ValueError: no actor of that name, yet or again.
                if time.monotonic() >= give_up:
                    why = "no actor of that name" if isinstance(error, ValueError) else str(error).splitlines()[0]
                    raise ServiceUnavailable(f"{self.name} is not running: {why}", service=self.name) from error
                time.sleep(pause)
                pause = min(pause * 2, 1.0)


def remote(protocol: type[P], name: str, *, timeout_s: float = 60.0, patience_s: float = 60.0) -> P:
    """A proxy of the named actor, typed as the protocol that it implements."""
    return cast(P, RemoteService(name, timeout_s, patience_s))
