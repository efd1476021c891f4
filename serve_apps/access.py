"""Decides who may ask: nobody needs a key on loopback, everybody does elsewhere; scopes follow method and path."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import anyio.to_thread
from cachetools import TTLCache
from starlette.types import ASGIApp, Receive, Scope, Send

from core.errors import AnalyticBotError, Forbidden, Unauthorized
from core.store.keys import ApiKey, KeyStore
from core.store.keys import Scope as KeyScope
from serve_apps import problems

#: paths that say nothing about anybody's data
OPEN = frozenset({"/healthz", "/readyz"})
#: questions that are too long for an address: nothing is stored
ASKED = frozenset({"/v1/content"})
#: changes to these need an admin's key
ADMIN = ("/v1/models", "/v1/rollouts", "/v1/workflows", "/v1/loop", "/v1/tasks", "/v1/drift")
#: a revoked key is refused after this many seconds at the latest
REMEMBER_S = 5.0


def scope_of(method: str, path: str) -> KeyScope:
    """What a request needs: reading, writing, or steering models."""
    if method in ("GET", "HEAD", "OPTIONS") or path in ASKED:
        return "read"
    return "admin" if path.startswith(ADMIN) else "write"


def secret_of(headers: dict[bytes, bytes]) -> str | None:
    """The key in `Authorization: Bearer …` or `X-API-Key: …`."""
    bearer = headers.get(b"authorization", b"").decode("latin-1")
    if bearer[:7].lower() == "bearer ":
        return bearer[7:].strip() or None
    return headers.get(b"x-api-key", b"").decode("latin-1").strip() or None


@dataclass
class Door:
    """Checks keys, remembering good ones for a few seconds."""

    keys: KeyStore
    tenant: str
    required: bool
    remember_s: float = REMEMBER_S
    _known: TTLCache[str, ApiKey] = field(init=False)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._known = TTLCache(maxsize=1024, ttl=self.remember_s)

    async def admit(self, method: str, path: str, headers: dict[bytes, bytes]) -> None:
        """Return, or raise Unauthorized or Forbidden."""
        if not self.required or path in OPEN:
            return
        secret = secret_of(headers)
        if secret is None:
            raise Unauthorized("an API key is needed: send it as `Authorization: Bearer …` or `X-API-Key: …`")
        key = await self._key(secret)
        if key is None or key.tenant != self.tenant:
            raise Unauthorized("this API key is not known here, or was revoked")
        needed = scope_of(method, path)
        if not key.allows(needed):
            raise Forbidden(f"the key {key.name!r} does not cover {needed!r}", scope=needed)

    async def _key(self, secret: str) -> ApiKey | None:
        with self._lock:
            known = self._known.get(secret)
        if known is not None:
            return known
        key = await anyio.to_thread.run_sync(self.keys.verify, secret)
        if key is not None:
            with self._lock:
                self._known[secret] = key
        return key


class Guard:
    """The door as a layer around an app."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            try:
                await self._door.admit(scope["method"], scope["path"], dict(scope["headers"]))
            except AnalyticBotError as error:
                await problems.response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)
