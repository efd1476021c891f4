"""Decides, without any controller, that a canary is dead or far worse than stable, and takes its share away.

A run of failures opens it at once, unless stable fails too: then the fault is not the canary's. Failures between
successes are weighed as the roll-out's judge weighs them (`betting.on_events`), over all executions of one split, and
open it when a healthy canary would look like this once in a million splits: the judge, who asks for less, has then had
every chance to act before.
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
        self._stable_answered = False  # since the run began
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
            self._stable_answered = self._stable_answered or not failed

    def succeeded(self) -> None:
        """A canary answered: the run ends; an open breaker stays open."""
        with self._lock:
            self._run = 0
            self._canary.n += 1

    def failed(self) -> bool:
        """A canary failed; true when this failure opened the breaker."""
        with self._lock:
            self._stable_answered = self._stable_answered and self._run > 0
            self._run += 1
            self._canary.n += 1
            self._canary.failed += 1
            return self._opened(self._run >= self._limit and self._stable_answered)

    def look(self) -> bool:
        """Weigh what was executed since the last look; true when this opened the breaker."""
        with self._lock:
            if self._opened(self._run >= self._limit and self._stable_answered):
                return True
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
