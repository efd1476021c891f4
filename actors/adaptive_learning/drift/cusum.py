"""Whether the mean of a stream has left its reference: cumulative sums with heights calibrated on the reference.

Page's two-sided CUSUM on standardised, clipped values, with one slack for shifts of about half a standard deviation
and one for about a whole one; clipping keeps one wild value from raising an alarm. Heights come from the reference's
distribution, its long-run variance, and what a reference of its length leaves open (thresholds.py). As long as there
is no alarm, the rows before make the mean better known, and the heights come down.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from actors.adaptive_learning.drift.dependence import long_run
from actors.adaptive_learning.drift.sums import Side, all_on_grid, on_grid
from actors.adaptive_learning.drift.thresholds import JOINT, WIDER, Heights, soonest
from core.errors import InsufficientData, InvalidInput
from core.history import Floats, Ints

#: Slacks in standard deviations, each best for shifts of twice its size.
SLACKS = (0.25, 0.5)
CLIP = 3.0
#: Reference values below which no height can be had: their mean could be off by more than a slack.
LEAST = 100
#: The mean is learned anew when the values behind it have become GROWTH times as many, STEPS times at most; it may
#: move by REACH standard errors of the reference's own mean: further would be to learn a drift.
GROWTH, STEPS, REACH = 2**0.5, 6, 2.0
_FIRST_BLOCK, _LONGEST_BLOCK = 128, 8192


@dataclass(frozen=True, slots=True)
class Alarm:
    """Raised at `at`; the shift began about `onset` (both on the timeline of the stream).

    `onset` is where the sum with the slack nearest half of the shift's size last left zero: for a shift of twice that
    slack the maximum-likelihood estimate (Hinkley, Biometrika 58, 1971).
    """

    at: int
    onset: int
    up: bool


@dataclass(slots=True)
class Learning:
    """Rows in service that the mean may still be learned from; ends at the first alarm.

    `rows` and `total` (of the standardised values) since the start; `held`: the total of the first `due` rows, which
    are learned from once `wait` more have passed without an alarm. When that is does not depend on the values: rows
    left out because a sum is up would bias the mean. `reach`: furthest that the mean may move, in standard deviations;
    `moved`: how far it has; `heights` from then on, one tuple a step, and `slopes`: what they grow by for a mean that
    moved by one deviation (empty: nothing).
    """

    reference: int
    reach: float
    due: int
    wait: int
    heights: tuple[tuple[float, ...], ...]
    rows: int = 0
    total: float = 0.0
    held: float = 0.0
    moved: float = 0.0
    slopes: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def begun(cls, reference: int, reach: float, delay: float, heights: Sequence[tuple[float, ...]]) -> Learning:
        """At the start of a service; `delay`: rows in which the least shift looked for is found, on average."""
        wait = max(min(int(np.ceil(delay)), reference), 1)
        return cls(reference, reach, _due_after(reference, 1), wait, tuple(heights))

    @property
    def next(self) -> int:
        """Rows until something is to be done."""
        return (self.due if self.rows < self.due else self.due + self.wait) - self.rows

    def shift(self) -> float:
        """Move of the mean, in standard deviations, by the rows that were held."""
        # `held` is relative to the present mean, which lies `moved` from the reference's.
        mean = (self.held + self.due * self.moved) / (self.reference + self.due)
        return on_grid(min(max(mean, -self.reach), self.reach) - self.moved)

    def step(self, shift: float) -> tuple[float, ...]:
        """Go on from the mean moved by `shift`; the heights from now on."""
        self.total -= self.rows * shift
        self.moved += shift
        now, *later = self.heights
        self.heights = tuple(later)
        if self.slopes:
            slopes, *others = self.slopes
            self.slopes = tuple(others)
            now = tuple(height + slope * self.moved for height, slope in zip(now, slopes, strict=True))
        self.due = max(_due_after(self.reference, STEPS + 1 - len(later)), self.rows + 1)
        return now


@dataclass(slots=True)
class Cusum:
    """A detector and its state: a few dozen numbers, whatever it has seen.

    The reference stays what it was after an alarm: a baseline learned straight after one could swallow the next
    shift. The sums start again at zero, so a lasting shift raises alarm after alarm, all of one onset. `since_*`:
    values since the onset of the last alarm's shift (before any: since the start).
    """

    centre: float
    scale: float
    offset: float  # mean of the clipped reference
    deviation: float  # standard deviation of the clipped reference
    thresholds: tuple[float, ...]  # by slack
    up: tuple[Side, ...]  # by slack
    down: tuple[Side, ...]  # empty: only a rising mean is looked for
    since_rows: int = 0
    since_total: float = 0.0
    slacks: tuple[float, ...] = SLACKS
    learning: Learning | None = None
    onset: int | None = None  # of the last alarm's shift

    @classmethod
    def calibrated(cls, reference: Floats, rate: float, *, both: bool = True) -> Cusum:
        """From reference values in order of time; `rate`: false alarms a row.

        Raises InsufficientData below LEAST values, or when they do not vary.
        """
        n = len(reference)
        if n < LEAST:
            raise InsufficientData("too few reference values for a threshold", needed=LEAST, have=n)
        centre = float(np.median(reference))
        scale = 1.4826 * float(np.median(np.abs(reference - centre))) or float(np.std(reference))
        if not scale > 1e-12:
            raise InsufficientData("the reference values do not vary", needed=2, have=1)
        clipped = np.clip((reference - centre) / scale, -CLIP, CLIP)
        offset, deviation = float(clipped.mean()), float(clipped.std(ddof=1))
        z = (clipped - offset) / deviation
        law = long_run(z)
        sides = [Heights(law, n), Heights(law.mirrored(), n)] if both else [Heights(law, n)]
        part = rate / JOINT / len(SLACKS) / len(sides)

        def height(slack: float, known: float = n) -> float:
            return max(side.at(slack, part, known) for side in sides)

        slacks = tuple(on_grid(soonest(2 * k, [k * wider for wider in WIDER], height)) for k in SLACKS)
        now, *later = (tuple(height(slack, known) for slack in slacks) for known in learned_from(n))
        delay = max(h / (2 * k - slack) for h, k, slack in zip(now, SLACKS, slacks, strict=True))
        learning = Learning.begun(n, REACH * law.deviation / float(np.sqrt(n)), delay, later)
        down = at_rest(slacks) if both else ()
        return cls(centre, scale, offset, deviation, now, at_rest(slacks), down, slacks=slacks, learning=learning)

    def update(self, value: float, at: int) -> Alarm | None:
        """Take the next value of the stream; InvalidInput if it is not a number."""
        if value != value:
            raise InvalidInput("a value is not a number", field="values")
        clipped = min(max((value - self.centre) / self.scale, -CLIP), CLIP)
        z = on_grid((clipped - self.offset) / self.deviation)
        self.since_rows += 1
        self.since_total += z
        if self.learning is not None:
            self.learning.rows += 1
            self.learning.total += z
        for sides, sign in ((self.up, 1.0), (self.down, -1.0)):
            for side, slack in zip(sides, self.slacks, strict=bool(sides)):
                side.add(sign * z - slack, z, at)
        for sides in (self.up, self.down):
            for side, threshold in zip(sides, self.thresholds, strict=bool(sides)):
                if side.value > threshold:
                    return self._alarm(side, at)
        if self.learning is not None:
            self._learn(self.learning)
        return None

    def update_many(self, values: Floats, ats: Ints) -> list[tuple[int, Alarm]]:
        """Take values (n) known at `ats` (n): the alarms, each with its row, and the state of `update` one by one."""
        if len(values) != len(ats):
            raise InvalidInput("values and times differ in number", field="ats")
        if np.isnan(values).any():
            raise InvalidInput("a value is not a number", field="values")
        alarms: list[tuple[int, Alarm]] = []
        begin, block = 0, _FIRST_BLOCK
        while begin < len(values):
            # The mean moves between blocks only.
            end = begin + (block if self.learning is None else min(block, self.learning.next))
            taken, alarm = self._advance(values[begin:end], ats[begin:end])
            begin, block = begin + taken, min(2 * block, _LONGEST_BLOCK)
            if alarm is not None:
                alarms.append((begin - 1, alarm))
                block = _FIRST_BLOCK
        return alarms

    def _advance(self, values: Floats, ats: Ints) -> tuple[int, Alarm | None]:
        """Take values up to the first alarm; how many, and the alarm."""
        z = all_on_grid((np.clip((values - self.centre) / self.scale, -CLIP, CLIP) - self.offset) / self.deviation)
        paths = [side.path(sign * z - slack) for side, sign, slack in self._all()]
        count, raised = len(z), None
        for index, (path, threshold) in enumerate(zip(paths, self._thresholds(), strict=True)):
            over = path[:count] > threshold
            first = int(np.argmax(over))
            if over[first] and (raised is None or first + 1 < count):
                count, raised = first + 1, index
        for (side, _, _), path in zip(self._all(), paths, strict=True):
            side.take(path[:count], z[:count], ats[:count])
        total = float(np.sum(z[:count]))
        self.since_rows += count
        self.since_total += total
        if self.learning is not None:
            self.learning.rows += count
            self.learning.total += total
        if raised is not None:
            return count, self._alarm(self._sides()[raised], int(ats[count - 1]))
        if self.learning is not None:
            self._learn(self.learning)
        return count, None

    def _learn(self, learning: Learning) -> None:
        """Hold the rows that are due, or move the mean by those held; the sums stay as they are."""
        if learning.rows == learning.due:
            learning.held = learning.total
        if learning.rows != learning.due + learning.wait:
            return
        shift = learning.shift()
        self.thresholds = learning.step(shift)
        self.offset += self.deviation * shift
        self.since_total -= self.since_rows * shift
        for side in self._sides():
            side.total -= side.rows * shift
        if not learning.heights:
            self.learning = None

    def _alarm(self, raised: Side, at: int) -> Alarm:
        rising = any(side is raised for side in self.up)
        half = abs(raised.total) / raised.rows / 2
        open_sides = [
            (abs(slack - half), side)
            for side, slack in zip(self.up if rising else self.down, self.slacks, strict=True)
            if side.value > 0.0
        ]
        likely = min(open_sides, key=lambda found: found[0])[1]
        if self.onset is None or not self._lasts(likely):
            self.since_rows, self.since_total, self.onset = likely.rows, likely.total, likely.onset
        self.up, self.down = at_rest(self.slacks), at_rest(self.slacks) if self.down else ()
        self.learning = None
        return Alarm(at, self.onset, rising)

    def _lasts(self, newest: Side) -> bool:
        """Whether an alarm is of the same shift as the one before: half of it stands since that one's onset."""
        return self.effect * newest.total > 0 and abs(self.effect) >= abs(newest.total) / newest.rows / 2

    def _all(self) -> Iterator[tuple[Side, float, float]]:
        for sides, sign in ((self.up, 1.0), (self.down, -1.0)):
            for side, slack in zip(sides, self.slacks, strict=bool(sides)):
                yield side, sign, slack

    def _sides(self) -> tuple[Side, ...]:
        return self.up + self.down

    def _thresholds(self) -> tuple[float, ...]:
        return self.thresholds * (2 if self.down else 1)

    @property
    def effect(self) -> float:
        """Mean since the last alarm's onset, in standard deviations of the reference; 0 before any value."""
        return self.since_total / self.since_rows if self.since_rows else 0.0

    @property
    def mean_before(self) -> float:
        """Mean of the reference in the stream's unit (clipped values, as all means here)."""
        return self.centre + self.scale * self.offset

    @property
    def mean_after(self) -> float:
        """Mean since the last alarm's onset in the stream's unit."""
        return self.mean_before + self.scale * self.deviation * self.effect


def learned_from(reference: int) -> list[float]:
    """Values behind the mean at the start and after each step."""
    return [reference * GROWTH**step for step in range(STEPS + 1)]


def _due_after(reference: int, step: int) -> int:
    """Confirmed rows in service at which a step (from 1) is due."""
    return round(reference * (GROWTH**step - 1))


def at_rest(slacks: tuple[float, ...]) -> tuple[Side, ...]:
    """A sum at zero for each slack."""
    return tuple(Side() for _ in slacks)
