"""Distributions of durations that add up: HDR histograms with a stated error, from the `hdrhistogram` library.

A histogram counts whole microseconds in bins that are at most 1 % wide, so sums over hours, versions or processes lose
nothing, whatever the order they are made in, and a quantile is off by no more than a bin (Tene, HdrHistogram).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from hdrh.histogram import HdrHistogram

from core.errors import StorageBroken

#: Width of a bin as a share of its value, at most.
RELATIVE_ERROR = 0.01
_DIGITS = 2  # decimal digits that are kept
_LONGEST_US = 3_600_000_000  # an hour; longer ones count as it


class LatencySketch:
    """Durations in milliseconds, from 1 us to 1 h; what is shorter or longer counts as the nearest of the two.

    >>> sketch = LatencySketch.of([10.0] * 99 + [500.0])
    >>> round(sketch.quantile(0.5)), sketch.n
    (10, 100)
    """

    __slots__ = ("_histogram",)

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, _LONGEST_US, _DIGITS)

    @classmethod
    def of(cls, milliseconds: Iterable[float]) -> LatencySketch:
        """A sketch of some durations."""
        sketch = cls()
        for value in milliseconds:
            sketch.add(value)
        return sketch

    @classmethod
    def load(cls, data: bytes) -> LatencySketch:
        """The sketch that `dump` wrote; StorageBroken for anything else."""
        sketch = cls()
        try:
            sketch._histogram.decode_and_add(data)
        except Exception as error:  # the library raises whatever its parts raise
            raise StorageBroken(f"a stored latency histogram cannot be read: {error!r}") from error
        return sketch

    @property
    def n(self) -> int:
        """Durations in it."""
        return int(self._histogram.total_count)

    def add(self, milliseconds: float) -> None:
        """Count one duration. ValueError for a number that is none."""
        self._histogram.record_value(round(min(max(milliseconds * 1000, 1), _LONGEST_US)))

    def merge(self, other: LatencySketch) -> None:
        """Count all of another's."""
        self._histogram.add(other._histogram)

    def quantile(self, share: float) -> float | None:
        """Milliseconds that at least a share (0..1) of the durations stayed at or below; None of nothing."""
        if not self.n:
            return None
        rank = max(math.ceil(share * self.n), 1)  # the library would round it, which understates tails of a few values
        return float(self._histogram.get_value_at_percentile(100 * rank / self.n)) / 1000

    def dump(self) -> bytes:
        """As bytes: about 60 for one duration, 2 kB for a hundred thousand."""
        return bytes(self._histogram.encode())
