"""Flat CSV: one row a post with its counters, as Telethon scripts and scrapers write it.

Columns: id, date, views; optional channel, text, forwards, replies, reactions, age_h_at_scrape (exact reading time =
date + age), has_text (0: a further item of an album), text_len, n_links, n_hashtags and the other attributes. Without
an age the reading time is not known: the newest date of the file is taken and marked as assumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from core.clock import DAY, HOUR
from core.history import Ints
from core.ingest.albums import grouped
from core.ingest.columns import Chunk, Column, chunks, header, iso, moments, require
from core.ingest.seen import SeenKeys
from core.ingest.sink import Sink
from core.ingest.text import attributes, clean, linked_channels
from core.schemas.channels import Precision
from core.store.ids import post_id as derive_post_id
from core.store.ingest import ChannelRow, MentionRow, PostRow, ReactionRow

REQUIRED = ("id", "date", "views")
_COUNTS = ("text_len", "n_words", "n_links", "n_hashtags", "n_mentions", "n_emoji", "n_lines")
_MEASURED = (*_COUNTS, "has_question", "is_ad")
_MAX_AGE_H = 24 * 365 * 30


def read(path: Path, sink: Sink) -> None:
    """Import a file."""
    require(path, REQUIRED)
    sink.begin(path)
    assumed = _newest(path, sink)
    seen = SeenKeys()
    for chunk in chunks(path, "posts", sink.report):
        _rows(chunk, sink, path.stem, assumed, seen)
        sink.settle()
    sink.settle(everything=True)
    sink.note("subscribers unavailable from this source")


def _newest(path: Path, sink: Sink) -> int | None:
    """The reading time to assume, or None where every row states its own."""
    if "age_h_at_scrape" in header(path):
        return None
    if sink.options.read_at is not None:
        return sink.options.read_at
    newest, latest = 0, sink.clock.now() + DAY
    for chunk in chunks(path, "posts", type(sink.report)("", "", 0), only=("date",)):
        dates = moments(chunk.raw("date"), sink.options.timezone)
        fine = dates.known & (dates.values <= latest)
        newest = max(newest, int(dates.values[fine].max(initial=0)))
    sink.note(f"reading times assumed: {path.name} does not say when it was read, {iso(newest)} is its newest date")
    return newest


def _rows(chunk: Chunk, sink: Sink, stem: str, assumed: int | None, seen: SeenKeys) -> None:
    channel, post = _channels(chunk, sink, stem), _posts(chunk)
    published = chunk.moment("date", sink.options.timezone, sink.clock.now() + DAY)
    counters = {"views": chunk.whole("views", required=False)}
    counters |= {n: chunk.whole(n, required=False) for n in ("forwards", "replies", "reactions") if n in chunk}
    ts, precision = _reading_times(chunk, published.values, assumed, sink.options.read_at)
    given: dict[str, list[Any]] = {n: chunk.whole(n, required=False).listed() for n in _COUNTS if n in chunk}
    given |= {n: chunk.flag(n) for n in ("has_text", "has_question", "is_ad", "is_forward") if n in chunk}
    texts = chunk.raw("text").to_pylist() if "text" in chunk else [None] * len(channel)
    kept = np.flatnonzero(chunk.keep)
    again = seen.add(channel[kept], post[kept]) if len(kept) else np.zeros(0, dtype=bool)
    sink.report.repeat("posts", int(again.sum()))
    at = kept[~again].tolist()
    made = (
        _post(int(channel[i]), int(post[i]), int(published.values[i]), texts[i], {n: v[i] for n, v in given.items()})
        for i in at
    )
    sink.batch.posts.extend(grouped(made))
    sink.batch.mentions.extend(_mentions(channel, post, published, texts, at))
    listed = {name: column.listed() for name, column in counters.items()}
    nothing = [None] * len(channel)
    forwards, replies = listed.get("forwards", nothing), listed.get("replies", nothing)
    for i in at:
        key = (int(channel[i]), int(post[i]), int(ts[i]))
        if listed["views"][i] is not None or forwards[i] is not None or replies[i] is not None:
            sink.batch.views.append((*key, listed["views"][i], forwards[i], replies[i], precision))
        reactions = listed.get("reactions", nothing)[i]
        if reactions is not None:
            sink.batch.reactions.append(ReactionRow(*key, "all", reactions))


def _channels(chunk: Chunk, sink: Sink, stem: str) -> Ints:
    names: list[str | None]
    if sink.options.channel is not None or "channel" not in chunk:
        names = [sink.options.channel or stem] * len(chunk.keep)
    else:
        names = chunk.names("channel")
    zone = sink.options.timezone
    ids = {n: sink.channel(ChannelRow(n, zone, "flat-csv")) for n in dict.fromkeys(names) if n}
    return np.array([ids.get(name or "", 0) for name in names], dtype=np.int64)


def _posts(chunk: Chunk) -> Ints:
    ids = chunk.names("id")
    return np.array([0 if value is None else derive_post_id(value) for value in ids], dtype=np.int64)


def _reading_times(chunk: Chunk, published: Ints, assumed: int | None, read_at: int | None) -> tuple[Ints, int]:
    if assumed is not None:
        precision = Precision.TIME_ASSUMED if read_at is None else Precision.EXACT
        return np.full(len(published), assumed, dtype=np.int64), int(precision)
    text = chunk.raw("age_h_at_scrape").to_pylist()
    ages = np.array([_age(value) for value in text], dtype=np.float64)
    wrong = ~((ages >= 0) & (ages <= _MAX_AGE_H))
    chunk.refuse(wrong, "age_h_at_scrape", "age_h_at_scrape is not a number of hours")
    return published + np.rint(np.where(wrong, 0, ages) * HOUR).astype(np.int64), int(Precision.EXACT)


def _age(value: str | None) -> float:
    try:
        return float(value) if value is not None else float("nan")
    except ValueError:
        return float("nan")


def _post(channel: int, post: int, published: int, text: str | None, given: dict[str, Any]) -> PostRow:
    """A post; what the table states goes before what its text (which may be cut) says."""
    has_text = given.pop("has_text", None)
    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if has_text is False:
        values |= dict.fromkeys(_MEASURED, 0) | {"has_question": False, "is_ad": False}
    elif text is not None:
        text = clean(text)
        found = attributes(text)
        if values.get("text_len", found.text_len) <= found.text_len:  # else the text is cut and says too little
            values = {name: getattr(found, name) for name in _MEASURED} | values
    elif "text_len" not in values and has_text is None:
        values["text_len"] = 0
    return PostRow(channel, post, published, text, **values)


def _mentions(
    channel: Ints, post: Ints, published: Column, texts: list[str | None], rows: list[int]
) -> Iterator[MentionRow]:
    for i in rows:
        text = texts[i]
        if text:
            for name in linked_channels([text]):
                yield MentionRow(int(channel[i]), int(post[i]), name, int(published.values[i]))
