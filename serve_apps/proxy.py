"""Serve applications as services: calls a deployment like a local object, with the typed errors that it raised.

Serve is imported with the first call: it takes 90 MB, and an actor that holds such a service may never ask it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ray.exceptions import RayActorError, RayTaskError

from core.errors import AnalyticBotError, Broken, ServiceUnavailable

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

P = TypeVar("P")


@dataclass(frozen=True)
class ServedService:
    """Blocking calls to the ingress deployment of an application; picklable. Not to be used inside an event loop."""

    app: str
    timeout_s: float = 30.0

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("_"):
            raise AttributeError(method)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._call(method, args, kwargs)

        return call

    def _call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        from ray.serve.exceptions import RayServeException

        try:
            response = getattr(_handle(self.app), method).remote(*args, **kwargs)
            return response.result(timeout_s=self.timeout_s)
        except RayTaskError as error:
            if isinstance(error.cause, AnalyticBotError):
                raise error.cause from error
            raise Broken(f"{self.app}.{method} failed: {error.cause!r}", service=self.app) from error
        except TimeoutError as error:
            raise ServiceUnavailable(
                f"{self.app}.{method} gave no answer within {self.timeout_s:g} s", service=self.app
            ) from error
        except (RayActorError, RayServeException) as error:
            raise ServiceUnavailable(f"{self.app} is not running: {error}", service=self.app) from error


@cache
def _handle(app: str) -> DeploymentHandle[Any]:
    """One handle an application and process: each costs a task and some memory, and survives redeployments."""
    from ray import serve

    return serve.get_app_handle(app)


def served(protocol: type[P], app: str, *, timeout_s: float = 30.0) -> P:
    """A proxy of the application, typed as the protocol that it implements."""
    return cast(P, ServedService(app, timeout_s))
