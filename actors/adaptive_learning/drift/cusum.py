"""Whether the mean of a stream has left its reference: cumulative sums with thresholds calibrated on the reference.

Page's two-sided CUSUM on standardised, clipped values, with one slack for shifts of about half a standard deviation
and one for about a whole one; clipping keeps one wild value from raising an alarm. Thresholds come from simulated
streams with the reference's distribution and long-run variance, each seen through a reference that is itself
uncertain: with a short reference, alarms come later, not falsely.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from core.errors import InsufficientData
from core.history import Floats

#: Slacks in standard deviations, each best for shifts of twice its size; false alarms are shared out equally.
SLACKS = (0.25, 0.5)
CLIP = 3.0
#: Reference values below which no threshold can be had: their mean could be off by more than a slack.
LEAST = 100
_STREAMS, _LENGTH = 1024, 2000
_TAIL = 100  # largest excursions that the threshold is read from


@dataclass(frozen=True, slots=True)
class Alarm:
    """Raised at `at`; the shift began about `onset` (both on the timeline of the stream)."""

    at: int
    onset: int
    up: bool


@dataclass(slots=True)
class Side:
    """One direction's sum, and when it last left zero."""

    value: float = 0.0
    rows: int = 0
    total: float = 0.0  # of the standardised values since then
    onset: int = 0

    def add(self, step: float, standardised: float, at: int) -> None:
        """Move by `step`; back at zero, everything before is forgotten."""
        if self.value == 0.0:
            self.rows, self.total, self.onset = 0, 0.0, at
        self.value = max(self.value + step, 0.0)
        self.rows += 1
        self.total += standardised


@dataclass(slots=True)
class Cusum:
    """A detector and its state: a few dozen numbers, whatever it has seen.

    The reference stays what it was after an alarm: a baseline learned straight after one could swallow the next
    shift. The sums start again at zero, so a lasting shift raises alarm after alarm. `since_*`: values since the
    onset of the last alarm's shift (before any: since the start).
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

    @classmethod
    def calibrated(cls, reference: Floats, rate: float, rng: np.random.Generator, *, both: bool = True) -> Cusum:
        """From reference values in order of time; `rate`: false alarms a row.

        Raises InsufficientData below LEAST values, or when they do not vary.
        """
        if len(reference) < LEAST:
            raise InsufficientData("too few reference values for a threshold", needed=LEAST, have=len(reference))
        centre = float(np.median(reference))
        scale = 1.4826 * float(np.median(np.abs(reference - centre))) or float(np.std(reference))
        if not scale > 1e-12:
            raise InsufficientData("the reference values do not vary", needed=2, have=1)
        clipped = np.clip((reference - centre) / scale, -CLIP, CLIP)
        offset, deviation = float(clipped.mean()), float(clipped.std(ddof=1))
        thresholds = thresholds_for((clipped - offset) / deviation, rate, rng, both=both)
        return cls(centre, scale, offset, deviation, thresholds, _sides(), _sides() if both else ())

    def update(self, value: float, at: int) -> Alarm | None:
        """Take the next value of the stream."""
        clipped = min(max((value - self.centre) / self.scale, -CLIP), CLIP)
        z = (clipped - self.offset) / self.deviation
        self.since_rows += 1
        self.since_total += z
        for sides, sign in ((self.up, 1.0), (self.down, -1.0)):
            for side, slack, threshold in zip(sides, SLACKS, self.thresholds, strict=bool(sides)):
                side.add(sign * z - slack, z, at)
                if side.value > threshold:
                    self.since_rows, self.since_total = side.rows, side.total
                    self.up, self.down = _sides(), _sides() if self.down else ()
                    return Alarm(at, side.onset, sign > 0)
        return None

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


def _sides() -> tuple[Side, ...]:
    return tuple(Side() for _ in SLACKS)


def thresholds_for(z: Floats, rate: float, rng: np.random.Generator, *, both: bool) -> tuple[float, ...]:
    """Heights that the sums of a stream like `z` (mean 0, standard deviation 1) exceed `rate` times a row in all.

    2 million rows are simulated with z's distribution and long-run variance, each stream seen through a reference
    whose mean and standard deviation are off by as much as n values leave open.
    """
    n, long_run = len(z), long_run_variance(z)
    streams = _like(z, long_run, rng)
    off = ndtri((np.arange(_STREAMS) + 0.5) / _STREAMS)
    kurtosis = float(np.mean(z**4))
    wider = 1.0 + rng.permutation(off) * np.sqrt(max(kurtosis - 1.0, 0.0) * long_run / (4 * n))
    streams = streams * np.maximum(wider, 0.5) + off * np.sqrt(long_run / n)
    return tuple(_height(streams, slack, rate / len(SLACKS), both) for slack in SLACKS)


def _height(streams: Floats, slack: float, rate: float, both: bool) -> float:
    peaks = _excursions(streams - slack)
    if both:
        peaks = np.concatenate([peaks, _excursions(-streams - slack)])
    tail = np.sort(peaks)[-_TAIL:]
    if len(tail) < _TAIL:  # next to no excursions: a stream of such values hardly moves
        return float(tail[-1]) + 1.0 if len(tail) else 1.0
    # Exponential beyond the smallest of the tail: the mean excess is its scale.
    floor = float(tail[0])
    return floor + float(np.mean(tail - floor)) * float(np.log(_TAIL / (rate * streams.size)))


def long_run_variance(z: Floats) -> float:
    """n times the variance of the mean of n neighbours, in variances of one value: 1 without dependence.

    The larger of two estimates, from the means of overlapping blocks and from the correlation of direct neighbours
    (as of an autoregression): the first sees any dependence and is noisy, the second is steady and sees only the
    nearest. Never below 1: falling short of it by chance would raise false alarms.
    """
    n = len(z)
    block = int(np.clip(2 * n ** (1 / 3), 5, n // 4))
    sums = np.cumsum(np.concatenate([[0.0], z]))
    means = (sums[block:] - sums[:-block]) / block
    from_blocks = block * float(np.mean(means**2)) / float(np.mean(z**2)) / (1 - block / n)
    neighbours = float(np.clip(z[:-1] @ z[1:] / (z @ z), 0.0, 0.95))
    return max(1.0, from_blocks, (1 + neighbours) / (1 - neighbours))


def _like(z: Floats, long_run: float, rng: np.random.Generator) -> Floats:
    """Streams (length x streams) of z's values, correlated as an autoregression of that long-run variance."""
    streams = z[rng.integers(0, len(z), size=(_LENGTH, _STREAMS))]
    phi = (long_run - 1) / (long_run + 1)
    if phi > 0:
        fresh = np.sqrt(1 - phi**2)
        for t in range(1, _LENGTH):
            streams[t] = phi * streams[t - 1] + fresh * streams[t]
    return streams


def _excursions(steps: Floats) -> Floats:
    """Heights that the sums of each stream's steps (length x streams) reach before they fall back to zero."""
    sums, heights = np.zeros(steps.shape[1]), np.zeros(steps.shape[1])
    found = []
    for step in steps:
        sums = np.maximum(sums + step, 0.0)
        ended = (sums == 0.0) & (heights > 1.0)
        if ended.any():
            found.append(heights[ended])
        heights = np.maximum(heights, sums) * (sums > 0.0)
    found.append(heights[heights > 1.0])
    return np.concatenate(found)
