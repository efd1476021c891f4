"""Which waiting predictions the stored readings settle, and with what value."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from core.history import NEVER, ChannelHistory, Known, target_values
from core.schemas.predictions import TARGETS, Outcome, Target
from core.store.outcomes import Pending


def settle(history: ChannelHistory, pending: Sequence[Pending], now: int) -> tuple[Outcome, ...]:
    """Outcomes of every waiting target whose value was known at `now`, in order of when it became known.

    The value is the one that training learns from (`core.history.target_values`). Targets without one (yet), and
    predictions of posts that the history does not hold, stay waiting.
    """
    known: dict[Target, Known] = {}
    place = {int(post): i for i, post in enumerate(history.post_ids)}
    outcomes: list[Outcome] = []
    for prediction in pending:
        i = place.get(prediction.post_id)
        if i is None:
            continue
        for target in prediction.targets:
            if target not in known:
                known[target] = target_values(history, target)
            if known[target].known_at[i] <= now:
                value, moment = float(known[target].values[i]), int(known[target].known_at[i])
                outcomes.append(Outcome(prediction.prediction_id, target, value, moment))
    return tuple(sorted(outcomes, key=lambda o: (o.known_at, o.prediction_id, o.target)))


def known_last(history: ChannelHistory, post_ids: Collection[int], now: int) -> int | None:
    """When the last value of some posts' targets, stored already but not known at `now`, will be known; None: none."""
    chosen = np.isin(history.post_ids, np.array(sorted(post_ids), dtype=np.int64))
    later: list[int] = []
    for target in TARGETS:
        moments = target_values(history, target).known_at[chosen]
        later += moments[(moments > now) & (moments < NEVER)].tolist()
    return max(later, default=None)
