"""Puts a roll-out's intents into effect on Ray Serve: the canary's own application, and the split in every router."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
import structlog
from ray.exceptions import RayError

from core.clock import Clock
from core.errors import NotConfigured, ServiceUnavailable
from core.protocols.traffic import Readiness
from core.schemas.rollouts import SplitReport, TrafficSplit
from core.store.database import Database
from core.store.splits import SplitStore


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """As if a module that nothing here needs were not installed."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


# Serve imports pandas where it can, to encode data frames; it is half of the import, and after the death of a
# controller the roll-out waits for it.
with _hidden("pandas"):
    from ray import serve
    from ray.serve.exceptions import RayServeException
    from ray.serve.schema import ApplicationStatus

_log = structlog.get_logger(__name__)

#: Builds the Serve application of a version on trial; picklable, given by the layer above.
CanaryFactory = Callable[[str, int], Any]

#: The last line of a traceback: `package.Error: what happened`.
_ERROR = re.compile(r"[\w.]+: \S")

_GOING = (ApplicationStatus.DEPLOYING, ApplicationStatus.RUNNING, ApplicationStatus.UNHEALTHY)


def canary_app(model: str, version: int) -> str:
    """Name of the Serve application of a version on trial."""
    return f"canary-{model}-{version}"


class ServeActuator:
    """The table of splits is what counts; telling the routers at once only makes it faster (they look every tick).

    Picklable before first use. Calls come from plain threads of an actor, never from an event loop.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        build_canary: CanaryFactory,
        *,
        predictor_app: str = "predictor",
        timeout_s: float = 2.0,
    ) -> None:
        self._splits = SplitStore(database)
        self._clock = clock
        self._build_canary = build_canary
        self._predictor_app = predictor_app
        self._timeout_s = timeout_s
        self._handle: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_handle": None}

    def warm(self, model: str, version: int) -> None:
        """Start the canary's application, unless it is there; returns before it answers."""
        name = canary_app(model, version)
        status = _status(name)
        if status in _GOING:
            return
        if status is ApplicationStatus.DELETING:
            raise ServiceUnavailable(f"{name} is still being taken away", application=name)
        if status is ApplicationStatus.DEPLOY_FAILED:
            return  # `ready` says why
        target = serve.RunTarget(target=self._build_canary(model, version), name=name, route_prefix=None)
        try:
            # serve.run would wait for RUNNING, which a version that cannot be loaded never reaches.
            serve.api._run_many(
                [target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False
            )
        except (RayServeException, RayError) as error:
            raise ServiceUnavailable(f"{name} could not be started: {error}", application=name) from error

    def ready(self, model: str, version: int) -> Readiness:
        """RUNNING is ready; DEPLOY_FAILED says why it never will be."""
        name = canary_app(model, version)
        found = _overview().get(name)
        if found is None:
            return Readiness(False)
        if found.status == ApplicationStatus.DEPLOY_FAILED:
            return Readiness(False, failed=_reason(found))
        return Readiness(found.status == ApplicationStatus.RUNNING)

    def set_split(self, split: TrafficSplit) -> None:
        """Store, then push to every replica; a push that fails is made up for by the replicas' own look."""
        stored = self._splits.write(split, self._clock)
        try:
            self._broadcast("apply_split", stored)
        except ServiceUnavailable as error:
            _log.warning("split stored, not pushed", model=split.model, epoch=split.epoch, error=str(error))

    def renew(self, model: str, epoch: int) -> None:
        """Count up in the table; replicas see it at their next look."""
        self._splits.renew(model, epoch)

    def observed(self, model: str) -> tuple[SplitReport, ...]:
        """Every replica's own word; ServiceUnavailable when they do not answer."""
        return tuple(report for report in self._broadcast("split_report") if report is not None)

    def release(self, model: str, version: int) -> bool:
        """Delete the canary's application; true once Serve has forgotten it."""
        name = canary_app(model, version)
        status = _status(name)
        if status is None or status is ApplicationStatus.NOT_STARTED:
            return True
        if status is not ApplicationStatus.DELETING:
            serve.delete(name, _blocking=False)
        return False

    def _broadcast(self, method: str, *args: Any) -> list[Any]:
        # The handle is kept whatever happens: each one costs memory for good, and finds new replicas by itself.
        try:
            if self._handle is None:
                self._handle = serve.get_app_handle(self._predictor_app)
            answers: list[Any] = self._handle.broadcast(method, *args).results(timeout_s=self._timeout_s)
        except (RayServeException, RayError, TimeoutError, RuntimeError) as error:
            raise ServiceUnavailable(f"{self._predictor_app}.{method} got no answer: {error!r}") from error
        return answers


def _overview() -> dict[str, Any]:
    if not ray.is_initialized():
        raise NotConfigured("there is no Ray session in this process: start the application with `analyticbot up`")
    try:
        # Asks for the running controller first: otherwise deploying would start a second Serve with default ports.
        serve.context._get_global_client()
        return dict(serve.status().applications)
    except (RayServeException, RayError, TimeoutError) as error:
        raise ServiceUnavailable(f"Serve's controller does not answer: {error!r}") from error


def _status(name: str) -> ApplicationStatus | None:
    found = _overview().get(name)
    return None if found is None else ApplicationStatus(found.status)


def _reason(application: Any) -> str:
    """The error itself, from below the traceback in a deployment's message."""
    messages = [deployment.message for deployment in application.deployments.values()]
    lines = [line.strip() for message in messages for line in message.splitlines() if _ERROR.match(line.strip())]
    return lines[-1] if lines else application.message or "Serve gave no reason"
