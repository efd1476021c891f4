"""keys create, list, revoke: needed as soon as the service listens beyond this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.cli.context import AsJson, console, database, settings, show_json, table, when
from core.clock import SystemClock
from core.store.keys import KeyStore

keys = typer.Typer(help="API keys.", no_args_is_help=True)


@keys.command("create")
def create(
    name: str,
    scope: Annotated[list[str] | None, typer.Option(help="read, write or admin; may be given again")] = None,
    json: AsJson = False,
) -> None:
    """Make a key; it is shown this once."""
    config = settings()
    store = KeyStore(database(config))
    key, secret = store.create(name, tuple(scope or ["read"]), now=SystemClock().now(), tenant=config.tenant)
    if json:
        show_json({"key": key, "secret": secret})
    else:
        console().print(secret)
        typer.echo(f"key {key.id} ({', '.join(key.scopes)}); it cannot be shown again", err=True)


@keys.command("list")
def list_keys(json: AsJson = False) -> None:
    """All keys, without their secrets."""
    config = settings()
    found = KeyStore(database(config)).keys(config.tenant)
    if json:
        show_json(found)
    else:
        rows = [(k.id, k.name, ", ".join(k.scopes), when(k.created_at), when(k.revoked_at)) for k in found]
        table(None, ("id", "name", "scopes", "made", "revoked"), rows)


@keys.command("revoke")
def revoke(key_id: str, json: AsJson = False) -> None:
    """Make a key useless, within seconds."""
    config = settings()
    key = KeyStore(database(config)).revoke(key_id, now=SystemClock().now(), tenant=config.tenant)
    if json:
        show_json(key)
    else:
        console().print(f"{key.name} ({key.id}) is revoked")
