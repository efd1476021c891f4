"""Decides whether a feedback item is taken, and whether it came in time; what it says is never a reason to drop it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from core.clock import DAY, HOUR
from core.errors import AnalyticBotError, InvalidInput, NotFound
from core.schemas.predictions import TARGET_AGE_H, FeedbackItem, FeedbackStatus, Target

_MOST = 2.0**53  # beyond it a float is no count
_LONGEST_KEY = 200
#: Feedback is late from this long after its target could be measured, joined or not.
LATE_S = 7 * DAY


class Refusal(NamedTuple):
    """Why an item is not taken."""

    status: FeedbackStatus
    error: AnalyticBotError


@dataclass(frozen=True, slots=True)
class Predicted:
    """What judging feedback needs of a prediction."""

    targets: tuple[Target, ...]
    settled: frozenset[Target]  # targets with an outcome
    published_at: int
    at: int  # when it was answered
    decided_at: int  # when its version was last put in charge, replaced or taken back; 0: never

    def due(self, target: Target | None) -> int:
        """When a target can be measured first; None: the last of all targets that were predicted."""
        targets = self.targets if target is None else (target,)
        return self.published_at + max((TARGET_AGE_H[t] for t in targets), default=0) * HOUR


def refusal(item: FeedbackItem, predicted: Predicted | None, now: int) -> Refusal | None:
    """Why an item is not taken; None: it is good. predicted None: this tenant has no such prediction."""
    fault = _form(item)
    if fault is not None:
        return Refusal("invalid", fault)
    if predicted is None:
        error = NotFound(f"no prediction {item.prediction_id!r}", prediction=item.prediction_id)
        return Refusal("unknown", error)
    if item.target is not None and item.target not in predicted.targets:
        known = ", ".join(predicted.targets) or "nothing: it failed"
        said = f"{item.target} is not what {item.prediction_id} predicted ({known})"
        return Refusal("invalid", InvalidInput(said, field="target"))
    if item.observed_at is not None and item.observed_at > now:
        ahead = item.observed_at - now
        said = f"observed_at lies {ahead:,} s in the future: it is {now} now"
        return Refusal("future", InvalidInput(said, field="observed_at"))
    if item.kind == "correction" and _before_due(item, predicted):
        return Refusal("invalid", InvalidInput(f"{item.target} cannot be seen so early", field="observed_at"))
    return None


def status_of(item: FeedbackItem, predicted: Predicted, now: int) -> FeedbackStatus:
    """Whether good feedback came in time: in no case is it less worth storing."""
    if predicted.at < predicted.decided_at <= now:
        return "after_decision"
    settled = predicted.settled if item.target is None else predicted.settled & {item.target}
    if settled or now > predicted.due(item.target) + LATE_S:
        return "late"
    return "accepted"


def _form(item: FeedbackItem) -> InvalidInput | None:
    """What can be said of an item without the prediction."""
    if not item.key.strip() or len(item.key) > _LONGEST_KEY or not item.key.isprintable():
        return InvalidInput(f"feedback needs a key of 1 to {_LONGEST_KEY} printable characters", field="key")
    if item.kind not in ("rating", "correction"):
        return InvalidInput(f"kind is rating or correction, not {item.kind!r}", field="kind")
    value = _number(item.value)
    if value is None:
        return InvalidInput("value must be a finite number", field="value")
    if item.kind == "rating" and not 1 <= value <= 5:
        return InvalidInput(f"a rating is a number from 1 to 5, not {value:g}", field="value")
    if item.kind == "correction" and not 0 <= value <= _MOST:
        return InvalidInput(f"a correction is a number from 0 on, not {value:g}", field="value")
    if item.kind == "correction" and item.target is None:
        return InvalidInput("a correction names the target whose value it gives", field="target")
    if item.observed_at is not None and not 0 <= item.observed_at < 2**62:
        return InvalidInput("observed_at is epoch seconds", field="observed_at")
    return None


def _before_due(item: FeedbackItem, predicted: Predicted) -> bool:
    return item.observed_at is not None and item.observed_at < predicted.due(item.target)


def _number(value: float) -> float | None:
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
