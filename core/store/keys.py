"""API keys: shown once when made, kept only as a hash, each for one tenant and some scopes."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, cast, get_args

from sqlalchemy import Row, select

from core.codec import from_json, to_json
from core.errors import InvalidInput, NotFound
from core.store import schema
from core.store.database import Database
from core.store.ids import new_id

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_PREFIX = "abk_"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is listed: never the secret itself."""

    id: str
    tenant: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: int
    revoked_at: int | None = None

    def allows(self, scope: Scope) -> bool:
        """Whether the key covers a scope; admin covers write, write covers read."""
        return any(SCOPES.index(own) >= SCOPES.index(scope) for own in self.scopes)


@dataclass(frozen=True)
class KeyStore:
    """All keys of the installation."""

    database: Database

    def create(self, name: str, scopes: tuple[str, ...], *, now: int, tenant: str = "default") -> tuple[ApiKey, str]:
        """A new key and its secret, which nobody can read again. InvalidInput for an unknown scope or no name."""
        if not name.strip() or len(name) > 200:
            raise InvalidInput("an API key needs a name of 1 to 200 characters", field="name")
        wrong = [scope for scope in scopes if scope not in SCOPES]
        if wrong or not scopes:
            raise InvalidInput(f"scopes are some of {', '.join(SCOPES)}, not {list(scopes)}", field="scopes")
        key = ApiKey(new_id(), tenant, name.strip(), cast(tuple[Scope, ...], tuple(dict.fromkeys(scopes))), now)
        secret = _PREFIX + secrets.token_urlsafe(32)
        values = {
            "id": key.id,
            "tenant": tenant,
            "name": key.name,
            "sha256": _digest(secret),
            "scopes": to_json(key.scopes),
            "created_at": now,
        }
        with self.database.write() as connection:
            connection.execute(schema.api_key.insert(), [values])
        return key, secret

    def keys(self, tenant: str = "default") -> tuple[ApiKey, ...]:
        """A tenant's keys, oldest first, revoked ones among them."""
        table = schema.api_key
        query = select(table).where(table.c.tenant == tenant).order_by(table.c.created_at, table.c.id)
        with self.database.read() as connection:
            return tuple(_key(row) for row in connection.execute(query))

    def revoke(self, key_id: str, *, now: int, tenant: str = "default") -> ApiKey:
        """Make a key useless; a revoked one stays as it is. NotFound."""
        table = schema.api_key
        mine = (table.c.id == key_id) & (table.c.tenant == tenant)
        with self.database.write() as connection:
            connection.execute(table.update().where(mine & table.c.revoked_at.is_(None)).values(revoked_at=now))
            row = connection.execute(select(table).where(mine)).first()
        if row is None:
            raise NotFound(f"no API key {key_id!r}", key=key_id)
        return _key(row)

    def verify(self, secret: str) -> ApiKey | None:
        """The key that a secret belongs to; None: unknown or revoked."""
        table = schema.api_key
        digest = _digest(secret)
        with self.database.read() as connection:
            row = connection.execute(select(table).where(table.c.sha256 == digest)).first()
        if row is None or row.revoked_at is not None or not hmac.compare_digest(row.sha256, digest):
            return None
        return _key(row)


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _key(row: Row[Any]) -> ApiKey:
    scopes = from_json(tuple[Scope, ...], row.scopes)
    return ApiKey(row.id, row.tenant, row.name, scopes, row.created_at, row.revoked_at)
