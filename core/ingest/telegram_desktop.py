"""Telegram Desktop's JSON export: a single chat, or a whole account of which only the channels are taken.

Channels only: personal chats, groups, contacts and sessions are never read into memory as objects. The format holds
no views, no forwards and no subscribers; it gives cadence, texts, media and reactions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ijson
from ijson.common import JSONError, ObjectBuilder

from core.clock import DAY
from core.errors import ImportRefused
from core.ingest.albums import grouped
from core.ingest.columns import iso, moment
from core.ingest.files import BoundedReader, head, open_bytes
from core.ingest.sink import Sink
from core.ingest.text import attributes, clean, linked_channels
from core.store.ingest import ChannelRow, MentionRow, PostRow, ReactionRow

ACCEPTED = ("public_channel", "private_channel")
_CHATS = ("", "chats.list.item", "left_chats.list.item")  # where a chat may stand in the document
_SETTLE_EVERY = 2_000  # messages


@dataclass(slots=True)
class _Chat:
    """A chat's header, and what is held until its end."""

    kind: str | None = None
    name: str | None = None
    id: int | None = None
    newest: int = 0
    last_id: int | None = None
    reactions: list[tuple[int, str, int]] = field(default_factory=list)


def read(path: Path, sink: Sink) -> None:
    """Import an export; ImportRefused for chats that are no channels."""
    head(path)
    sink.begin(path)
    chat, skipped, taken = _Chat(), 0, 0
    with open_bytes(path) as file:
        reader = BoundedReader(path, file)
        try:
            events = _events(reader)
            for base, event in events:
                if event == "chat":
                    chat = _Chat()
                elif isinstance(event, tuple):
                    name, value = event
                    setattr(chat, {"type": "kind"}.get(name, name), value)
                elif event == "messages":
                    if chat.kind in ACCEPTED:
                        taken += 1
                        _channel(events, chat, sink)
                    elif not base:
                        raise _not_a_channel(path, chat)
                    else:
                        skipped += 1
        except JSONError as error:
            raise _broken(path, reader, chat, error) from error
    if not taken:
        raise ImportRefused(f"{path}: no channel in this export ({skipped} other chats)", path=str(path))
    if skipped:
        sink.note(f"{skipped} personal chats and groups left out: only channels are imported")
    for gap in ("views", "forwards", "subscribers"):
        sink.note(f"{gap} unavailable from this source")


Event = str | tuple[str, Any] | dict[str, Any]


def _events(reader: BoundedReader) -> Iterator[tuple[str, Event]]:
    """(place, "chat" | (header name, value) | "messages" | message | "end") of the whole document, in order.

    Messages are built only when somebody asks for them by `wanted`; all other objects of the file are passed over.
    """
    builder: ObjectBuilder | None = None
    item = ""
    for prefix, event, value in ijson.parse(reader, use_float=True):
        reader.mark()
        if builder is not None:
            builder.event(event, value)
            if event == "end_map" and prefix == item:
                yield item, builder.value
                builder = None
            continue
        base, _, key = prefix.rpartition(".")
        if base in _CHATS or prefix in _CHATS:
            if event == "start_map" and prefix in _CHATS:
                yield prefix, "chat"
            elif base in _CHATS and key in ("name", "type", "id") and event in ("string", "number", "null"):
                yield base, (key, value)
            elif base in _CHATS and key == "messages" and event in ("start_array", "end_array"):
                yield base, "messages" if event == "start_array" else "end"
        elif key == "item" and event == "start_map" and base.endswith("messages"):
            builder, item = ObjectBuilder(), prefix
            builder.event(event, value)


def _channel(events: Iterator[tuple[str, Event]], chat: _Chat, sink: Sink) -> None:
    """Take the messages of one channel, up to the end of its list."""
    name = sink.options.channel or (f"c{chat.id}" if chat.id is not None else clean(chat.name or "channel"))
    row = ChannelRow(
        name, sink.options.timezone, "telegram-desktop", title=None if chat.name is None else clean(chat.name)
    )
    for count, (post, links) in enumerate(_posts(events, chat, sink, row), start=1):
        sink.batch.posts.append(post)
        key = sink.channel(row)
        sink.batch.mentions.extend(MentionRow(key, post.post_id, dst, post.published_at) for dst in links)
        if count % _SETTLE_EVERY == 0:
            sink.settle()
    key = sink.channel(row)
    at = sink.options.read_at or chat.newest
    sink.batch.reactions.extend(ReactionRow(key, post, at, kind, n) for post, kind, n in chat.reactions)
    if chat.reactions and sink.options.read_at is None:
        sink.note(f"reading times of reactions assumed: the newest moment in the export, {iso(at)}")
    sink.settle(everything=True)


