"""Identities that need no look-up and do not collide between databases."""

from __future__ import annotations

import secrets
from hashlib import blake2b


def _hash63(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def channel_id(tenant: str, name: str) -> int:
    """63-bit id of a tenant's channel; a million channels collide with probability 5e-8."""
    return _hash63(f"{tenant}\0{name}")


def post_id(external: str) -> int:
    """The source's own number where it has one (Telegram message id), else a 63-bit hash of its text id."""
    return int(external) if external.isdecimal() and len(external) < 19 else _hash63(external)


def new_id() -> str:
    """128 random bits in hexadecimal."""
    return secrets.token_hex(16)


def derived_id(*parts: object) -> str:
    """128 bits that are the same for the same parts: storing a finding twice stores it once."""
    return blake2b("\0".join(map(str, parts)).encode(), digest_size=16).hexdigest()
