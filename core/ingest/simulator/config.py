"""What to simulate."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """Size, span and planted events of a set of simulated channels; the same config gives the same bytes."""

    channels: int = 12
    days: int = 60
    posts_per_day: float = 3.0
    seed: int = 7
    start: int = 1_736_121_600  # 2025-01-06 00:00 UTC, a Monday
    reading_every_h: float = 4.0  # up to four days of age; every 12 h up to seven days
    drift_at: float | None = 0.6  # share of the span at which the audience changes its taste; None: never
    anomalies: bool = True  # plant a purge, a bought audience and a forwarded hit
    noise: float = 0.22  # standard deviation of a post's log views around what its features explain

    def __post_init__(self) -> None:
        if self.channels < 1 or self.days < 2 or not 0 < self.posts_per_day <= 200:
            raise InvalidInput("a simulation needs at least 1 channel, 2 days and 0 < posts_per_day <= 200")
        if self.drift_at is not None and not 0 < self.drift_at < 1:
            raise InvalidInput("drift_at is a share of the span, between 0 and 1", field="drift_at")
