"""Decides which version answers a request: a channel's place on the circle against the canary's share."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from core.errors import Conflict, InvalidInput

Side = Literal["stable", "canary"]

_CIRCLE = float(1 << 53)


def bucket(model: str, channel_id: int) -> float:
    """A channel's fixed place in [0, 1), independent between models; the same in every process and version."""
    digest = blake2b(f"{model}\0{channel_id}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / _CIRCLE


def side(place: float, weight: float) -> Side:
    """Canary below the weight: as it rises, channels move from stable to canary and never back."""
    return "canary" if place < weight else "stable"


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes, and whether a person chose it."""

    side: Side
    pinned: bool = False


def route(model: str, channel_id: int, *, stable: int, canary: int | None, weight: float, pin: int | None) -> Route:
    """The side that answers; a pin names one of the versions in service, else Conflict."""
    if pin is not None:
        if pin == stable:
            return Route("stable", pinned=True)
        if pin == canary:
            return Route("canary", pinned=True)
        offered = [version for version in (stable, canary) if version is not None]
        raise Conflict(f"version {pin} of {model} is not in service (in service: {offered})", in_service=offered)
    if canary is None:
        return Route("stable")
    return Route(side(bucket(model, channel_id), weight))


def parse_pin(header: str | None) -> int | None:
    """The version in an X-Model-Version header: `3` or `v3`."""
    if header is None or not header.strip():
        return None
    text = header.strip().removeprefix("v")
    if not text.isdecimal() or len(text) > 9:
        raise InvalidInput(f"X-Model-Version: {header!r} is not a version number", field="X-Model-Version")
    return int(text)
