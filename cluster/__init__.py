"""The roof: topology, start and stop, jobs, command line, and the Python client.

from cluster import connect

bot = connect()
bot.channels["@x"].overview(days=30)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cluster.client import connect, connect_async

__all__ = ["connect", "connect_async"]


def __getattr__(name: str) -> Any:
    # Workers and the CLI import this package all the time; the client comes only when somebody asks for it.
    if name in __all__:
        from cluster import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
