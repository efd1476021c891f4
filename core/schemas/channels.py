"""Channels, posts and readings as the rest of the system sees them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

#: Bytes (UTF-8) of a post's text that are read at all; longer posts exist nowhere.
TEXT_BYTES = 64 * 1024


class Precision(IntEnum):
    """How a reading was obtained."""

    EXACT = 0
    ROUNDED = 1  # "1.2K": two or three digits
    TIME_ASSUMED = 2  # the source does not say when it was read; the newest moment it proves is taken


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel of a tenant."""

    id: int
    tenant: str
    name: str
    timezone: str
    source: str
    data_version: int
    title: str | None = None
    category: str | None = None


@dataclass(frozen=True, slots=True)
class PostDraft:
    """What is known of a post before it is published; None: not known (never 0)."""

    text: str | None = None
    media: str | None = None
    text_len: int | None = None
    n_words: int | None = None
    n_links: int | None = None
    n_hashtags: int | None = None
    n_mentions: int | None = None
    n_emoji: int | None = None
    n_lines: int | None = None
    has_question: bool | None = None
    is_ad: bool | None = None
    is_forward: bool | None = None


@dataclass(frozen=True, slots=True)
class Post:
    """A published post."""

    channel_id: int
    post_id: int
    published_at: int
    draft: PostDraft
    album_id: int | None = None


@dataclass(frozen=True, slots=True)
class DataArrived:
    """The event that one transaction of an import leaves behind for a channel."""

    posts: tuple[int, ...] = ()  # ids of new posts
    read: tuple[int, ...] = ()  # ids of posts with new readings of views, forwards, replies or reactions
    subscribers: int = 0  # new subscriber readings
    first_ts: int | None = None  # span of the new rows
    last_ts: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the outbox."""

    seq: int
    channel_id: int
    at: int
    data: DataArrived = field(default_factory=DataArrived)
