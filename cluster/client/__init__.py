"""The typed Python client: the same schemas and errors as inside, over HTTP; sync and async.

with connect() as bot:
    bot.channels["@x"].overview(days=30)
    bot.predict("@x", draft=PostDraft(text="..."))

async with connect_async() as bot:
    await bot.channels["@x"].overview(days=30)
"""

from __future__ import annotations

from cluster.client.asynchronous import AsyncBot
from cluster.client.sync import Bot
from cluster.client.transport import Connection, address
from core.settings import Settings

__all__ = ["AsyncBot", "Bot", "connect", "connect_async"]


def connect(
    url: str | None = None,
    *,
    api_key: str | None = None,
    settings: Settings | None = None,
    timeout_s: float = 30.0,
    patience_s: float = 10.0,
) -> Bot:
    """A client of a deployment.

    url: where it answers; unless given, the one that runs in the settings' home. api_key: needed beyond loopback.
    patience_s: for how long a request is repeated that a crash or overload cut short (repeating is safe).
    Raises ServiceUnavailable when nothing runs.
    """
    return Bot(Connection(address(url, settings), api_key, timeout_s, patience_s), settings)


def connect_async(
    url: str | None = None,
    *,
    api_key: str | None = None,
    settings: Settings | None = None,
    timeout_s: float = 30.0,
    patience_s: float = 10.0,
) -> AsyncBot:
    """Like `connect`; every method is awaited."""
    return AsyncBot(Connection(address(url, settings), api_key, timeout_s, patience_s))
