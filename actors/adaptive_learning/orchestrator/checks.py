"""Judges what the offline evaluation says of a trained version: on trial, once more, or not at all. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from core.schemas.models import Evaluation


class Validation(Enum):
    """What follows from an evaluation."""

    PASS = "pass"
    WORSE = "worse"
    UNKNOWN = "unknown"  # there is nothing to compare with


@dataclass(frozen=True, slots=True)
class Checked:
    """The outcome and its reason."""

    outcome: Validation
    reason: str


def against_champion(evaluation: Evaluation | None) -> Checked:
    """A version that is certainly worse is refused; where a small holdout cannot decide, the roll-out will."""
    versus = evaluation.versus_champion if evaluation else None
    if versus is None:
        return Checked(Validation.UNKNOWN, "no comparison with the champion on a common holdout")
    text = (
        f"{versus.verdict.replace('_', ' ')}: {versus.mean:+.4f} |log error| [{versus.low:+.4f}, {versus.high:+.4f}] "
        f"on {versus.n} held-out posts, margin {versus.margin:g}"
    )
    if versus.verdict == "worse":
        return Checked(Validation.WORSE, text)
    if versus.verdict == "undecided":
        text += "; the roll-out's paired evidence decides"
    return Checked(Validation.PASS, text)


def against_rolling_median(evaluation: Evaluation | None, margin: float) -> Checked:
    """A first version has no champion: it must not be worse than the channels' rolling medians by the margin."""
    scores = evaluation.scores if evaluation else {}
    usual = {(s.target, s.known_age_h): s for s in scores.get("rolling_median", ())}
    pairs = [(s, usual[s.target, s.known_age_h]) for s in scores.get("model", ()) if (s.target, s.known_age_h) in usual]
    n = sum(ours.n for ours, _ in pairs)
    if n == 0:
        return Checked(Validation.UNKNOWN, "no held-out posts to compare with the rolling median")
    difference = sum(ours.n * (ours.mae_log - theirs.mae_log) for ours, theirs in pairs) / n
    text = f"{difference:+.4f} |log error| against the rolling median on {n} held-out predictions, margin {margin:g}"
    return Checked(Validation.WORSE if difference > margin else Validation.PASS, text)
