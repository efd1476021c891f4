"""Shows what the channels say at a moment of the data's time, fetched as any client would."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.client import Bot
from cluster.client.sync import ChannelView
from cluster.story.screen import Screen, strongest_first
from core.clock import DAY
from core.errors import InsufficientData

_SHOWN_DAYS = 60
_AHEAD_DAYS = 30


@dataclass(frozen=True, slots=True)
class Figures:
    """Overviews of a few channels and the strongest findings of all."""

    screen: Screen
    bot: Bot
    channels: tuple[str, ...]

    def show(self, now: int) -> None:
        """Print them."""
        for name in self.channels:
            channel = self.bot.channels[name]
            self.screen.overview(channel.overview(days=30, until=now))
            self.screen.line(f"    {_ahead(channel)}")
            for missing in channel.status().missing:
                self.screen.line(f"    {missing}")
        found = self.bot.anomalies(since=now - _SHOWN_DAYS * DAY, limit=500)
        strongest = sorted(found, key=strongest_first)[:4]
        self.screen.line(
            f"{len(found)} unusual spells in the last {_SHOWN_DAYS} days" + (", the strongest:" if found else "")
        )
        for finding in strongest:
            self.screen.anomaly(finding)


def _ahead(channel: ChannelView) -> str:
    try:
        point = channel.forecast("subscribers", days=_AHEAD_DAYS).points[-1]
    except InsufficientData as gap:
        return f"in {_AHEAD_DAYS} days: {gap.message}"
    band = f"{point.lo80:,.0f} .. {point.hi80:,.0f}"
    return f"in {_AHEAD_DAYS} days: {point.mean:,.0f} subscribers, with 80 % {band}"
