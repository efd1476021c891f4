"""Whether a share of bad events has risen: requests that failed, outcomes outside their 80 % interval.

Requests are independent given the share and go to `error_rate`; misses of neighbouring posts resemble each other and
go to `Cusum.calibrated`, which measures that. Only a rise is an alarm: fewer failures are no drift. A rise that lasts
is one alarm, however often the sums pass their heights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from actors.adaptive_learning.drift.cusum import CLIP, Cusum
from actors.adaptive_learning.drift.error_rate import error_rate
from actors.adaptive_learning.drift.residuals import RATE, first_seen
from actors.adaptive_learning.monitoring.degradation import FLOORS, MARGIN
from core.errors import InsufficientData

Watched = Literal["missed", "failed"]
#: First values in service that become the reference. Failures are rare: their share needs more of them.
REFERENCE: dict[Watched, int] = {"missed": 400, "failed": 1000}
#: Of the rate that heights are set for: an autoregression explains only part of how 0/1 values come in bursts, and
#: there would be four times as many false alarms.
BURSTS = 0.2


@dataclass(slots=True)
class ShareDetector:
    """State of one stream of good and bad events; until its reference is complete it says nothing."""

    watched: Watched
    sums: Cusum | None = None
    n: int = 0
    alarms: int = 0
    last_alarm_at: int | None = None
    onset: int | None = None  # of the last rise
    since_n: int = 0  # values since then
    since_bad: int = 0
    waiting: list[int] = field(default_factory=list)
    recent_posts: list[str] = field(default_factory=list)
    rate: float = RATE  # false alarms a value

    def feed_many(self, bad: Sequence[bool], ats: Sequence[int]) -> int:
        """Take events at moments (n each), in order; how many rises were found."""
        found = 0
        for value, at in zip(bad, ats, strict=True):
            self.n += 1
            if self.sums is None:
                self._gather(value)
                continue
            alarm = self.sums.update(float(value), at)
            if self.alarms:
                self.since_n, self.since_bad = self.since_n + 1, self.since_bad + value
            if alarm is None:
                continue
            self.last_alarm_at = at
            # Not by the detector's own onset: it compares with the few newest values, nearly all bad among rare events.
            if not self.stands:
                self.alarms, self.onset, found = self.alarms + 1, alarm.onset, found + 1
                self.since_n = self.sums.since_rows
                self.since_bad = round(_share(self.sums, self.sums.mean_after) * self.since_n)
        return found

    def feed_posts(self, bad: Sequence[bool], ats: Sequence[int], posts: Sequence[str]) -> int:
        """The same for events of posts, each of which counts once."""
        new, self.recent_posts = first_seen(self.recent_posts, posts)
        return self.feed_many([bad[row] for row in new], [ats[row] for row in new])

    @property
    def needs(self) -> int:
        """Values still to come before it can judge."""
        return 0 if self.sums is not None else REFERENCE[self.watched] - len(self.waiting)

    @property
    def before(self) -> float | None:
        """Share of the reference."""
        return None if self.sums is None else _share(self.sums, self.sums.mean_before)

    @property
    def after(self) -> float | None:
        """Share since the last rise began; None before any."""
        return self.since_bad / self.since_n if self.alarms else None

    @property
    def effect(self) -> float | None:
        """after - before in standard deviations of an event of the reference."""
        before, after = self.before, self.after
        if before is None or after is None:
            return None
        return (after - before) / float(np.sqrt(before * (1 - before)))

    @property
    def stands(self) -> bool:
        """Whether the last rise is still there, beyond what degradation tolerates of a share."""
        before, after = self.before, self.after
        if before is None or after is None:
            return False
        return after - before >= max(MARGIN * before, FLOORS["error_rate"])

    def _gather(self, value: bool) -> None:
        self.waiting.append(int(value))
        if len(self.waiting) < REFERENCE[self.watched]:
            return
        reference = np.array(self.waiting, dtype=float)
        self.waiting = []
        if self.watched == "missed":
            try:
                self.sums = Cusum.calibrated(reference, self.rate * BURSTS, both=False)
                return
            except InsufficientData:
                pass  # all inside, or none: nothing to measure a dependence on
        self.sums = error_rate(int(reference.sum()), len(reference), self.rate)


def _share(sums: Cusum, mean: float) -> float:
    """A mean in a detector's unit as a share: clipping moves 0 and 1, and nothing between them."""
    zero, one = (
        sums.centre + sums.scale * float(np.clip((value - sums.centre) / sums.scale, -CLIP, CLIP)) for value in (0, 1)
    )
    return (mean - zero) / (one - zero)
