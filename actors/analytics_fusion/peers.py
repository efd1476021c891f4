"""The figures of the other stored channels, kept in the database and renewed where their data has changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from actors.analytics_fusion.cohort import Member
from core.clock import DAY, Clock
from core.schemas.analytics import Overview
from core.schemas.channels import Channel
from core.store.channels import ChannelStore
from core.store.levels import Level, LevelStore

#: channels whose figures one question renews at most; the others are taken as they are stored
RENEWED = 50


class Peers:
    """Any number of processes may share the stored figures: renewing them twice gives the same."""

    def __init__(self, channels: ChannelStore, levels: LevelStore, clock: Clock) -> None:
        self.channels, self.levels, self.clock = channels, levels, clock

    def members(
        self, own: Channel, days: int, overview: Callable[[str, int], Overview]
    ) -> tuple[Member, tuple[Member, ...], tuple[str, ...]]:
        """A channel and the others with their figures of the last `days` days, and what to know about them."""
        every, stored = self.channels.channels(), self.levels.all(days)
        due = [channel for channel in every if not self._holds(stored.get(channel.id), channel)]
        due.sort(key=lambda channel: (channel.id != own.id, channel.id in stored, channel.id))
        fresh = [(channel, overview(channel.name, days)) for channel in due[:RENEWED]]
        self.keep(days, fresh)
        stored |= {channel.id: _level(channel, found) for channel, found in fresh}
        found = {
            channel.id: Member(channel.id, channel.category, stored[channel.id].figures)
            for channel in every
            if channel.id in stored
        }
        return found.pop(own.id), tuple(found.values()), _notes(due, len(every) - 1 - len(found), stored)

    def keep(self, days: int, overviews: Sequence[tuple[Channel, Overview]]) -> None:
        """Store what was computed anyway. Each channel as it was known before its overview was computed."""
        self.levels.save(days, [_level(channel, overview) for channel, overview in overviews])

    def _holds(self, level: Level | None, channel: Channel) -> bool:
        # A day ends once a day, at another hour in every zone: figures of yesterday's end still stand for a peer.
        return (
            level is not None
            and level.data_version == channel.data_version
            and 0 <= self.clock.now() - level.until < 2 * DAY
        )


def _level(channel: Channel, overview: Overview) -> Level:
    figures = {figure.metric: figure.value for figure in overview.figures if figure.value is not None}
    return Level(channel.id, overview.until, channel.data_version, figures)


def _notes(due: Sequence[Channel], without: int, stored: dict[int, Level]) -> tuple[str, ...]:
    notes = []
    old = sum(channel.id in stored for channel in due[RENEWED:])
    if old:
        notes.append(f"the figures of {old} channels are from before their newest data: asking again renews more")
    if without:
        notes.append(f"{without} channels are not in it yet: asking again adds more")
    return tuple(notes)
