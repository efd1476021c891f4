"""Keeps the arrays of the channels asked about last, and after an import reads again only what it changed."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from cachetools import LRUCache

from actors.analytics_fusion.source import Counts, aligned
from core.history import ChannelHistory
from core.schemas.channels import Channel
from core.store.channels import ChannelStore
from core.store.events import Outbox

#: beyond this share of a channel's posts reading everything costs no more
_MUCH = 0.5


@dataclass(frozen=True, slots=True)
class Data:
    """A channel's posts and readings at a data version, with the newest counts in the same order."""

    history: ChannelHistory
    counts: Counts
    seq: int  # every event up to this one is in it


class Reader:
    """Thread-safe; one thread reads a channel, the others that ask for it meanwhile wait for the same arrays."""

    def __init__(self, channels: ChannelStore, outbox: Outbox, size: int = 16) -> None:
        self.channels, self.outbox = channels, outbox
        self._kept: LRUCache[int, Data] = LRUCache(size)
        self._locks: dict[int, threading.Lock] = {}
        self._lock = threading.Lock()

    def data(self, channel: Channel) -> Data:
        """The channel's data, of its data version or a newer one."""
        with self._lock:
            turn = self._locks.setdefault(channel.id, threading.Lock())
        with turn:
            with self._lock:
                known = self._kept.get(channel.id)
            if known is not None and known.history.channel.data_version >= channel.data_version:
                return known
            fresh = self._read(channel, known)
            with self._lock:
                self._kept[channel.id] = fresh
            return fresh

    def _read(self, channel: Channel, known: Data | None) -> Data:
        # The sequence number first: what is committed after it is read again next time, which does no harm.
        seq, changed = self.outbox.reread(channel.id, known.seq) if known is not None else (self.outbox.last(), None)
        if known is None or changed is None or len(changed) > _MUCH * known.history.n:
            history = self.channels.history(channel)
        else:
            history = self.channels.refreshed(known.history, changed)
        return Data(history, aligned(history, self.channels.counts(channel)), seq)
