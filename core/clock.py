"""Where time comes from: wall time for people and data, monotonic time for durations; always passed in."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

HOUR = 3600
DAY = 86400


class Clock(Protocol):
    """What services ask for the time."""

    def now(self) -> int:
        """Seconds since 1970-01-01 UTC in the timeline of the data (the replay's own, when one runs)."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow, for durations; never the replay's."""
        ...


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The machine's clocks."""

    def now(self) -> int:
        """Wall time."""
        return int(time.time())

    def monotonic(self) -> float:
        """`time.monotonic()`: on Linux since boot, so comparable between processes of one machine."""
        return time.monotonic()


@dataclass(slots=True)
class ManualClock:
    """A clock that a test or a backtest moves by hand."""

    time: int = 0
    elapsed: float = 0.0

    def now(self) -> int:
        """The time set."""
        return self.time

    def monotonic(self) -> float:
        """The duration set."""
        return self.elapsed

    def advance(self, seconds: float) -> None:
        """Move both on."""
        self.time += int(seconds)
        self.elapsed += seconds
