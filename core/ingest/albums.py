"""Albums in sources that do not mark them: neighbouring posts of one second, of which only one has a text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from core.store.ingest import PostRow


def grouped(rows: Iterable[PostRow]) -> Iterator[PostRow]:
    """The same rows in the same order, with `album_id` (the lowest post id) on those that belong together.

    Neighbours form an album when they were published in one second by one channel and at most one of them has a text.
    """
    group: list[PostRow] = []
    for row in rows:
        if group and not _belongs(group, row):
            yield from _marked(group)
            group = []
        group.append(row)
    yield from _marked(group)


def _belongs(group: list[PostRow], row: PostRow) -> bool:
    last = group[-1]
    if (row.channel_id, row.published_at) != (last.channel_id, last.published_at):
        return False
    return sum(1 for member in (*group, row) if member.text_len) <= 1


def _marked(group: list[PostRow]) -> list[PostRow]:
    if len(group) < 2:
        return group
    album = min(row.post_id for row in group)
    return [row._replace(album_id=album) if row.album_id is None else row for row in group]
