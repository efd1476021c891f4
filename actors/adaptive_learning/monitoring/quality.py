"""How far answers were off: sums by target and known age that add up over time, and the figures made of them.

The error of an answer is `JoinedOutcome.log_error`: log(measured) - log(predicted median).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from actors.adaptive_learning.monitoring import segments
from core.clock import DAY
from core.schemas.monitoring import SliceQuality
from core.store.metrics_store import Point, Sum
from core.store.outcomes import JoinedOutcome

ABS, SQUARE, SIGNED, COVERED, MATURED = "abs_log", "abs_log_squared", "log", "covered", "matured"
#: The same by arm and size band, over all targets and ages.
PART_ABS, PART_COVERED = "abs_log_part", "covered_part"


def slice_name(target: str, known_age_h: int) -> str:
    """Segment of a target predicted at an age."""
    return f"{target}@{known_age_h}"


def sums_of(outcomes: Iterable[JoinedOutcome]) -> Iterator[tuple[Point, Sum]]:
    """What outcomes add to the stored sums, in daily buckets of when they became known.

    Answers given when the value was known already are counted as matured and left out of the errors.
    """
    for outcome in outcomes:
        day = outcome.known_at // DAY * DAY
        if outcome.first:
            yield Point(outcome.model, outcome.version, "", MATURED, day), Sum(1, 1.0)
        if not outcome.foreseen:
            continue
        error = outcome.log_error
        inside = outcome.inside
        segment = slice_name(outcome.target, outcome.known_age_h)
        for metric, value in ((ABS, abs(error)), (SQUARE, error * error), (SIGNED, error), (COVERED, float(inside))):
            yield Point(outcome.model, outcome.version, segment, metric, day), Sum(1, value)
        for part in segments.of_outcome(outcome.arm, outcome.usual):
            yield Point(outcome.model, outcome.version, part, PART_ABS, day), Sum(1, abs(error))
            yield Point(outcome.model, outcome.version, part, PART_COVERED, day), Sum(1, float(inside))


def quality_of(totals: Mapping[tuple[str, str], Sum]) -> tuple[SliceQuality, ...]:
    """Figures of every slice with at least one matured answer.

    bias_log: mean of log(predicted) - log(measured), positive where the model promises too much. coverage: share of
    measured values inside the 80 % interval.
    """
    found = []
    for (segment, metric), absolute in totals.items():
        if metric != ABS or not absolute.n:
            continue
        target, age = segment.rsplit("@", 1)
        bias, covered = -totals[segment, SIGNED].mean, totals[segment, COVERED].mean
        found.append(SliceQuality(target, int(age), absolute.n, absolute.mean, bias, covered))
    return tuple(sorted(found, key=lambda q: (q.target, q.known_age_h)))
