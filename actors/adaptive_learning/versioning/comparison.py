"""Compares two versions' stored scores slice by slice, each metric in its own direction. Pure.

Only scores of one and the same holdout are comparable; which version goes on trial is decided by the paired comparison
in `Evaluation.versus_champion`, this table shows a person where the difference lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.errors import InsufficientData, Refused
from core.schemas.models import Evaluation, Score

Verdict = Literal["better", "worse", "undecided"]


@dataclass(frozen=True, slots=True)
class SliceComparison:
    """One metric of one target at one known age: the first version's value beside the second's."""

    target: str
    known_age_h: int
    metric: str  # mae_log (lower is better), auc (higher), coverage (nearer to 0.8)
    n: int
    first: float
    second: float
    verdict: Verdict  # of the second version


def compare(first: Evaluation, second: Evaluation) -> tuple[SliceComparison, ...]:
    """Every slice that both were scored on.

    Refused when the holdouts differ, InsufficientData when no slice is common. A |log error| is called better or worse
    only where the two 95 % intervals do not overlap; the other metrics have no stored interval, so they get no
    verdict.
    """
    holdouts = [(e.holdout_from, e.holdout_until) for e in (first, second)]
    if holdouts[0] != holdouts[1]:
        raise Refused(f"scored on different holdouts {holdouts[0]} and {holdouts[1]}: evaluate both on one")
    theirs = {(s.target, s.known_age_h): s for s in second.scores.get("model", ())}
    ours = [s for s in first.scores.get("model", ()) if (s.target, s.known_age_h) in theirs]
    if not ours:
        raise InsufficientData("slices that both versions were scored on", needed=1, have=0)
    return tuple(row for score in ours for row in _rows(score, theirs[score.target, score.known_age_h]))


def _rows(first: Score, second: Score) -> list[SliceComparison]:
    n = min(first.n, second.n)
    place = (first.target, first.known_age_h)
    rows = [SliceComparison(*place, "mae_log", n, first.mae_log, second.mae_log, _mae(first, second))]
    for metric, a, b in (("auc", first.auc, second.auc), ("coverage", first.coverage, second.coverage)):
        if a is not None and b is not None:
            rows.append(SliceComparison(*place, metric, n, a, b, "undecided"))
    return rows


def _mae(first: Score, second: Score) -> Verdict:
    if second.mae_log_high < first.mae_log_low:
        return "better"
    return "worse" if second.mae_log_low > first.mae_log_high else "undecided"
