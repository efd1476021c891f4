"""What people corrected, as training rows: the value that they gave replaces the measured one, with a weight.

A correction teaches wherever its post makes a row, measured or not; of several for one target the last one counts. The
weight is how many measured posts a person's word is worth.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from core.errors import InvalidInput
from core.schemas.predictions import METRIC_OF, TARGETS, Correction, Target
from core.targets import log_of

if TYPE_CHECKING:
    from training.dataset import Dataset


class Corrected(NamedTuple):
    """A target's value in place of the measured one."""

    log_value: float  # on the scale of core.targets
    known_at: int


class Used(NamedTuple):
    """Which feedback a dataset contains: how many items, and a hash of their ids in order."""

    n: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Corrections:
    """Corrections by channel, post and target."""

    weight: float = 1.0
    last: dict[tuple[int, int, Target], Correction] = field(default_factory=dict)

    @classmethod
    def of(cls, corrections: Sequence[Correction], weight: float) -> Corrections:
        """In any order; of several for one target the one that was stored last. InvalidInput unless weight > 0."""
        if not 0 < weight < math.inf:
            raise InvalidInput(f"the weight of a correction is a number above 0, not {weight:g}", field="weight")
        last = {}
        for c in sorted(corrections, key=lambda c: (c.at, c.feedback_id)):
            last[c.channel_id, c.post_id, c.target] = c
        return cls(weight, last)

    def find(self, channel: int, post: int, target: Target, until: int) -> Corrected | None:
        """What was said of a target and known by a moment."""
        found = self.last.get((channel, post, target))
        if found is None or found.known_at > until:
            return None
        return Corrected(log_of(METRIC_OF[target], found.value), found.known_at)

    def used(self, data: Dataset) -> Used:
        """Those that some row of a dataset was made with."""
        ids = set()
        for place, target in enumerate(TARGETS):
            rows = zip(data.channel, data.post_id, data.known_at[:, place], strict=True)
            for channel, post, known_at in rows:
                found = self.last.get((int(channel), int(post), target))
                if found is not None and found.known_at == known_at:
                    ids.add(found.feedback_id)
        return Used(len(ids), hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest() if ids else "")
