"""Channels for the engagement bench: anything that can be imported, and two published tables of other platforms.

Tables of streams (channel, stream_id, date, duration_min, views_at_snapshot, ...) and of articles (published, shares,
data_channel_is_*) are no import format: they have no readings over time. Here each stream or article is a post with one
late reading, which counts as known from a day after publication (`views_final`), so that the question is the one that
other channels with a single reading are asked. What our features have no name for stays out.
"""

from __future__ import annotations

import csv
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core.clock import DAY, SystemClock
from core.history import ChannelHistory, HistoryBuilder
from core.ingest.importer import import_path
from core.schemas.channels import Channel
from core.store.channels import ChannelStore
from core.store.database import Database
from core.store.migrate import upgrade

STREAMS, ARTICLES = "streams.csv", "articles.csv"
_TOPIC = "data_channel_is_"
_LATE = 2 * DAY


def load(data: Path, timezone: str) -> list[ChannelHistory]:
    """Histories of all channels in a folder or file."""
    if (data / STREAMS).exists():
        return _built(data / STREAMS, timezone, _stream)
    if (data / ARTICLES).exists():
        return _built(data / ARTICLES, timezone, _article)
    with tempfile.TemporaryDirectory(prefix="bench-engagement-") as scratch:
        database = Database(f"sqlite:///{scratch}/channels.db")
        upgrade(database)
        import_path(data, database, clock=SystemClock(), timezone=timezone)
        store = ChannelStore(database)
        histories = [store.history(channel, counts=True) for channel in store.channels()]
        database.dispose()
    return histories


@dataclass(frozen=True, slots=True)
class _Post:
    channel: str
    published_at: int
    attributes: dict[str, float | None]
    media: str | None
    views: float


def _stream(row: dict[str, str]) -> _Post:
    """A stream's length stands for a text's, its category for the kind of media, a collaboration for a forward."""
    given = _numbers(row, text_len="duration_min", n_words="title_len", is_forward="is_collab")
    return _Post(row["channel"], _day(row["date"]), given, row["category"], float(row["views_at_snapshot"] or "nan"))


def _article(row: dict[str, str]) -> _Post:
    """The topic stands for the channel, shares for views."""
    topic = next((name for name, value in row.items() if name.startswith(_TOPIC) and float(value) == 1), "other")
    given = _numbers(
        row,
        text_len="n_tokens_content",
        n_words="n_tokens_title",
        n_links="num_hrefs",
        n_mentions="num_self_hrefs",
        n_hashtags="num_keywords",
    )
    media = "video" if float(row["num_videos"]) > 0 else "photo" if float(row["num_imgs"]) > 0 else "none"
    return _Post(topic.removeprefix(_TOPIC), _day(row["published"]), given, media, float(row["shares"]))


def _built(path: Path, timezone: str, post: Callable[[dict[str, str]], _Post]) -> list[ChannelHistory]:
    """Posts are numbered as the file's rows (its header is row 1)."""
    builders: dict[str, HistoryBuilder] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            made = post(row)
            if math.isnan(made.views):
                continue
            channel = Channel(len(builders) + 1, "default", made.channel, timezone, path.name, 1)
            builder = builders.setdefault(made.channel, HistoryBuilder(channel))
            builder.post(number, made.published_at, made.attributes, made.media)
            builder.reading(number, made.published_at + _LATE, made.views)
    return [builder.build() for builder in builders.values()]


def _numbers(row: dict[str, str], **columns: str) -> dict[str, float | None]:
    return {name: float(row[column]) if row[column] else None for name, column in columns.items()}


def _day(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
