"""River's drift detectors behind one call and one direction: errors up raise an alarm, errors down do not.

They differ in what they take (FHDDM: 1 for a right answer), in which direction they look (ADWIN and KSWIN: both) and
in when they start again (some at the call after an alarm).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from river import drift

from core.history import Floats

#: Detectors by name, with their default settings; Page-Hinkley as it is for errors, which only rise to be bad.
DETECTORS: dict[str, Callable[[], Any]] = {
    "ADWIN": drift.ADWIN,
    "PageHinkley": lambda: drift.PageHinkley(mode="up"),
    "KSWIN": lambda: drift.KSWIN(seed=1),
    "DDM": drift.binary.DDM,
    "EDDM": drift.binary.EDDM,
    "FHDDM": drift.binary.FHDDM,
    "HDDMA": drift.binary.HDDMA,
    "HDDMW": drift.binary.HDDMW,
}
#: Those that take 0 and 1 only.
BINARY = ("DDM", "EDDM", "FHDDM", "HDDMA", "HDDMW")
_RIGHT_IS_ONE = ("FHDDM",)
_NEWEST = 30


class RiverDetector:
    """One of DETECTORS, made anew after each alarm in either direction."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._start()

    def _start(self) -> None:
        self._detector = DETECTORS[self._name]()
        self._newest: deque[float] = deque(maxlen=_NEWEST)
        self._earlier_rows, self._earlier_total = 0, 0.0

    def update(self, error: float) -> bool:
        """Take the next error (or its size); whether it raised an alarm: a change, with the newest errors above the
        mean of all since the last change.
        """
        if len(self._newest) == _NEWEST:
            self._earlier_rows += 1
            self._earlier_total += self._newest[0]
        self._newest.append(error)
        self._detector.update(1.0 - error if self._name in _RIGHT_IS_ONE else error)
        if not self._detector.drift_detected:
            return False
        rose = sum(self._newest) / len(self._newest) > self._before()
        self._start()
        return rose

    def _before(self) -> float:
        if self._earlier_rows:
            return self._earlier_total / self._earlier_rows
        half = max(len(self._newest) // 2, 1)
        return sum(list(self._newest)[:half]) / half

    def alarms(self, errors: Floats) -> list[int]:
        """Rows of a stream (n) that raised an alarm."""
        return [int(row) for row in np.flatnonzero([self.update(error) for error in errors.tolist()])]
