"""Values of a channel by day: what growth and metrics are forecast from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from core.buckets import local_date
from core.errors import InvalidInput
from core.history import Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class DailySeries:
    """One value a day from `first_day` on; NaN where none is known."""

    name: str
    first_day: date
    values: Floats

    @classmethod
    def from_readings(cls, name: str, ts: Ints, counts: Floats, timezone: str = "UTC") -> DailySeries:
        """The last reading of each day of a time zone. ts: epoch seconds, in any order; counts: as many."""
        if len(ts) != len(counts):
            raise InvalidInput(f"{len(ts)} times and {len(counts)} counts", field="counts")
        last: dict[date, float] = {}
        for i in np.argsort(ts, kind="stable"):
            if not np.isnan(counts[i]):
                last[local_date(timezone, int(ts[i]))] = float(counts[i])
        if not last:
            return cls(name, date(1970, 1, 1), np.empty(0))
        first = min(last)
        values = np.full((max(last) - first).days + 1, np.nan)
        for day, count in last.items():
            values[(day - first).days] = count
        return cls(name, first, values)

    @property
    def known(self) -> NDArray[np.intp]:
        """Places of the days with a value. InvalidInput when one is infinite."""
        if np.isinf(self.values).any():
            raise InvalidInput(f"values of {self.name} are finite, or NaN where none is known", field="values")
        return np.flatnonzero(~np.isnan(self.values))

    def trimmed(self, most: int) -> DailySeries:
        """From the first to the last known value, at most the last `most` days of that."""
        places = self.known
        if not len(places):
            return DailySeries(self.name, self.first_day, np.empty(0))
        stop = int(places[-1]) + 1
        start = max(int(places[0]), stop - most)
        start = int(places[places >= start][0])
        values = np.asarray(self.values[start:stop], dtype=float)
        return DailySeries(self.name, self.first_day + timedelta(days=start), values)

    @property
    def last_day(self) -> date:
        """Of the array, with or without a value."""
        return self.first_day + timedelta(days=len(self.values) - 1)
