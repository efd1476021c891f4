"""Concept drift: whether the errors of a version's answers are still those that it was judged by.

One detector for each target and known age (errors shrink with the age). It watches the signed error (level: the
channel's audience answers more or less than the version believes) and its size (spread: right on average, but wrong
either way). A falling size is no drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from actors.adaptive_learning.drift.cusum import LEAST, Cusum
from core.errors import InsufficientData
from core.history import Floats
from core.schemas.monitoring import ResidualDrift

#: False alarms an outcome, level and spread together.
RATE = 1e-5
#: Posts remembered: a post asked for twice at one age counts once.
_REMEMBERED = 64


@dataclass(slots=True)
class ResidualDetector:
    """State of one stream of errors; `errors` are log(measured) - log(predicted median).

    Where training's holdout had fewer than LEAST errors, the first ones in service complete the reference: until then
    it says nothing, and `waiting` holds them.
    """

    level: Cusum | None = None
    spread: Cusum | None = None
    n: int = 0
    alarms: int = 0
    last_alarm_at: int | None = None
    onset: int | None = None
    kind: str | None = None  # of the last alarm: level, spread
    waiting: list[float] = field(default_factory=list)
    recent_posts: list[str] = field(default_factory=list)

    @classmethod
    def started(cls, reference: Floats, rng: np.random.Generator) -> ResidualDetector:
        """With the holdout's errors in order of time; too few of them, or errors that do not vary, wait for more."""
        detector = cls()
        detector._calibrate(reference, rng)
        return detector

    def feed(self, error: float, at: int, post: str, rng: np.random.Generator) -> bool:
        """Take the error of a post's answer, known at a moment; whether it raised an alarm."""
        if post in self.recent_posts:
            return False
        self.recent_posts = [*self.recent_posts, post][-_REMEMBERED:]
        self.n += 1
        if self.level is None or self.spread is None:
            self.waiting.append(error)
            if len(self.waiting) >= LEAST:
                self._calibrate(np.array(self.waiting), rng)
            return False
        by_kind = {"level": self.level.update(error, at), "spread": self.spread.update(abs(error), at)}
        for kind, alarm in by_kind.items():
            if alarm is not None:
                self.alarms += 1
                self.last_alarm_at, self.onset, self.kind = alarm.at, alarm.onset, kind
        return any(alarm is not None for alarm in by_kind.values())

    @property
    def needs(self) -> int:
        """Errors still to come before it can judge."""
        return 0 if self.level is not None else max(LEAST - len(self.waiting), 1)

    @property
    def alarmed(self) -> Cusum | None:
        """The sums that raised the last alarm."""
        return {"level": self.level, "spread": self.spread}[self.kind] if self.kind else None

    def _calibrate(self, reference: Floats, rng: np.random.Generator) -> None:
        try:
            level = Cusum.calibrated(reference, RATE / 2, rng)
            spread = Cusum.calibrated(np.abs(reference), RATE / 2, rng, both=False)
        except InsufficientData:
            self.waiting = reference[-LEAST + 1 :].tolist()  # errors that do not vary make room for later ones
            return
        self.level, self.spread, self.waiting = level, spread, []


def combined(detectors: Mapping[str, ResidualDetector]) -> ResidualDrift:
    """All streams of a version in one: counts over all, and the shift where it is largest now."""
    n, alarms = sum(d.n for d in detectors.values()), sum(d.alarms for d in detectors.values())
    alarmed = {name: cusum for name, d in detectors.items() if (cusum := d.alarmed) is not None}
    if not alarmed:
        return ResidualDrift(n, alarms, None, None, None, None)
    worst = max(alarmed, key=lambda name: abs(alarmed[name].effect))
    return ResidualDrift(
        n=n,
        alarms=alarms,
        last_alarm_at=max(d.last_alarm_at for d in detectors.values() if d.last_alarm_at is not None),
        onset_estimate=detectors[worst].onset,
        mean_before=alarmed[worst].mean_before,
        mean_after=alarmed[worst].mean_after,
        stream=f"{worst} {detectors[worst].kind}",
        effect=alarmed[worst].effect,
    )
