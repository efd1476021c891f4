"""What every service answers."""

from __future__ import annotations

from typing import Protocol

from core.schemas.health import Health


class Service(Protocol):
    """Anything that the topology starts."""

    def health(self) -> Health:
        """Do a small piece of the real work and say how it went."""
        ...


class Consumer(Service, Protocol):
    """A service that follows the outbox of arrived data."""

    def catch_up(self) -> object:
        """Read events after the stored offset; commit the writes and the new offset together."""
        ...
