"""Which addresses a webhook may go to: those of the public Internet, unless private ones are allowed."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from core.errors import InvalidInput, Refused, ServiceUnavailable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
#: host and port to the addresses behind them
Resolver = Callable[[str, int], tuple[str, ...]]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a URL points, before its name is resolved."""

    scheme: str
    host: str
    port: int
    netloc: str  # as the Host header says it
    path: str


def parsed(url: str) -> Place:
    """The parts of a webhook's URL; InvalidInput says what is wrong with it, without repeating it."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise InvalidInput("the webhook's address cannot be read as a URL", field="targets") from error
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidInput("a webhook's address begins with https:// or http:// and names a host", field="targets")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("a webhook's address must not hold a user or password", field="targets")
    if not url.isascii() or any(c <= " " for c in url):
        raise InvalidInput(
            "a webhook's address has only ASCII characters without spaces (a shortened one cannot be used again)",
            field="targets",
        )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Place(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), parts.netloc, path)


def resolved(host: str, port: int) -> tuple[str, ...]:
    """Addresses of a host, by the system's resolver; ServiceUnavailable when it has none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise ServiceUnavailable(f"the host {host} cannot be resolved") from error
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def permitted(place: Place, allow_private: bool, resolve: Resolver = resolved) -> tuple[str, ...]:
    """The addresses to connect to; Refused when one of them is not public.

    Whoever connects must connect to these, and not resolve the name again: the answer may change in between.
    """
    found = resolve(place.host, place.port)
    if not allow_private:
        for text in found:
            if not public(ipaddress.ip_address(text.split("%")[0])):
                raise Refused(
                    f"the webhook's host {place.host} is at {text}, which is not a public address: set "
                    "ANALYTICBOT_ALERTS__ALLOW_PRIVATE=true if it is meant",
                    field="targets",
                )
    return found


def public(address: Address) -> bool:
    """Whether an address is one of the public Internet's, whatever it is wrapped in."""
    if isinstance(address, ipaddress.IPv6Address):
        teredo = address.teredo
        for inner in (address.ipv4_mapped, address.sixtofour, teredo[1] if teredo else None):
            if inner is not None:
                return public(inner)
        if address in _NAT64:
            return public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return address.is_global and not address.is_multicast


def shortened(url: str) -> str:
    """A webhook's address without what may be a key: its path and query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}" + ("/…" if parts.path.strip("/") or parts.query else parts.path)
