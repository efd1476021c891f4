"""Concept drift: whether the errors of a version's answers are still those that it was judged by.

One detector for each target and known age (errors shrink with the age), and one for each size of the answers within
it, which tells a drift of the large channels from one of all. Each watches the signed error (level: the channel's
audience answers more or less than the version believes) and its size (spread: right on average, but wrong either way).
A falling size is no drift.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from actors.adaptive_learning.drift.cusum import LEAST, Cusum
from core.errors import InsufficientData
from core.history import Floats
from core.schemas.monitoring import ResidualDrift

#: False alarms an outcome, level and spread together. An outcome belongs to one stream and to one size within it, so
#: that the two share the rate equally however many sizes there are.
RATE = 1e-5
#: Shift of the mean error, natural log, below which nobody is worse off: as much as a roll-out tolerates of a version.
MATERIAL = 0.05
SHARE = RATE / 2
_SMALLEST, _LARGEST = 2, 5  # powers of ten
_SIZE = " size "
#: A size is named in place of its stream when it moved further by so many standard deviations.
_NAMED_FROM = 0.25
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
    rate: float = RATE  # false alarms an outcome

    @classmethod
    def started(cls, reference: Floats, rate: float = SHARE) -> ResidualDetector:
        """With the holdout's errors in order of time; too few of them, or errors that do not vary, wait for more."""
        detector = cls(rate=rate)
        detector._calibrate(reference)
        return detector

    def feed(self, error: float, at: int, post: str) -> bool:
        """Take the error of a post's answer, known at a moment; whether it raised an alarm."""
        return self.feed_many([error], [at], [post]) > 0

    def feed_many(self, errors: Sequence[float], ats: Sequence[int], posts: Sequence[str]) -> int:
        """Take errors of posts' answers in order of knowing (n each); how many of them raised an alarm."""
        new, self.recent_posts = first_seen(self.recent_posts, posts)
        self.n += len(new)
        taken = 0
        while self._learning and taken < len(new):
            self.waiting.append(errors[new[taken]])
            taken += 1
            if len(self.waiting) >= LEAST:
                self._calibrate(np.array(self.waiting))
        if self.level is None or self.spread is None or taken == len(new):
            return 0
        values = np.array([errors[row] for row in new[taken:]])
        moments = np.array([ats[row] for row in new[taken:]], dtype=np.int64)
        raised = [(row, "level", alarm) for row, alarm in self.level.update_many(values, moments)]
        raised += [(row, "spread", alarm) for row, alarm in self.spread.update_many(np.abs(values), moments)]
        if not raised:
            return 0
        self.alarms += len(raised)
        _, self.kind, last = max(raised, key=lambda found: (found[0], found[1]))
        self.last_alarm_at, self.onset = last.at, last.onset
        return len({row for row, _, _ in raised})

    @property
    def _learning(self) -> bool:
        return self.level is None or self.spread is None

    @property
    def needs(self) -> int:
        """Errors still to come before it can judge."""
        return 0 if self.level is not None else max(LEAST - len(self.waiting), 1)

    @property
    def alarmed(self) -> Cusum | None:
        """The sums that raised the last alarm."""
        return {"level": self.level, "spread": self.spread}[self.kind] if self.kind else None

    def _calibrate(self, reference: Floats) -> None:
        try:
            level = Cusum.calibrated(reference, self.rate / 2)
            spread = Cusum.calibrated(np.abs(reference), self.rate / 2, both=False)
        except InsufficientData:
            self.waiting = reference[-LEAST + 1 :].tolist()  # errors that do not vary make room for later ones
            return
        self.level, self.spread, self.waiting = level, spread, []


def first_seen(recent: list[str], posts: Sequence[str]) -> tuple[list[int], list[str]]:
    """Rows of posts that are not among the recent ones, and the recent ones from now on."""
    new = []
    for row, post in enumerate(posts):
        if post not in recent:
            recent = [*recent, post][-_REMEMBERED:]
            new.append(row)
    return new, recent


def size_of(median: float) -> str:
    """Name of the size that an answer of this predicted median (views) belongs to: its power of ten, from 100 to
    100,000; smaller and larger ones belong to the ends.
    """
    power = min(max(int(np.floor(np.log10(max(median, 1.0)))), _SMALLEST), _LARGEST)
    return f"{_SIZE}1e{power}"


def is_size(stream: str) -> bool:
    """Whether a stream is one size's part of another."""
    return _SIZE in stream


def parts_of(stream: str) -> tuple[str, str]:
    """The whole stream and the size of a name; the size is empty for the whole."""
    whole, _, size = stream.partition(_SIZE)
    return whole, size


def is_material(before: float | None, after: float | None) -> bool:
    """Whether the mean error moved by enough to act upon."""
    return before is not None and after is not None and abs(after - before) >= MATERIAL


def combined(detectors: Mapping[str, ResidualDetector]) -> ResidualDrift:
    """All streams of a version in one: outcomes and alarms over all, and the shift where it is largest now.

    A shift that matters (MATERIAL) goes before one that is only certain: late answers err so little that a percent is
    many standard deviations.
    """
    n = sum(d.n for name, d in detectors.items() if not is_size(name))
    alarms = sum(d.alarms for d in detectors.values())
    alarmed = {name: cusum for name, d in detectors.items() if (cusum := d.alarmed) is not None}
    if not alarmed:
        return ResidualDrift(n, alarms, None, None, None, None)

    def rank(name: str) -> tuple[bool, float]:
        cusum = alarmed[name]
        return is_material(cusum.mean_before, cusum.mean_after), abs(cusum.effect) - _NAMED_FROM * is_size(name)

    worst = max(alarmed, key=rank)
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
