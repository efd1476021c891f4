"""Single posts and their texts: what is stored of them before any reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import and_, select

from core.errors import NotFound
from core.schemas.channels import Channel, Post, PostDraft
from core.store import schema
from core.store.database import Database
from core.store.readings import IN_CHUNK, tuples

FAR = 1 << 60  # epoch seconds that nothing reaches


@dataclass(frozen=True)
class PostStore:
    """Posts of one tenant's channels (which `ChannelStore` names)."""

    database: Database

    def get(self, channel: Channel, post_id: int) -> Post:
        """One post; NotFound."""
        table = schema.post
        query = select(table).where(and_(table.c.channel_id == channel.id, table.c.post_id == post_id))
        with self.database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"{channel.name}: no post {post_id}", channel=channel.name, post=post_id)
        draft = PostDraft(**{f.name: getattr(row, f.name) for f in fields(PostDraft)})
        return Post(channel.id, row.post_id, row.published_at, draft, row.album_id)

    def newest_texts(self, channel: Channel, limit: int) -> dict[int, str]:
        """The texts of the newest posts that have one, by post id, newest first."""
        table = schema.post
        stored = and_(table.c.channel_id == channel.id, table.c.text.is_not(None), table.c.text != "")
        query = select(table.c.post_id, table.c.text).where(stored)
        newest = query.order_by(table.c.published_at.desc(), table.c.post_id.desc()).limit(limit)
        with self.database.read() as connection:
            return {row.post_id: row.text for row in connection.execute(newest)}

    def texts(self, channel: Channel, post_ids: Sequence[int]) -> dict[int, str]:
        """Texts of the posts that have one stored."""
        table, found = schema.post, dict[int, str]()
        with self.database.read() as connection:
            for start in range(0, len(post_ids), IN_CHUNK):
                wanted = [int(i) for i in post_ids[start : start + IN_CHUNK]]
                query = select(table.c.post_id, table.c.text).where(
                    table.c.channel_id == channel.id, table.c.post_id.in_(wanted), table.c.text.is_not(None)
                )
                found.update({row.post_id: row.text for row in connection.execute(query)})
        return found

    def published(
        self, channel: Channel, post_ids: Sequence[int] | None = None, *, since: int = 0, until: int = FAR
    ) -> tuple[Post, ...]:
        """Posts with their texts, oldest first: of some ids unless None, published in [since, until)."""
        table, rows = schema.post, list[tuple[Any, ...]]()
        query = select(table.c.post_id, table.c.published_at, table.c.text, table.c.album_id).where(
            table.c.channel_id == channel.id, table.c.published_at >= since, table.c.published_at < until
        )
        ids = None if post_ids is None else [int(i) for i in post_ids]
        with self.database.read() as connection:
            for start in (0,) if ids is None else range(0, len(ids), IN_CHUNK):
                some = query if ids is None else query.where(table.c.post_id.in_(ids[start : start + IN_CHUNK]))
                rows += tuples(connection, some)
        return tuple(
            Post(channel.id, post_id, published_at, PostDraft(text=text), album_id)
            for post_id, published_at, text, album_id in sorted(rows, key=lambda row: (row[1], row[0]))
        )

    def has_texts(self, channel: Channel) -> bool:
        """Whether any post's text is stored."""
        table = schema.post
        query = select(table.c.post_id).where(table.c.channel_id == channel.id, table.c.text.is_not(None)).limit(1)
        with self.database.read() as connection:
            return connection.execute(query).first() is not None
