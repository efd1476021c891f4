"""Rows of a bundle's tables: checks every field, refuses single rows with their reason, passes the rest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.clock import DAY
from core.history import Ints
from core.ingest.columns import Chunk, Column, Mask
from core.ingest.falls import FallingViews
from core.ingest.seen import SeenKeys
from core.ingest.sink import Sink
from core.ingest.text import attributes, clean
from core.schemas.channels import Precision
from core.store.ids import post_id as derive_post_id
from core.store.ingest import ChannelRow, MentionRow, PostRow, ReactionRow, SubscriberRow

MEDIA = frozenset({"none", "photo", "video", "audio", "document", "poll", "webpage", "other"})
SOURCES = frozenset({"bundle", "simulator", "api"})

_COUNTS = ("text_len", "n_words", "n_links", "n_hashtags", "n_mentions", "n_emoji", "n_lines")
_FLAGS = ("has_question", "is_ad", "is_forward")
_PRECISIONS = {name.lower(): int(value) for name, value in Precision.__members__.items()}


@dataclass(slots=True)
class BundleRows:
    """Turns chunks into rows; one method a table, named like it."""

    sink: Sink
    known: dict[str, ChannelRow] = field(default_factory=dict)
    falls: FallingViews = field(default_factory=FallingViews)
    seen: dict[str, SeenKeys] = field(default_factory=dict)

    @property
    def zone(self) -> str:
        """Of times that carry none."""
        return self.sink.options.timezone

    @property
    def latest(self) -> int:
        """A day ahead at most: clocks and zones of sources are off now and then."""
        return self.sink.clock.now() + DAY

    def channels(self, chunk: Chunk) -> None:
        """Names, titles and zones; later tables may name further channels."""
        names = chunk.names("channel")
        titles, categories, zones, sources = (
            chunk.raw(name).to_pylist() if name in chunk else [None] * len(names)
            for name in ("title", "category", "timezone", "source")
        )
        if "timezone" in chunk:
            chunk.refuse(np.array([not _is_zone(z) for z in zones], dtype=bool), "timezone", "timezone is unknown")
        for i in np.flatnonzero(chunk.keep):
            name, source = str(names[i]), str(sources[i])
            self.known[name] = ChannelRow(
                name,
                str(zones[i] or self.zone),
                source if source in SOURCES else "bundle",
                titles[i],
                None if categories[i] == "unknown" else categories[i],
            )
            self.sink.channel(self.known[name])

    def posts(self, chunk: Chunk) -> None:
        """Posts with their attributes."""
        channel, post = self._channel(chunk), self._post(chunk)
        published = chunk.moment("published_at", self.zone, self.latest)
        columns: dict[str, list[Any]] = {"media": self._media(chunk)}
        if "text" in chunk:
            columns["text"] = [None if t is None else clean(t) for t in chunk.raw("text").to_pylist()]
        columns |= {n: chunk.whole(n, required=False).listed() for n in _COUNTS if n in chunk}
        columns |= {n: chunk.flag(n) for n in _FLAGS if n in chunk}
        if "album_id" in chunk:
            columns["album_id"] = chunk.whole("album_id", high=2**62, required=False).listed()
        repeated = self._repeated("posts", chunk, channel, post)
        for i in np.flatnonzero(chunk.keep & ~repeated).tolist():
            values = {name: column[i] for name, column in columns.items()}
            row = PostRow(int(channel[i]), int(post[i]), int(published.values[i]), **values)
            self.sink.batch.posts.append(_measured(row))

    def views(self, chunk: Chunk) -> None:
        """View readings, with forwards and replies where given."""
        channel, post = self._channel(chunk), self._post(chunk)
        ts = chunk.moment("ts", self.zone, self.latest)
        views = chunk.whole("views")
        forwards, replies = (self._counter(chunk, name) for name in ("forwards", "replies"))
        precision = self._precision(chunk)
        repeated = self._repeated("views", chunk, channel, post, ts.values)
        falling = self.falls.find(channel, post, ts.values, views.values, chunk.keep & ~repeated)
        chunk.refuse(falling, "views", "views fall below an earlier reading of the post")
        at = np.flatnonzero(chunk.keep & ~repeated)
        columns: list[Sequence[object]] = [channel[at].tolist(), post[at].tolist(), ts.values[at].tolist()]
        columns += [_picked(column, at) for column in (views, forwards, replies)]
        self.sink.batch.views.extend(zip(*columns, precision[at].tolist(), strict=True))

    def subscribers(self, chunk: Chunk) -> None:
        """Subscriber readings."""
        channel = self._channel(chunk)
        ts, counts = chunk.moment("ts", self.zone, self.latest), chunk.whole("subscribers")
        repeated = self._repeated("subscribers", chunk, channel, ts.values)
        at = np.flatnonzero(chunk.keep & ~repeated)
        rows = zip(channel[at].tolist(), ts.values[at].tolist(), counts.values[at].tolist(), strict=True)
        self.sink.batch.subscribers.extend(map(SubscriberRow._make, rows))

    def reactions(self, chunk: Chunk) -> None:
        """Counts of one kind of reaction at one time."""
        channel, post = self._channel(chunk), self._post(chunk)
        ts, counts = chunk.moment("ts", self.zone, self.latest), chunk.whole("count")
        kinds = chunk.names("reaction", longest=64)
        repeated = self._repeated("reactions", chunk, channel, post, ts.values, _codes(kinds))
        for i in np.flatnonzero(chunk.keep & ~repeated).tolist():
            self.sink.batch.reactions.append(
                ReactionRow(int(channel[i]), int(post[i]), int(ts.values[i]), str(kinds[i]), int(counts.values[i]))
            )

    def mentions(self, chunk: Chunk) -> None:
        """Posts that name other channels."""
        channel, post = self._channel(chunk, "src_channel"), self._post(chunk)
        published, targets = chunk.moment("published_at", self.zone, self.latest), chunk.names("dst_channel")
        for i in np.flatnonzero(chunk.keep).tolist():
            self.sink.batch.mentions.append(
                MentionRow(int(channel[i]), int(post[i]), str(targets[i]), int(published.values[i]))
            )

    def _channel(self, chunk: Chunk, name: str = "channel") -> Ints:
        """Channel ids; every channel that a kept row names joins the batch."""
        names = pa.array(chunk.names(name), type=pa.string()).dictionary_encode()
        codes = np.asarray(pc.fill_null(names.indices, 0).to_numpy(zero_copy_only=False), dtype=np.int64)
        used = set(codes[chunk.keep].tolist())
        ids = np.zeros(max(1, len(names.dictionary)), dtype=np.int64)
        for code, text in enumerate(names.dictionary.to_pylist()):
            if code in used:
                ids[code] = self.sink.channel(self.known.get(text) or ChannelRow(text, self.zone, "bundle"))
        return ids[codes]

    def _post(self, chunk: Chunk) -> Ints:
        """Post ids: the source's numbers; text ids become numbers of their own."""
        raw = chunk.raw("post_id")
        if not pa.types.is_integer(raw.type):
            chunk.names("post_id")  # refuses missing ones
            text = pc.utf8_trim_whitespace(pc.cast(raw, pa.string()))
            try:
                raw = pc.cast(text, pa.int64())
            except pa.ArrowInvalid:
                raw = pa.array([0 if t is None else derive_post_id(t) for t in text.to_pylist()], type=pa.int64())
        values = np.asarray(pc.fill_null(pc.cast(raw, pa.int64()), -1).to_numpy(zero_copy_only=False), dtype=np.int64)
        chunk.refuse(values < 0, "post_id", "post_id is negative or missing")
        return values

    def _media(self, chunk: Chunk) -> list[str | None]:
        if "media" not in chunk:
            return [None] * len(chunk.keep)
        values: list[str | None] = [None if v is None else str(v).lower() for v in chunk.raw("media").to_pylist()]
        unknown = np.array([v is not None and v not in MEDIA for v in values], dtype=bool)
        chunk.refuse(unknown, "media", f"media is none of {', '.join(sorted(MEDIA))}")
        return values

    def _counter(self, chunk: Chunk, name: str) -> Column:
        if name in chunk:
            return chunk.whole(name, required=False)
        n = len(chunk.keep)
        return Column(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool), np.zeros(n, dtype=bool))

    def _precision(self, chunk: Chunk) -> Ints:
        if "precision" not in chunk:
            return np.zeros(len(chunk.keep), dtype=np.int64)
        words = [str(w).lower() if w is not None else "exact" for w in chunk.raw("precision").to_pylist()]
        unknown = np.array([w not in _PRECISIONS for w in words], dtype=bool)
        chunk.refuse(
            unknown, "precision", f"precision is none of {', '.join(p.lower() for p in Precision.__members__)}"
        )
        return np.array([_PRECISIONS.get(w, 0) for w in words], dtype=np.int64)

    def _repeated(self, table: str, chunk: Chunk, *keys: Ints) -> Mask:
        """Rows that repeat a key of this import: counted as duplicates, the first one stands."""
        kept = np.flatnonzero(chunk.keep)
        repeated = np.zeros(len(chunk.keep), dtype=bool)
        if len(kept):
            repeated[kept] = self.seen.setdefault(table, SeenKeys()).add(*(key[kept] for key in keys))
            self.sink.report.repeat(table, int(repeated.sum()))
        return repeated


def _picked(column: Column, at: Ints) -> Sequence[object]:
    return Column(column.values[at], column.known[at], column.bad[at]).listed()


def _codes(words: Sequence[str | None]) -> Ints:
    return np.array([derive_post_id(f"w{word}") for word in words], dtype=np.int64)  # numbers that stand for the words


def _measured(row: PostRow) -> PostRow:
    """Fill what the text says into attributes that the table leaves open."""
    if row.text is None:
        return row
    found = attributes(row.text)
    names = [name for name in (*_COUNTS, "has_question", "is_ad") if getattr(row, name) is None]
    return row._replace(**{name: getattr(found, name) for name in names})


def _is_zone(name: str | None) -> bool:
    if name is None:
        return True
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
