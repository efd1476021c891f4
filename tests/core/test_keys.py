"""API keys: the secret is shown once, scopes include the lesser ones, revoked means useless."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from core.errors import InvalidInput, NotFound
from core.store import schema
from core.store.database import Database
from core.store.keys import KeyStore


def test_a_secret_opens_until_it_is_revoked(database: Database) -> None:
    keys = KeyStore(database)
    key, secret = keys.create("reports", ("read",), now=10)
    assert keys.verify(secret) == key
    assert keys.verify(secret + "x") is None
    assert keys.revoke(key.id, now=20).revoked_at == 20
    assert keys.revoke(key.id, now=30).revoked_at == 20
    assert keys.verify(secret) is None


def test_the_secret_is_not_in_the_database(database: Database) -> None:
    _, secret = KeyStore(database).create("reports", ("read",), now=10)
    with database.read() as connection:
        stored = connection.execute(select(schema.api_key)).one()
    assert not any(secret in str(value) for value in stored)


def test_admin_covers_write_and_write_covers_read(database: Database) -> None:
    keys = KeyStore(database)
    reader, _ = keys.create("r", ("read",), now=1)
    writer, _ = keys.create("w", ("write", "write"), now=2)
    admin, _ = keys.create("a", ("admin",), now=3)
    allowed = [[key.allows(scope) for scope in ("read", "write", "admin")] for key in (reader, writer, admin)]
    assert allowed == [[True, False, False], [True, True, False], [True, True, True]]
    assert keys.keys() == (reader, writer, admin)


@pytest.mark.parametrize(("name", "scopes"), [("x", ("root",)), ("x", ()), ("  ", ("read",)), ("n" * 201, ("read",))])
def test_a_key_needs_a_name_and_known_scopes(database: Database, name: str, scopes: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput):
        KeyStore(database).create(name, scopes, now=1)


def test_keys_of_another_tenant_cannot_be_seen_or_revoked(database: Database) -> None:
    keys = KeyStore(database)
    key, _ = keys.create("x", ("read",), now=1, tenant="other")
    assert keys.keys() == ()
    with pytest.raises(NotFound):
        keys.revoke(key.id, now=2)
