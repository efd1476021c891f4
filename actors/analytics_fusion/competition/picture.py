"""Puts a channel beside its competitors: share of voice, cadence, figures at equal age, and what it leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from actors.analytics_fusion import comparison
from actors.analytics_fusion.competition.gaps import Published, gaps, published
from actors.analytics_fusion.competition.voice import cadence, voices
from actors.analytics_fusion.overview import Period
from core.errors import NoData
from core.history import ChannelHistory
from core.schemas.analytics import Overview
from core.schemas.channels import Channel
from core.schemas.competitors import Competition
from core.store.channels import ChannelStore

#: what is shown side by side: pace of publishing, views, engagement and growth
METRICS = ("posting_rate", "views_24h", "views_final", "err", "vtr", "virality", "growth_rate", "consistency")


class Numbers(Protocol):
    """What is asked of the service about each channel."""

    channels: ChannelStore

    def overview(self, channel: str, days: int = 30, until: int | None = None) -> Overview:
        """Figures of a period."""
        ...

    def period(self, channel: Channel, days: int, until: int) -> Period:
        """The days of a period."""
        ...

    def history(self, channel: Channel) -> ChannelHistory:
        """A channel's arrays."""
        ...


def competition(own: Channel, wanted: Sequence[str], days: int, until: int, numbers: Numbers) -> Competition:
    """The channel beside the wanted ones that are stored; NoData where none of them is."""
    by_name = {channel.name: channel for channel in numbers.channels.channels()}
    names = [name for name in dict.fromkeys(wanted) if name != own.name]
    others = [by_name[name] for name in names if name in by_name][: comparison.MOST - 1]
    absent = [name for name in names if name not in by_name]
    if not others:
        why = f"none of them is stored: {', '.join(absent[:5])}" if absent else "no mention leads to a stored channel"
        raise NoData(f"nobody to compare {own.name!r} with: {why}; name others, or import their data")
    every = (own, *others)
    histories = [numbers.history(channel) for channel in every]
    periods = [numbers.period(channel, days, until) for channel in every]
    voice, lacking = voices(histories, periods, numbers.channels.all_mentions())
    compared = comparison.compare([numbers.overview(c.name, days, until) for c in every], days)
    done = [_published(numbers.channels, h, p) for h, p in zip(histories, periods, strict=True)]
    notes = [*lacking, *(note for note in compared.notes if not note.startswith("none of the channels"))]
    if absent:
        notes.insert(0, f"not stored, so left aside: {', '.join(absent)}")
    notes.append("topics are not derived: gaps are of hashtags and of the forms of posts only")
    if "hashtag" not in done[0].known:
        notes.append(f"no hashtag gaps: no texts of {own.name} are stored")
    return Competition(
        own.name,
        tuple(channel.name for channel in others),
        days,
        voice,
        tuple(cadence(h, p) for h, p in zip(histories, periods, strict=True)),
        tuple(row for row in compared.metrics if row.metric in METRICS),
        gaps(done[0], done[1:]),
        tuple(notes),
    )


def _published(channels: ChannelStore, history: ChannelHistory, period: Period) -> Published:
    since, until = int(period.now[0]), int(period.now[-1])
    inside = (history.published_at >= since) & (history.published_at < until)
    texts = channels.posts.texts(history.channel, history.post_ids[inside].tolist())
    return published(history, since, until, texts)