def _posts(
    events: Iterator[tuple[str, Event]], chat: _Chat, sink: Sink, row: ChannelRow
) -> Iterator[tuple[PostRow, tuple[str, ...]]]:
    links: dict[int, tuple[str, ...]] = {}

    def rows() -> Iterator[PostRow]:
        for _, message in events:
            if message == "end":
                return
            if isinstance(message, dict) and message.get("type") == "message":
                post = _post(message, chat, sink, row)
                if post is not None:
                    links[post.post_id] = linked_channels(_addresses(message))
                    yield post

    for post in grouped(rows()):
        yield post, links.pop(post.post_id, ())


def _post(message: dict[str, Any], chat: _Chat, sink: Sink, row: ChannelRow) -> PostRow | None:
    """A post row; None where the message is refused (and the report says why)."""
    number, where = message.get("id"), f"{sink.file} message {message.get('id')}"
    published = _time(message, "date", sink)
    if not isinstance(number, int) or number < 0:
        sink.report.refuse("posts", "id is not a whole number", where)
        return None
    chat.last_id = number
    if published is None or published < 946_684_800:
        sink.report.refuse("posts", "no readable date", f"{where}, field date_unixtime")
        return None
    if published > sink.clock.now() + DAY:
        sink.report.refuse("posts", "date lies in the future", f"{where}, field date_unixtime: {iso(published)}")
        return None
    chat.newest = max(chat.newest, published, _time(message, "edited", sink) or 0)
    chat.reactions.extend((number, kind, n) for kind, n in _reactions(message).items())
    text = clean(_text(message))
    entities = [e for e in message.get("text_entities") or [] if isinstance(e, dict)]
    hidden = sum(1 for e in entities if e.get("type") == "text_link" and "://" not in str(e.get("text")))
    found = attributes(text, hidden)
    return PostRow(
        sink.channel(row),
        number,
        published,
        text=text,
        media=_media(message),
        text_len=found.text_len,
        n_words=found.n_words,
        n_links=found.n_links,
        n_hashtags=found.n_hashtags,
        n_mentions=found.n_mentions,
        n_emoji=found.n_emoji,
        n_lines=found.n_lines,
        has_question=found.has_question,
        is_ad=found.is_ad,
        is_forward="forwarded_from" in message,
    )


def _time(message: dict[str, Any], name: str, sink: Sink) -> int | None:
    """UTC seconds; older exports only have the exporting machine's local time."""
    value = message.get(f"{name}_unixtime")
    if value is not None:
        return moment(str(value), "UTC")
    local = message.get(name)
    if local is None:
        return None
    zone = sink.options.timezone
    sink.note(f"times are those of the exporting machine, taken as {zone}; give its time zone if it differs")
    return moment(str(local), zone)


def _text(message: dict[str, Any]) -> str:
    parts = message.get("text_entities") or message.get("text") or ""
    if isinstance(parts, str):
        return parts
    return "".join(part if isinstance(part, str) else str(part.get("text", "")) for part in parts)


def _addresses(message: dict[str, Any]) -> Iterator[str]:
    yield _text(message)
    for entity in message.get("text_entities") or []:
        if isinstance(entity, dict) and isinstance(entity.get("href"), str):
            yield entity["href"]


def _media(message: dict[str, Any]) -> str:
    kind = str(message.get("media_type") or "")
    if "poll" in message:
        return "poll"
    if "photo" in message:
        return "photo"
    if kind in ("video_file", "video_message", "animation"):
        return "video"
    if kind in ("audio_file", "voice_message"):
        return "audio"
    if kind:
        return "other"
    mime = str(message.get("mime_type") or "")
    if "file" in message:
        return "photo" if mime.startswith("image/") else "video" if mime.startswith("video/") else "document"
    return "none"


def _reactions(message: dict[str, Any]) -> dict[str, int]:
    """Count by emoji; who reacted is in the export too and is not looked at."""
    found: dict[str, int] = {}
    for reaction in message.get("reactions") or []:
        kind, count = reaction.get("type"), reaction.get("count")
        if isinstance(count, int) and count >= 0:
            name = str(reaction.get("emoji")) if kind == "emoji" else "paid_stars" if kind == "paid" else "custom"
            found[name] = found.get(name, 0) + count
    return found


def _not_a_channel(path: Path, chat: _Chat) -> ImportRefused:
    what = {"personal_chat": "a personal chat", "saved_messages": "saved messages", "bot_chat": "a chat with a bot"}
    kind = what.get(str(chat.kind), f"of type {chat.kind}" if chat.kind else "of no stated type")
    return ImportRefused(f"{path}: {kind}; only channels are imported, nothing of it was stored", path=str(path))


def _broken(path: Path, reader: BoundedReader, chat: _Chat, error: Exception) -> ImportRefused:
    after = "" if chat.last_id is None else f", after message {chat.last_id}"
    line = str(error).splitlines()[0]
    return ImportRefused(
        f"{path}: breaks off or is damaged before byte {reader.position:,}{after} ({line}); export it again",
        path=str(path),
        position=reader.position,
    )
