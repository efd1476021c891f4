"""Decides, without any controller, that a canary is dead: a run of failures takes its share away."""

from __future__ import annotations

import threading

CONSECUTIVE_FAILURES = 20


class Breaker:
    """Opens after a run of failures; only a new split closes it again. Safe to use from several threads."""

    def __init__(self, limit: int = CONSECUTIVE_FAILURES) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._run = 0
        self._open = False

    @property
    def is_open(self) -> bool:
        """Whether the canary gets nothing any more."""
        return self._open

    def succeeded(self) -> None:
        """A canary answered: the run ends; an open breaker stays open."""
        with self._lock:
            self._run = 0

    def failed(self) -> bool:
        """A canary failed; true when this failure opened the breaker."""
        with self._lock:
            self._run += 1
            opened = not self._open and self._run >= self._limit
            self._open = self._open or opened
            return opened
