"""Reads what was observed: channels, their posts and readings, as arrays straight from SQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from sqlalchemy import BigInteger, Column, Connection, Row, Select, Table, and_, cast, func, select

from core.errors import NotFound
from core.history import ATTRIBUTES, ChannelHistory, Floats, Ints
from core.schemas.channels import Channel, Precision
from core.schemas.predictions import METRICS, Metric
from core.store import schema
from core.store.database import Database
from core.store.histories import assemble, known_by
from core.store.posts import PostStore
from core.store.readings import count_readings, newest_counts, tuples, view_readings, view_readings_of


@dataclass(frozen=True, slots=True)
class PostCounts:
    """The newest known count of each post, n posts in order of publication; NaN: never read, or not offered.

    reactions: the sum over the kinds of reaction in the newest reaction reading.
    """

    post_ids: Ints
    views: Floats
    forwards: Floats
    replies: Floats
    reactions: Floats


@dataclass(frozen=True, slots=True)
class ChannelTotals:
    """How much is stored of a channel; times are None where there is nothing."""

    posts: int
    posts_with_views: int
    view_readings: int
    subscriber_readings: int
    reactions: int  # rows: one a post, reading and kind of reaction
    mentions: int
    first_post: int | None
    last_post: int | None
    last_reading: int | None  # of views, subscribers or reactions
    time_assumed: int  # view readings whose time the source does not state


@dataclass(frozen=True, slots=True)
class Mention:
    """A post that names another channel."""

    source: str
    post_id: int
    target: str
    published_at: int


@dataclass(frozen=True)
class ChannelStore:
    """Channels of one tenant. Holds no state, so it travels to other processes as it is."""

    database: Database
    tenant: str = "default"

    @property
    def posts(self) -> PostStore:
        """Single posts and their texts."""
        return PostStore(self.database)

    def channels(self) -> tuple[Channel, ...]:
        """All channels of the tenant, by name."""
        table = schema.channel
        with self.database.read() as connection:
            rows = connection.execute(select(table).where(table.c.tenant == self.tenant).order_by(table.c.name)).all()
        return tuple(map(_channel, rows))

    def channel(self, name: str) -> Channel:
        """The channel of that name; NotFound."""
        table = schema.channel
        query = select(table).where(table.c.tenant == self.tenant, table.c.name == name)
        with self.database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"no channel {name!r}: import its data, or see the list of channels", channel=name)
        return _channel(row)

    def by_id(self, channel_id: int) -> Channel:
        """The channel of that id; NotFound."""
        with self.database.read() as connection:
            return _channel(self._row(connection, channel_id))

    def version(self, channel_id: int) -> int:
        """The channel's data version: one look-up by primary key; NotFound."""
        table = schema.channel
        query = select(table.c.data_version).where(table.c.id == channel_id, table.c.tenant == self.tenant)
        with self.database.read() as connection:
            value = connection.execute(query).scalar_one_or_none()
        if value is None:
            raise NotFound(f"no channel with id {channel_id}", channel_id=channel_id)
        return int(value)

    def history(
        self,
        channel: Channel,
        *,
        last_posts: int | None = None,
        published_from: int | None = None,
        as_of: int | None = None,
        counts: bool = False,
    ) -> ChannelHistory:
        """Posts and readings as they are stored now (`result.channel` carries the data version that was read).

        counts: readings of forwards and reactions too, which few ask for and which cost as much as those of views.
        last_posts: only the newest n posts and their readings. published_from: only posts of then or later. as_of:
        without what became known later (see `core.history.reading_known_at` for when a reading counts as known).
        """
        with self.database.read() as connection:
            # Version first: rows that another process commits meanwhile may be read, and are then read again.
            found = _channel(self._row(connection, channel.id))
            posts = self._posts(connection, channel.id, last_posts, as_of, published_from)
            partly = last_posts is not None or published_from is not None
            oldest = posts[0][1] if posts and partly else published_from
            readings = view_readings(connection, channel.id, published_from=oldest)
            subscribers = self._subscribers(connection, channel.id, as_of)
            others: dict[Metric, Ints] = {
                metric: count_readings(connection, channel.id, metric, published_from=oldest)
                for metric in (METRICS[1:] if counts else ())
            }
        history = assemble(found, posts, readings, subscribers, others)
        return history if as_of is None else known_by(history, as_of)

    def published_nth(self, channel: Channel, n: int, *, as_of: int) -> int:
        """When the n-th newest post was published, of those by a moment; the first one where there are fewer, or 0."""
        table = schema.post
        query = (
            select(table.c.published_at)
            .where(table.c.channel_id == channel.id, table.c.published_at <= as_of)
            .order_by(table.c.published_at.desc())
            .limit(n)
        )
        with self.database.read() as connection:
            return min(connection.execute(query).scalars(), default=0)

    def refreshed(self, old: ChannelHistory, changed: Collection[int]) -> ChannelHistory:
        """The history as it is stored now, given an older one of which only some posts' readings have changed.

        changed: ids of all posts whose readings changed since (`Outbox.reread` tells them); only theirs are read.
        """
        stale = np.array(sorted(changed), dtype=np.int64)
        owner = np.repeat(old.post_ids, np.diff(old.offsets))
        keep = ~np.isin(owner, stale)
        precision = np.where(old.reading_exact_time[keep], int(Precision.EXACT), int(Precision.TIME_ASSUMED))
        kept = np.stack([owner[keep], old.reading_ts[keep], old.reading_views[keep].astype(np.int64), precision])
        with self.database.read() as connection:
            found = _channel(self._row(connection, old.channel.id))
            posts = self._posts(connection, found.id, None, None)
            fresh = view_readings_of(connection, found.id, stale.tolist())
            subscribers = self._subscribers(connection, found.id, None)
        readings = np.concatenate([kept, fresh], axis=1)
        return assemble(found, posts, readings[:, np.argsort(readings[0], kind="stable")], subscribers)

    def subscribers(self, channels: Sequence[Channel], since: int) -> dict[int, tuple[Ints, Floats]]:
        """Times and subscriber counts of several channels from a moment on, by channel id; none for those without."""
        table = schema.channel_snapshot
        ids = [channel.id for channel in channels]
        query = (
            select(table.c.channel_id, table.c.ts, table.c.subscribers)
            .where(table.c.channel_id.in_(ids), table.c.ts >= since)
            .order_by(table.c.channel_id, table.c.ts)
        )
        with self.database.read() as connection:
            owner, ts, counts = _columns(connection, query, 3)
        cuts = np.flatnonzero(np.diff(owner)) + 1
        parts = zip(np.split(owner, cuts), np.split(ts, cuts), np.split(counts, cuts), strict=True)
        return {int(who[0]): (when, count.astype(np.float64)) for who, when, count in parts if len(who)}

    def counts(self, channel: Channel, *, as_of: int | None = None) -> PostCounts:
        """The newest count of every kind, post by post, in the order of `history(channel)`."""
        reaction = schema.reaction_snapshot
        known = [reaction.c.channel_id == channel.id, *([] if as_of is None else [reaction.c.ts <= as_of])]
        total = cast(func.sum(reaction.c.count), BigInteger)
        summed = select(reaction.c.post_id, reaction.c.ts, total).where(*known)
        with self.database.read() as connection:
            newest = newest_counts(connection, channel.id, as_of)
            reactions = _columns(connection, summed.group_by(reaction.c.post_id, reaction.c.ts), 3)
        ids = np.fromiter((row[0] for row in newest), dtype=np.int64, count=len(newest))
        views, forwards, replies = np.array([row[1:] for row in newest], dtype=np.float64).reshape(len(ids), 3).T
        by_time = np.argsort(reactions[1], kind="stable")  # the newest reading is placed last, and stands
        return PostCounts(ids, views, forwards, replies, _placed(ids, reactions[0, by_time], reactions[2, by_time]))

    def counts_at_age(self, channel: Channel, age_s: int) -> PostCounts:
        """The newest count of every kind that was read by an age of each post, for comparing posts of different ages.

        n posts in order of publication; NaN: not read by then, or not offered.
        """
        post, snapshot, reaction = schema.post, schema.post_snapshot, schema.reaction_snapshot

        def by_age(table: Table, value: Any, *known: Any) -> Select[Any]:
            same = and_(table.c.channel_id == post.c.channel_id, table.c.post_id == post.c.post_id)
            young = and_(post.c.channel_id == channel.id, table.c.ts <= post.c.published_at + age_s, *known)
            last = select(post.c.post_id, func.max(table.c.ts).label("ts")).select_from(post.join(table, same))
            newest = last.where(young).group_by(post.c.post_id).subquery()
            at = and_(table.c.channel_id == channel.id, table.c.post_id == newest.c.post_id, table.c.ts == newest.c.ts)
            return select(table.c.post_id, value).select_from(newest.join(table, at))

        total = cast(func.sum(reaction.c.count), BigInteger)
        with self.database.read() as connection:
            in_order = select(post.c.post_id).where(post.c.channel_id == channel.id)
            ids = _columns(connection, in_order.order_by(post.c.published_at, post.c.post_id), 1)[0]
            found = [
                _columns(connection, by_age(snapshot, column, column.is_not(None)), 2)
                for column in (snapshot.c.views, snapshot.c.forwards, snapshot.c.replies)
            ]
            summed = by_age(reaction, total).group_by(reaction.c.post_id)
            found.append(_columns(connection, summed, 2))
        return PostCounts(ids, *(_placed(ids, *column) for column in found))

    def newest(self, channel: Channel, as_of: int) -> int | None:
        """When the newest post or reading of any kind that is known by a moment came; None: there is none."""
        times = (
            (schema.post, schema.post.c.published_at),
            (schema.post_snapshot, schema.post_snapshot.c.ts),
            (schema.channel_snapshot, schema.channel_snapshot.c.ts),
        )
        with self.database.read() as connection:
            found = [
                connection.execute(
                    select(func.max(when)).where(table.c.channel_id == channel.id, when <= as_of)
                ).scalar()
                for table, when in times
            ]
        return max((int(t) for t in found if t is not None), default=None)

    def reactions(self, channel: Channel, *, as_of: int | None = None) -> dict[int, dict[str, int]]:
        """The newest reaction reading (by a moment) of each post that has one: post id to reaction to count."""
        table = schema.reaction_snapshot
        known = [table.c.channel_id == channel.id, *([] if as_of is None else [table.c.ts <= as_of])]
        query = (
            select(table.c.post_id, table.c.ts, table.c.reaction, table.c.count)
            .where(*known)
            .order_by(table.c.post_id, table.c.ts)
        )
        found: dict[int, tuple[int, dict[str, int]]] = {}
        with self.database.read() as connection:
            for post_id, ts, reaction, count in connection.execute(query):
                if post_id not in found or found[post_id][0] < ts:
                    found[post_id] = (ts, {})
                found[post_id][1][reaction] = count
        return {post_id: counts for post_id, (_, counts) in found.items()}

    def mentions(self, channel: Channel) -> tuple[Mention, ...]:
        """Posts of this channel that name others, and posts of the tenant's other channels that name it."""
        table, names = schema.mention, schema.channel
        query = (
            select(names.c.name, table.c.post_id, table.c.dst_name, table.c.published_at)
            .join(names, and_(names.c.id == table.c.src_channel_id, names.c.tenant == self.tenant))
            .where((table.c.src_channel_id == channel.id) | (table.c.dst_name == channel.name))
            .order_by(table.c.published_at, table.c.post_id, table.c.dst_name)
        )
        with self.database.read() as connection:
            return tuple(Mention(*row) for row in connection.execute(query))

    def all_mentions(self) -> tuple[Mention, ...]:
        """Every mention in posts of the tenant's channels, oldest first."""
        table, names = schema.mention, schema.channel
        query = (
            select(names.c.name, table.c.post_id, table.c.dst_name, table.c.published_at)
            .join(names, and_(names.c.id == table.c.src_channel_id, names.c.tenant == self.tenant))
            .order_by(table.c.published_at, names.c.name, table.c.post_id, table.c.dst_name)
        )
        with self.database.read() as connection:
            return tuple(Mention(*row) for row in tuples(connection, query))

    def totals(self, channel: Channel) -> ChannelTotals:
        """Row counts and the span that they cover."""
        post, snapshot = schema.post, schema.post_snapshot
        subscriber, reaction, mention = schema.channel_snapshot, schema.reaction_snapshot, schema.mention
        with self.database.read() as connection:
            posts = connection.execute(
                select(func.count(), func.min(post.c.published_at), func.max(post.c.published_at)).where(
                    post.c.channel_id == channel.id
                )
            ).one()
            views = connection.execute(
                select(
                    func.count(snapshot.c.views),
                    func.count(snapshot.c.post_id.distinct()).filter(snapshot.c.views.is_not(None)),
                    func.max(snapshot.c.ts),
                    func.count().filter(snapshot.c.precision == int(Precision.TIME_ASSUMED)),
                ).where(snapshot.c.channel_id == channel.id)
            ).one()
            subs, reacts = (
                connection.execute(
                    select(func.count(), func.max(table.c.ts)).where(table.c.channel_id == channel.id)
                ).one()
                for table in (subscriber, reaction)
            )
            named = connection.execute(select(func.count()).where(mention.c.src_channel_id == channel.id)).scalar_one()
        return ChannelTotals(
            posts=posts[0],
            posts_with_views=views[1],
            view_readings=views[0],
            subscriber_readings=subs[0],
            reactions=reacts[0],
            mentions=named,
            first_post=posts[1],
            last_post=posts[2],
            last_reading=max((t for t in (views[2], subs[1], reacts[1]) if t is not None), default=None),
            time_assumed=views[3],
        )

    def _row(self, connection: Connection, channel_id: int) -> Row[*tuple[Any, ...]]:
        table = schema.channel
        query = select(table).where(table.c.id == channel_id, table.c.tenant == self.tenant)
        row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"no channel with id {channel_id}", channel_id=channel_id)
        return row

    def _posts(
        self,
        connection: Connection,
        channel_id: int,
        last: int | None,
        as_of: int | None,
        published_from: int | None = None,
    ) -> Sequence[tuple[Any, ...]]:
        """(post id, published at, attributes ..., media, album id) in order of publication."""
        table = schema.post
        wanted: list[Column[Any]] = [table.c.post_id, table.c.published_at]
        wanted += [*(table.c[name] for name in ATTRIBUTES), table.c.media, table.c.album_id]
        query = select(*wanted).where(table.c.channel_id == channel_id)
        if as_of is not None:
            query = query.where(table.c.published_at <= as_of)
        if published_from is not None:
            query = query.where(table.c.published_at >= published_from)
        if last is None:
            return tuples(connection, query.order_by(table.c.published_at, table.c.post_id))
        newest = query.order_by(table.c.published_at.desc(), table.c.post_id.desc()).limit(last)
        return tuples(connection, newest)[::-1]

    def _subscribers(self, connection: Connection, channel_id: int, as_of: int | None) -> Ints:
        table = schema.channel_snapshot
        query = select(table.c.ts, table.c.subscribers).where(table.c.channel_id == channel_id)
        if as_of is not None:
            query = query.where(table.c.ts <= as_of)
        return _columns(connection, query.order_by(table.c.ts), 2)


def _channel(row: Row[*tuple[Any, ...]]) -> Channel:
    return Channel(
        id=row.id,
        tenant=row.tenant,
        name=row.name,
        timezone=row.timezone,
        source=row.source,
        data_version=row.data_version,
        title=row.title,
        category=row.category,
    )


def _columns(connection: Connection, query: Select[Any], width: int) -> Ints:
    """Rows of whole numbers as an array of columns, width x rows; no column may be NULL.

    Integers throughout: post ids up to 2**63 do not fit a float64.
    """
    rows = tuples(connection, query)
    flat = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=len(rows) * width)
    return flat.reshape(len(rows), width).T


def _placed(ids: Ints, owners: Ints, values: Ints | Floats) -> Floats:
    """Values of posts in the order of ids, NaN where there is none; of several for one post the last one stands."""
    result = np.full(len(ids), np.nan)
    if len(ids) == 0:
        return result
    order = np.argsort(ids, kind="stable")
    at = np.minimum(np.searchsorted(ids[order], owners), len(ids) - 1)
    hit = ids[order][at] == owners
    result[order[at[hit]]] = values[hit]
    return result
