"""Answers kept by (question, data version): new data asks a new key, so nothing stale is ever given.

Simultaneous askers of one question wait for one computation (single flight). In the process by default; with a Redis
URL replicas share answers through it, and each still keeps its own in front.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol, TypeVar, cast

import structlog
from cachetools import TTLCache

from core.codec import from_json, to_json
from core.errors import InvalidInput

T = TypeVar("T")
Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What a cache did in this process; hits include askers who waited for another's computation."""

    hits: int = 0
    shared_hits: int = 0  # of the hits, those that Redis had
    misses: int = 0
    failures: int = 0  # Redis did not answer, or held something unreadable: the answer was computed
    size: int = 0

    @property
    def hit_rate(self) -> float | None:
        """hits / questions; None before the first question."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else None


class Shared(Protocol):
    """A store of texts that replicas share."""

    def get(self, key: str) -> str | None:
        """The text under a key; None: not there."""
        ...

    def put(self, key: str, text: str, ttl_s: float) -> None:
        """Store a text for a while."""
        ...


class RedisTexts:
    """Redis as the shared store; connects on first use and travels to other processes as its URL."""

    def __init__(self, url: str, prefix: str = "analyticbot:cache:", timeout_s: float = 0.5) -> None:
        self.url, self.prefix, self.timeout_s = url, prefix, timeout_s
        self._client: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return RedisTexts, (self.url, self.prefix, self.timeout_s)

    @property
    def client(self) -> Any:
        """The connection pool, made on first use."""
        if self._client is None:
            import redis

            self._client = redis.Redis.from_url(
                self.url, socket_timeout=self.timeout_s, socket_connect_timeout=self.timeout_s, decode_responses=True
            )
        return self._client

    def get(self, key: str) -> str | None:
        """The text under a key; None: not there."""
        return cast("str | None", self.client.get(self.prefix + key))

    def put(self, key: str, text: str, ttl_s: float) -> None:
        """Store a text for a while."""
        self.client.set(self.prefix + key, text, px=max(1, int(ttl_s * 1000)))


class Cache:
    """At most `size` answers, each for at most `ttl_s` seconds; safe to use from many threads."""

    def __init__(
        self,
        size: int = 2048,
        ttl_s: float = 3600.0,
        shared: Shared | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.size, self.ttl_s, self.shared, self.monotonic = size, ttl_s, shared, monotonic
        self._kept: TTLCache[Key, Any] = TTLCache(size, ttl_s, timer=monotonic)
        self._running: dict[Key, Future[Any]] = {}
        self._lock = threading.Lock()
        self._counts = {"hits": 0, "shared_hits": 0, "misses": 0, "failures": 0}

    def __reduce__(self) -> tuple[Any, ...]:
        # Contents stay behind: another process starts with an empty one.
        return Cache, (self.size, self.ttl_s, self.shared, self.monotonic)

    def stats(self) -> CacheStats:
        """Counters since this process began."""
        with self._lock:
            return CacheStats(**self._counts, size=len(self._kept))

    def fetch(self, kind: type[T], question: str, version: int, compute: Callable[[], T]) -> T:
        """The kept answer, or the computed one, which is then kept.

        kind: the answer's type (needed to read it back from Redis). An error of `compute` reaches every asker that
        waited for it and is not kept.
        """
        key = (question, version)
        with self._lock:
            if key in self._kept:
                self._counts["hits"] += 1
                return cast(T, self._kept[key])
            running = self._running.get(key)
            if running is None:
                mine: Future[Any] = Future()
                self._running[key] = mine
            else:
                self._counts["hits"] += 1
        if running is not None:
            return cast(T, running.result())
        return self._answer(kind, key, compute, mine)

    def _answer(self, kind: type[T], key: Key, compute: Callable[[], T], mine: Future[Any]) -> T:
        try:
            value = self._from_shared(kind, key)
            found = value is not None
            if value is None:
                value = compute()
        except BaseException as error:
            with self._lock:
                self._counts["misses"] += 1
                del self._running[key]
            mine.set_exception(error)
            raise
        with self._lock:
            self._kept[key] = value
            del self._running[key]
            self._counts["hits" if found else "misses"] += 1
            self._counts["shared_hits"] += found
        mine.set_result(value)
        if not found:
            self._to_shared(key, value)
        return value

    def _from_shared(self, kind: type[T], key: Key) -> T | None:
        if self.shared is None:
            return None
        try:
            text = self.shared.get(_name(key))
            return None if text is None else from_json(kind, text)
        except _shared_failures() as error:
            self._failed("read", error)
            return None

    def _to_shared(self, key: Key, value: Any) -> None:
        if self.shared is None:
            return
        try:
            self.shared.put(_name(key), to_json(value), self.ttl_s)
        except _shared_failures() as error:
            self._failed("write", error)

    def _failed(self, what: str, error: BaseException) -> None:
        # An answer is worth more than a kept answer: it is computed, and the failure is counted and told.
        with self._lock:
            self._counts["failures"] += 1
        structlog.get_logger(__name__).warning("shared cache failed", what=what, error=str(error))


def _name(key: Key) -> str:
    question = blake2b(key[0].encode(), digest_size=16).hexdigest()
    return f"{question}:{key[1]}"


def _shared_failures() -> tuple[type[BaseException], ...]:
    from redis.exceptions import RedisError

    return (RedisError, OSError, InvalidInput)


def make_cache(redis_url: str | None = None, size: int = 2048, ttl_s: float = 3600.0) -> Cache:
    """The cache that the settings ask for."""
    return Cache(size, ttl_s, shared=RedisTexts(redis_url) if redis_url else None)
