"""How routes answer: blocking services in threads, JSON with an ETag, lists a page at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any, Generic, ParamSpec, TypeVar

import anyio.to_thread
from fastapi import Request, Response

from core.codec import to_json

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """A blocking call, off the event loop; a caller that goes away does not wait for it."""
    return await anyio.to_thread.run_sync(partial(call, *args, **kwargs), abandon_on_cancel=True)


def json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A schema as JSON."""
    return Response(to_json(value), status, headers, media_type="application/json")


def cached(request: Request, value: Any) -> Response:
    """A schema as JSON with an ETag; 304 without a body where the asker has it already."""
    body = to_json(value).encode()
    tag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    known = [part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list; `cursor` asks for the next ones, None at the end."""

    items: tuple[T, ...]
    cursor: str | None = None


def page(items: Sequence[T], name: Callable[[T], str], cursor: str | None, limit: int) -> Page[T]:
    """The items after the one that a cursor names (all of them, if it is gone, from the next greater name on)."""
    ordered = sorted(items, key=name)
    rest = ordered if cursor is None else [item for item in ordered if name(item) > cursor]
    shown = tuple(rest[:limit])
    return Page(shown, name(shown[-1]) if len(rest) > limit else None)
