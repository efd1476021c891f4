"""Writes normalised rows: one transaction for rows, the channels' data versions and the events that tell of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from sqlalchemy import Connection, Table, select, update

from core.schemas.channels import DataArrived, Precision
from core.store import schema
from core.store.bulk import Merged, Values, merge
from core.store.database import Database
from core.store.events import Outbox
from core.store.ids import channel_id as derive_channel_id

#: ids in one event: keeps a payload below about 40 kB
EVENT_IDS = 2_000

#: the tables of a batch, in the order in which they are written
TABLES = {
    "posts": schema.post,
    "views": schema.post_snapshot,
    "reactions": schema.reaction_snapshot,
    "subscribers": schema.channel_snapshot,
    "mentions": schema.mention,
}


class PostRow(NamedTuple):
    """A post in the order of the table's columns; None: not known."""

    channel_id: int
    post_id: int
    published_at: int
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
    album_id: int | None = None


class ViewRow(NamedTuple):
    """A reading of a post's counters; plain tuples in this order are as good, and faster to make."""

    channel_id: int
    post_id: int
    ts: int
    views: int | None
    forwards: int | None = None
    replies: int | None = None
    precision: int = int(Precision.EXACT)


class ReactionRow(NamedTuple):
    """One kind of reaction in a reading."""

    channel_id: int
    post_id: int
    ts: int
    reaction: str
    n: int


class SubscriberRow(NamedTuple):
    """A subscriber reading."""

    channel_id: int
    ts: int
    subscribers: int


class MentionRow(NamedTuple):
    """A post that names another channel."""

    src_channel_id: int
    post_id: int
    dst_name: str
    published_at: int


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """What an import knows of a channel; the zone and source of a channel that exists stay as they are."""

    name: str
    timezone: str
    source: str
    title: str | None = None
    category: str | None = None


@dataclass(slots=True)
class Batch:
    """Rows of one transaction; every channel id in them comes from `channel(...)`."""

    tenant: str = "default"
    channels: dict[int, ChannelRow] = field(default_factory=dict)
    posts: list[PostRow] = field(default_factory=list)
    views: list[Values] = field(default_factory=list)  # in the order of ViewRow
    reactions: list[ReactionRow] = field(default_factory=list)
    subscribers: list[SubscriberRow] = field(default_factory=list)
    mentions: list[MentionRow] = field(default_factory=list)

    def channel(self, row: ChannelRow) -> int:
        """The id of a channel that rows of this batch may name."""
        found = derive_channel_id(self.tenant, row.name)
        self.channels[found] = row
        return found

    def __len__(self) -> int:
        return sum(len(rows) for rows in self.tables().values())

    def tables(self) -> dict[str, Sequence[Values]]:
        """Rows by table name, in the order of writing."""
        return {name: getattr(self, name) for name in TABLES}


@dataclass(slots=True)
class Counts:
    """What became of the rows of a table."""

    new: int = 0
    updated: int = 0
    duplicate: int = 0

    def add(self, other: Counts) -> None:
        """Sum up."""
        self.new += other.new
        self.updated += other.updated
        self.duplicate += other.duplicate


@dataclass(slots=True)
class Written:
    """What one transaction did: counts by table, and the channels whose data version grew."""

    tables: dict[str, Counts] = field(default_factory=dict)
    changed: tuple[int, ...] = ()
    events: int = 0


@dataclass(slots=True)
class _Arrived:
    """What an event will tell of a channel."""

    posts: set[int] = field(default_factory=set)
    read: set[int] = field(default_factory=set)
    subscribers: int = 0
    times: list[int] = field(default_factory=list)  # first and last so far


