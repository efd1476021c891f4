"""Single posts with everything that is stored of them before any reading, and a channel's newest texts."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sqlalchemy import and_, select

from core.errors import NotFound
from core.schemas.channels import Channel, Post, PostDraft
from core.store import schema
from core.store.database import Database


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
