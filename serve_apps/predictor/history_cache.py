"""Keeps the recent history of busy channels, prepared for features, until new data arrives for them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from core.history import ChannelHistory
from core.schemas.channels import Channel

Prepared = TypeVar("Prepared")

#: Newest posts of a channel that are kept: somewhat more than features look back over (training.levels.LOOKBACK).
RECENT_POSTS = 450


class Histories(Protocol):
    """The part of the channel store that questions need."""

    def channel(self, name: str) -> Channel:
        """The channel with its present data version; NotFound."""
        ...

    def by_id(self, channel_id: int) -> Channel:
        """The same by id."""
        ...

    def history(
        self, channel: Channel, *, last_posts: int | None = None, as_of: int | None = None, counts: bool = False
    ) -> ChannelHistory:
        """Its posts and readings; counts: of forwards and reactions too."""
        ...


@dataclass(slots=True)
class _Slot(Generic[Prepared]):
    lock: threading.Lock
    data_version: int = -1
    prepared: Prepared | None = None


class HistoryCache(Generic[Prepared]):
    """Prepared histories by channel and data version: bounded, and loaded once however many wait for it."""

    def __init__(
        self,
        store: Histories,
        prepare: Callable[[ChannelHistory], Prepared],
        *,
        channels: int = 256,
        posts: int = RECENT_POSTS,
    ) -> None:
        self._store = store
        self._prepare = prepare
        self._bound = channels
        self._posts = posts
        self._lock = threading.Lock()
        self._slots: OrderedDict[int, _Slot[Prepared]] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def recent(self, channel: Channel) -> Prepared:
        """The newest posts of a channel as of its data version."""
        slot = self._slot(channel.id)
        with slot.lock:
            if slot.prepared is not None and slot.data_version >= channel.data_version:
                self.hits += 1
                return slot.prepared
            self.misses += 1
            slot.prepared = self._prepare(self._store.history(channel, last_posts=self._posts, counts=True))
            slot.data_version = channel.data_version
            return slot.prepared

    def whole(self, channel: Channel) -> Prepared:
        """All posts of a channel, for questions about its past; read every time and not kept."""
        return self._prepare(self._store.history(channel, counts=True))

    def _slot(self, channel_id: int) -> _Slot[Prepared]:
        with self._lock:
            slot = self._slots.get(channel_id)
            if slot is None:
                slot = self._slots[channel_id] = _Slot(threading.Lock())
            self._slots.move_to_end(channel_id)
            while len(self._slots) > self._bound:
                self._slots.popitem(last=False)
            return slot
