"""Sends calls over HTTP: repeats what a crash cut short, and rebuilds the typed error that the service raised."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import httpx2

from cluster.client.calls import Call
from core.codec import from_json
from core.errors import AnalyticBotError, Broken, InvalidInput, ServiceUnavailable, _rebuild
from core.settings import Settings

T = TypeVar("T")

#: Answers of proxies and of services that are restarting or full: asking again may help, and does no harm.
_AGAIN = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Connection:
    """Where, as whom, and with how much patience."""

    url: str
    api_key: str | None
    timeout_s: float
    patience_s: float

    @property
    def headers(self) -> dict[str, str]:
        """Of every request."""
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}


def address(url: str | None, settings: Settings | None) -> str:
    """The URL given, or that of the deployment which runs in the settings' home; ServiceUnavailable without one."""
    if url is not None:
        return url.rstrip("/")
    from cluster import state

    config = settings or Settings()
    known = state.running(config)
    if known is None:
        raise ServiceUnavailable(f"nothing runs in {config.home.absolute()}: start it with `analyticbot up`")
    return known.http_url


class Sender:
    """Blocking."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client = httpx2.Client(base_url=connection.url, headers=connection.headers, timeout=connection.timeout_s)

    def __call__(self, call: Call[T]) -> T:
        """The answer; the service's own typed error; ServiceUnavailable when patience ends."""
        tries = _Tries(self._connection.patience_s if call.patient else 0.0)
        while True:
            try:
                answer: Any = self._client.request(**_request(call))
            except httpx2.TransportError as error:
                answer = error
            if not tries.again(answer):
                return _read(call, answer, self._connection.url)
            time.sleep(tries.pause_s)

    def close(self) -> None:
        """End the connections."""
        self._client.close()


class AsyncSender:
    """Awaited."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client = httpx2.AsyncClient(
            base_url=connection.url, headers=connection.headers, timeout=connection.timeout_s
        )

    async def __call__(self, call: Call[T]) -> T:
        """Like Sender."""
        tries = _Tries(self._connection.patience_s if call.patient else 0.0)
        while True:
            try:
                answer: Any = await self._client.request(**_request(call))
            except httpx2.TransportError as error:
                answer = error
            if not tries.again(answer):
                return _read(call, answer, self._connection.url)
            await asyncio.sleep(tries.pause_s)

    async def close(self) -> None:
        """End the connections."""
        await self._client.aclose()


class _Tries:
    def __init__(self, patience_s: float) -> None:
        self._give_up = time.monotonic() + patience_s
        self.pause_s = 0.05

    def again(self, answer: httpx2.Response | httpx2.TransportError) -> bool:
        """Whether to ask once more, after `pause_s`."""
        if isinstance(answer, httpx2.Response) and not _may_pass(answer):
            return False
        if time.monotonic() + self.pause_s > self._give_up:
            return False
        self.pause_s = min(self.pause_s * 2, 1.0)
        return True


def _may_pass(answer: httpx2.Response) -> bool:
    # Serve's proxy turns a cut connection into a bare 500; our own errors are problem documents.
    return answer.status_code in _AGAIN or (answer.status_code == 500 and not _is_problem(answer))


def _is_problem(answer: httpx2.Response) -> bool:
    return "problem+json" in answer.headers.get("content-type", "")


def _request(call: Call[Any]) -> dict[str, Any]:
    request: dict[str, Any] = {"method": call.method, "url": call.path, "params": dict(call.params)}
    if call.body is not None:
        request["json"] = call.body
    if call.key is not None:
        request["headers"] = {"Idempotency-Key": call.key}
    return request


def _read(call: Call[T], answer: httpx2.Response | httpx2.TransportError, url: str) -> T:
    if isinstance(answer, httpx2.TransportError):
        raise ServiceUnavailable(f"{url} does not answer: {answer!r}", url=url) from answer
    # /readyz says no with a document of its own.
    says_no = not call.patient and answer.status_code == 503 and "json" in answer.headers.get("content-type", "")
    if answer.is_success or (says_no and not _is_problem(answer)):
        if call.kind in (bytes, None):  # a file, or nothing
            return cast(T, answer.content if call.kind is bytes else None)
        try:
            result: T = from_json(call.kind, answer.content)
        except InvalidInput as error:
            raise Broken(
                f"{call.method} {call.path} answered with something else than {call.kind}: {error.message}"
            ) from error
        return result
    raise error_of(answer)


def error_of(answer: httpx2.Response) -> AnalyticBotError:
    """The typed error in a problem document, with its fields; Broken for anything else."""
    if not _is_problem(answer):
        return Broken(f"HTTP {answer.status_code}: {answer.text[:300]}", http_status=answer.status_code)
    problem = answer.json()
    kind = _BY_CODE.get(str(problem.get("type", "")).removeprefix("urn:analyticbot:"), Broken)
    details = {k: v for k, v in problem.items() if k not in ("type", "title", "status", "detail")}
    return _rebuild(kind, str(problem.get("detail", answer.reason_phrase)), details)


def _kinds(root: type[AnalyticBotError]) -> dict[str, type[AnalyticBotError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found |= _kinds(child)
    return found


_BY_CODE = _kinds(AnalyticBotError)
