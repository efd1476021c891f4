"""Decides, without any controller, that a canary is dead or far worse than stable, and takes its share away.

A run of failures opens it at once. Failures between successes are weighed as the roll-out's judge weighs them
(`betting.on_events`), over all executions of one split, and open it when a healthy canary would look like this once in
a million splits: the judge, who asks for less, has then had every chance to act before.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from math import log

from actors.adaptive_learning.deployment import betting

CONSECUTIVE_FAILURES = 20
OVERWHELMING = log(1e6)

_GAINS = tuple(map(log, betting.RATIOS))


@dataclass(slots=True)
class _Executions:
    n: int = 0
    failed: int = 0


class Breaker:
    """Only a new split closes it again. Safe to use from several threads; `look` is called about once a second."""

    def __init__(self, limit: int = CONSECUTIVE_FAILURES) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._run = 0
        self._open = False
        self._stable, self._canary = _Executions(), _Executions()
        self._bets = betting.NO_RATIO_BETS

    @property
    def is_open(self) -> bool:
        """Whether the canary gets nothing any more."""
        return self._open

    def stable(self, *, failed: bool) -> None:
        """The stable version was executed."""
        with self._lock:
            self._stable.n += 1
            self._stable.failed += failed

    def succeeded(self) -> None:
        """A canary answered: the run ends; an open breaker stays open."""
        with self._lock:
            self._run = 0
            self._canary.n += 1

    def failed(self) -> bool:
        """A canary failed; true when this failure opened the breaker."""
        with self._lock:
            self._run += 1
            self._canary.n += 1
            self._canary.failed += 1
            return self._opened(self._run >= self._limit)

    def look(self) -> bool:
        """Weigh what was executed since the last look; true when this opened the breaker."""
        with self._lock:
            stable, canary = self._stable, self._canary
            if not (stable.n and canary.n and stable.failed + canary.failed):
                return False  # without both versions there is no share to compare with: gather on
            self._stable, self._canary = _Executions(), _Executions()
            costs = betting.event_costs(betting.RATIOS, canary.n / (canary.n + stable.n))
            self._bets = betting.on_events(self._bets, _GAINS, costs, canary.failed, stable.failed)
            return self._opened(betting.mixture(self._bets) >= OVERWHELMING)

    def _opened(self, wanted: bool) -> bool:
        opened = wanted and not self._open
        self._open = self._open or wanted
        return opened