@dataclass(frozen=True)
class IngestWriter:
    """The one way in for observed data. Writing the same rows again changes nothing: no version, no event."""

    database: Database
    tenant: str = "default"

    def write(self, batch: Batch, at: int) -> Written:
        """Write a batch in a transaction of its own. at: the clock's now, stored with events and new channels."""
        with self.database.write() as connection:
            return self.apply(connection, batch, at)

    def apply(self, connection: Connection, batch: Batch, at: int) -> Written:
        """Write a batch inside the caller's transaction.

        Of rows with one key in a batch the first counts and the others are duplicates. A row whose key is stored with
        other values updates it; None leaves the stored value.
        """
        written = Written()
        touched = self._channels(connection, batch, at)
        arrived: dict[int, _Arrived] = {}
        for name, rows in batch.tables().items():
            unique = _unique(TABLES[name], rows)
            outcome = merge(self.database, connection, TABLES[name], unique)
            counts = Counts(new=outcome.count(Merged.NEW), updated=outcome.count(Merged.UPDATED))
            counts.duplicate = len(rows) - counts.new - counts.updated
            written.tables[name] = counts
            if counts.new or counts.updated:
                touched |= _note(name, unique, outcome, arrived)
        written.changed = tuple(sorted(touched))
        written.events = self._publish(connection, written.changed, arrived, at)
        return written

    def _channels(self, connection: Connection, batch: Batch, at: int) -> set[int]:
        """Create missing channels, lock them all, fill in titles; returns the changed ones."""
        table = schema.channel
        if not batch.channels:
            return set()
        rows = [
            {
                "id": key,
                "tenant": self.tenant,
                "name": row.name,
                "title": row.title,
                "category": row.category,
                "timezone": row.timezone,
                "source": row.source,
                "created_at": at,
                "data_version": 0,
            }
            for key, row in sorted(batch.channels.items())
        ]
        connection.execute(self.database.insert(table).on_conflict_do_nothing(), rows)
        query = select(table).where(table.c.id.in_(list(batch.channels)), table.c.tenant == self.tenant)
        changed = set()
        # Locked in order of id: two imports that share channels wait for each other and cannot deadlock.
        for stored in connection.execute(query.order_by(table.c.id).with_for_update()).all():
            given = batch.channels[stored.id]
            new = {
                name: value
                for name, value in (("title", given.title), ("category", given.category))
                if value is not None and value != getattr(stored, name)
            }
            if new:
                connection.execute(update(table).where(table.c.id == stored.id).values(**new))
            if new or stored.data_version == 0:
                changed.add(stored.id)
        return changed

    def _publish(self, connection: Connection, changed: Iterable[int], arrived: dict[int, _Arrived], at: int) -> int:
        """Raise data versions and leave events; returns their number."""
        table, outbox, events = schema.channel, Outbox(self.database, self.tenant), 0
        for key in changed:
            connection.execute(update(table).where(table.c.id == key).values(data_version=table.c.data_version + 1))
            for data in _events(arrived.get(key)):
                outbox.emit(connection, key, at, data)
                events += 1
        return events


def _unique(table: Table, rows: Sequence[Values]) -> list[Values]:
    """The first row of each key, in key order."""
    width = len(table.primary_key.columns)
    if width == 3:  # the big table: about twice as fast as the general form
        first = {(row[0], row[1], row[2]): row for row in reversed(rows)}
    else:
        first = {row[:width]: row for row in reversed(rows)}
    return [first[key] for key in sorted(first)]


_TIME = {"posts": 2, "views": 2, "reactions": 2, "subscribers": 1, "mentions": 3}  # column that holds a row's time


def _note(name: str, rows: Sequence[Values], outcome: Sequence[Merged], arrived: dict[int, _Arrived]) -> set[int]:
    """Collect what changed for the events; returns the channels concerned. rows: in key order, so by channel."""
    when, touched = itemgetter(_TIME[name]), set[int]()
    told = [row for row, merged in zip(rows, outcome, strict=True) if merged is not Merged.DUPLICATE]
    for key, group in groupby(told, itemgetter(0)):
        mine = list(group)
        touched.add(key)
        times = list(map(when, mine))
        entry = arrived.setdefault(key, _Arrived(times=[times[0], times[0]]))
        entry.times = [min(entry.times[0], *times), max(entry.times[1], *times)]
        if name in ("views", "reactions"):
            entry.read.update(map(itemgetter(1), mine))
        elif name == "subscribers":
            entry.subscribers += len(mine)
    if name == "posts":
        for row, merged in zip(rows, outcome, strict=True):
            if merged is Merged.NEW:
                arrived[row[0]].posts.add(row[1])
    return touched


def _events(entry: _Arrived | None) -> list[DataArrived]:
    """One event, or as many as keep each payload small; none where only attributes changed."""
    if entry is None or not (entry.posts or entry.read or entry.subscribers):
        return []
    posts, read = sorted(entry.posts), sorted(entry.read)
    pieces = max(1, -(-len(posts) // EVENT_IDS), -(-len(read) // EVENT_IDS))
    return [
        DataArrived(
            posts=tuple(posts[i * EVENT_IDS : (i + 1) * EVENT_IDS]),
            read=tuple(read[i * EVENT_IDS : (i + 1) * EVENT_IDS]),
            subscribers=entry.subscribers if i == 0 else 0,
            first_ts=entry.times[0],
            last_ts=entry.times[1],
        )
        for i in range(pieces)
    ]
