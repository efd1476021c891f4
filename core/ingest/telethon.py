"""Telethon's `Message.to_dict()`: a JSON array, or JSON lines appended run after run.

The format does not say when counters were read. A run (the messages of one fetch, ids in one direction) proves that
they were not read before its newest date, which is taken and marked as assumed, unless `read_at` states the time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ijson
from ijson.common import JSONError

from core.clock import DAY
from core.errors import ImportRefused
from core.ingest.columns import iso, moment
from core.ingest.files import BoundedReader, head, lines, open_bytes
from core.ingest.sink import Sink
from core.ingest.text import attributes, clean, linked_channels, utf16_slice
from core.schemas.channels import Precision
from core.store.ingest import ChannelRow, MentionRow, PostRow, ReactionRow

Message = dict[str, Any]
_COUNTER_LIMIT = 10**12


@dataclass(slots=True)
class _Run:
    """One fetch of one channel: counters are held until its newest date is known."""

    newest: int = 0
    last_id: int | None = None
    direction: int = 0
    readings: list[tuple[int, int | None, int | None, int | None]] = field(default_factory=list)
    reactions: list[tuple[int, str, int]] = field(default_factory=list)

    def continues(self, number: int) -> bool:
        """Whether a message id goes on in the direction of this run."""
        if self.last_id is None:
            return True
        step = (number > self.last_id) - (number < self.last_id)
        return step != 0 and self.direction in (0, step)

    def follow(self, number: int) -> None:
        """Remember where the run has come to."""
        if self.last_id is not None:
            self.direction = 1 if number > self.last_id else -1
        self.last_id = number


def read(path: Path, sink: Sink) -> None:
    """Import a dump; ImportRefused where it is cut off (what stood before is kept) or holds no channel posts."""
    sink.begin(path)
    runs: dict[str, _Run] = {}
    posts = 0
    try:
        for where, message in _messages(path):
            posts += _take(message, where, sink, runs)
            sink.settle()
    finally:
        for name, run in runs.items():
            _close(name, run, sink, last=True)
    sink.settle(everything=True)
    if not posts:
        reasons = "; ".join(refusal.reason for refusal in sink.report.refused) or "no messages"
        raise ImportRefused(f"{path}: no post of a channel in it ({reasons})", path=str(path))
    sink.note("subscribers unavailable from this source")


def _messages(path: Path) -> Iterator[tuple[str, Message]]:
    """(where, message) from an array or from lines."""
    if head(path).lstrip()[:1] == b"[":
        yield from _array(path)
        return
    for number, line in lines(path):
        try:
            message = json.loads(line)
        except ValueError as error:
            raise ImportRefused(
                f"{path} line {number}: broken JSON ({error}); the file is cut off or damaged",
                path=str(path),
                row=number,
            ) from error
        yield f"{path.name} line {number}", message


def _array(path: Path) -> Iterator[tuple[str, Message]]:
    with open_bytes(path) as file:
        reader = BoundedReader(path, file)
        number = 0
        try:
            for message in ijson.items(reader, "item", use_float=True):
                reader.mark()
                number += 1
                yield f"{path.name} item {number}", message
        except JSONError as error:
            line = str(error).splitlines()[0]
            raise ImportRefused(
                f"{path}: breaks off or is damaged before byte {reader.position:,}, after item {number} ({line})",
                path=str(path),
                position=reader.position,
            ) from error


def _take(message: Message, where: str, sink: Sink, runs: dict[str, _Run]) -> int:
    """One message: its post into the batch, its counters into the run; returns the posts taken (0 or 1)."""
    refusal = _refusal(message)
    if refusal is not None:
        sink.report.refuse("posts", refusal, where)
        return 0
    if message["_"] == "MessageService":
        return 0
    published, number = moment(str(message.get("date")), "UTC"), message.get("id")
    if not isinstance(number, int) or number < 0 or published is None or published < 946_684_800:
        sink.report.refuse("posts", "no readable id and date", f"{where}, fields id, date")
        return 0
    if published > sink.clock.now() + DAY:
        sink.report.refuse("posts", "date lies in the future", f"{where}, field date: {iso(published)}")
        return 0
    name = sink.options.channel or f"c{message['peer_id']['channel_id']}"
    run = runs.setdefault(name, _Run())
    if not run.continues(number):
        _close(name, run, sink, last=False)
        run = runs[name] = _Run()
    run.follow(number)
    edited = message.get("edit_date")
    run.newest = max(run.newest, published, (moment(str(edited), "UTC") or 0) if edited else 0)
    key = sink.channel(_row(name, sink))
    text = clean(str(message.get("message") or ""))
    sink.batch.posts.append(_post(key, number, published, text, message))
    sink.batch.mentions.extend(MentionRow(key, number, dst, published) for dst in _named(message, text))
    _count(message, number, run, where, sink)
    return 1


def _refusal(message: Any) -> str | None:
    """Why an object is not taken, if so."""
    if not isinstance(message, dict) or message.get("_") not in ("Message", "MessageService"):
        return "not a Telethon message"
    given = message.get("peer_id")
    peer: dict[str, Any] = given if isinstance(given, dict) else {}
    kind = peer.get("_", "")
    if kind == "PeerUser":
        return "a personal chat; only channels are imported"
    if kind != "PeerChannel" or not isinstance(peer.get("channel_id"), int):
        return "a group chat or no channel at all; only channels are imported"
    if message["_"] == "Message" and message.get("post") is False:
        return "a group's message, not a channel's post"
    return None


def _row(name: str, sink: Sink) -> ChannelRow:
    return ChannelRow(name, sink.options.timezone, "telethon")


def _post(key: int, number: int, published: int, text: str, message: Message) -> PostRow:
    hidden = sum(1 for e in message.get("entities") or [] if e.get("_") == "MessageEntityTextUrl")
    found = attributes(text, hidden)
    return PostRow(
        key,
        number,
        published,
        text=text,
        media=_media(message.get("media")),
        text_len=found.text_len,
        n_words=found.n_words,
        n_links=found.n_links,
        n_hashtags=found.n_hashtags,
        n_mentions=found.n_mentions,
        n_emoji=found.n_emoji,
        n_lines=found.n_lines,
        has_question=found.has_question,
        is_ad=found.is_ad,
        is_forward=message.get("fwd_from") is not None,
        album_id=message.get("grouped_id"),
    )


def _media(media: Any) -> str:
    if not isinstance(media, dict):
        return "none"
    kind = str(media.get("_", ""))
    if kind == "MessageMediaDocument":
        document = media.get("document")
        mime = str(document.get("mime_type", "")) if isinstance(document, dict) else ""
        return mime.split("/", 1)[0] if mime.startswith(("video/", "audio/")) else "document"
    known = {"MessageMediaPhoto": "photo", "MessageMediaPoll": "poll", "MessageMediaWebPage": "webpage"}
    return known.get(kind, "other")


def _named(message: Message, text: str) -> tuple[str, ...]:
    """Channels that a post forwards from or links to."""
    addresses = [text]
    for entity in message.get("entities") or []:
        if entity.get("_") == "MessageEntityTextUrl":
            addresses.append(str(entity.get("url", "")))
        elif entity.get("_") == "MessageEntityUrl":
            addresses.append(utf16_slice(text, int(entity.get("offset", 0)), int(entity.get("length", 0))))
    found = dict.fromkeys(linked_channels(addresses))
    forwarded = (message.get("fwd_from") or {}).get("from_id") or {}
    if isinstance(forwarded.get("channel_id"), int):
        found[f"c{forwarded['channel_id']}"] = None
    return tuple(found)


def _count(message: Message, number: int, run: _Run, where: str, sink: Sink) -> None:
    replies = message.get("replies")
    replies = replies.get("replies") if isinstance(replies, dict) and replies.get("comments", True) else None
    counters = (message.get("views"), message.get("forwards"), replies)
    for name, value in zip(("views", "forwards", "replies"), counters, strict=True):
        if value is not None and not (isinstance(value, int) and 0 <= value <= _COUNTER_LIMIT):
            sink.report.refuse("views", f"{name} is not a count", f"{where}, field {name}: {value!s:.40}")
            return
    if any(value is not None for value in counters):
        run.readings.append((number, *counters))
    totals: dict[str, int] = {}
    for result in (message.get("reactions") or {}).get("results") or []:
        reaction = result.get("reaction") or {}
        kinds = {"ReactionEmoji": str(reaction.get("emoticon")), "ReactionPaid": "paid_stars"}
        kind = kinds.get(str(reaction.get("_")), "custom")
        totals[kind] = totals.get(kind, 0) + int(result.get("count", 0))
    run.reactions.extend((number, kind, n) for kind, n in totals.items())


def _close(name: str, run: _Run, sink: Sink, *, last: bool) -> None:
    """Pass a run's counters on, now that its newest date is known; `read_at` states the time of the last run."""
    stated = sink.options.read_at if last else None
    at = run.newest if stated is None else stated
    precision = int(Precision.TIME_ASSUMED if stated is None else Precision.EXACT)
    key = sink.channel(_row(name, sink))
    sink.batch.views.extend((key, post, at, views, fwd, rep, precision) for post, views, fwd, rep in run.readings)
    sink.batch.reactions.extend(ReactionRow(key, post, at, kind, n) for post, kind, n in run.reactions)
    if stated is None and run.readings:
        sink.note("reading times assumed: the newest date of each fetch, as the source does not say when it read")
