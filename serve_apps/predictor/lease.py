"""Decides how long a canary may keep its share while nobody renews it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from core.schemas.rollouts import TrafficSplit


class Standing(StrEnum):
    """What the router does with the canary's share."""

    ALIVE = "alive"
    FROZEN = "frozen"  # the share stays as it is; nobody may be steering
    ABANDONED = "abandoned"  # nobody is: everything back to stable


@dataclass(frozen=True, slots=True)
class Lease:
    """When a renewal was last seen; durations are this process's own monotonic seconds."""

    epoch: int
    renewals: int
    seen_at: float
    lease_s: float
    abandon_s: float

    @staticmethod
    def of(split: TrafficSplit, now: float) -> Lease:
        """A lease as first seen."""
        return Lease(split.epoch, split.renewals, now, split.lease_s, split.abandon_s)

    def seen(self, split: TrafficSplit, now: float) -> Lease:
        """After looking at the stored split: a new epoch or a grown count renews, anything else lets time run."""
        renewed = split.epoch > self.epoch or (split.epoch == self.epoch and split.renewals > self.renewals)
        return Lease.of(split, now) if renewed else self

    def standing(self, now: float) -> Standing:
        """What silence since the last renewal means."""
        silent = now - self.seen_at
        if silent >= self.abandon_s:
            return Standing.ABANDONED
        return Standing.FROZEN if silent >= self.lease_s else Standing.ALIVE
