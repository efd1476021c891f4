"""Which of several actors of a kind a channel belongs to, and where one goes on when their number has changed."""

from __future__ import annotations

from dataclasses import dataclass

from core.store.events import Outbox


@dataclass(frozen=True, slots=True)
class Shard:
    """Number `index`, from 0, of so many that divide the channels by id."""

    index: int = 0
    of: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.of:
            raise ValueError(f"shard {self.index} of {self.of}: shards are counted from 0")

    def has(self, channel_id: int) -> bool:
        """Whether a channel is one of its own."""
        return channel_id % self.of == self.index

    def consumer(self, service: str) -> str:
        """The name under which it keeps how far it has read."""
        return service if self.of == 1 else f"{service}:{self.index}/{self.of}"


def take_over(outbox: Outbox, service: str, shard: Shard) -> None:
    """Go on behind the events that were done for every channel, by however many shards there were at that time.

    Without it a new number of shards would read all events again. What some shards had done beyond the slowest one is
    read again: consumers keep the state of a channel by its id, and do nothing twice. Only offsets of a number of
    shards that was complete count, so nothing is left out.
    """
    done: dict[int, dict[int, int]] = {}
    for name, seq in outbox.offsets(service).items():
        index, _, of = name.removeprefix(service).removeprefix(":").partition("/")
        done.setdefault(int(of or 1), {})[int(index or 0)] = seq
    begin = max((min(seqs.values()) for of, seqs in done.items() if len(seqs) == of), default=0)
    if begin > outbox.offset(shard.consumer(service)):
        with outbox.database.write() as connection:
            outbox.advance(connection, shard.consumer(service), begin)
