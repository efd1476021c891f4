"""Plain words for a finding: what happened, in one line with its figures; wording follows sign and size."""

from __future__ import annotations

from actors.anomaly_analysis.scales import GROWTH, PACE, POSTING
from core.buckets import shown
from core.schemas.analytics import AnomalyFinding, Circumstances


class PlainNarrator:
    """Implements `core.protocols.Narrator` without anything else."""

    def narrate(self, finding: AnomalyFinding, circumstances: Circumstances) -> tuple[str, ...]:
        """What happened, how it stands, what the data adds, and what the score is worth."""
        quiet = f"{circumstances.quiet_points:,.0f}"
        if finding.kind == "hour":
            return (
                _odd_hour(finding, shown(finding.onset, circumstances.timezone)),
                f"found by a detector that raises one false alarm in about {quiet} hours of a quiet series",
            )
        sentences = (
            _headline(finding, circumstances),
            _course(circumstances.course, finding.kind),
            circumstances.detail,
            f"found by a detector that raises one false alarm in about {quiet} days of a quiet series",
        )
        return tuple(sentence for sentence in sentences if sentence is not None)


def _headline(finding: AnomalyFinding, told: Circumstances) -> str:
    """What happened: '4,157 subscribers lost in 2 days from 2025-02-16 (6.5 % of 64,174), usual is -320'."""
    observed, expected, base = finding.observed, finding.expected, told.subscribers
    span = f"in {told.days} day{'s' if told.days > 1 else ''} from {shown(finding.onset, told.timezone)}"
    if finding.metric == GROWTH:
        verb = "gained" if observed >= 0 else "lost"
        share = f" ({abs(observed) / base:.1%} of {base:,.0f})" if base else ""
        return f"{abs(observed):,.0f} subscribers {verb} {span}{share}, usual is {expected:+,.0f}"
    if finding.metric == PACE:
        return f"posts gained {observed / expected - 1:+.0%} views against what is usual at their age {span}"
    # Beside next to nothing a percentage says nothing.
    change = f" ({observed / expected - 1:+.0%})" if expected >= 1 else ""
    if finding.metric == POSTING:
        return f"{observed:,.0f} post{'' if observed == 1 else 's'} {span}{change}, usual is {expected:,.1f}"
    return f"{observed:,.0f} views of posts up to 7 days old {span}{change}, usual is {expected:,.0f}"


def _course(course: str, kind: str) -> str:
    """How it stands."""
    if course == "settled":
        return "the new level now counts as the usual one"
    if course == "open":
        return "still going on"
    return "back within the usual" if kind == "spike" else "a new level for some days, then back within the usual"


def _odd_hour(finding: AnomalyFinding, since: str) -> str:
    """What happened: '40 views in the hour from 2025-02-16 14:00, usual at this time of day is 210'."""
    usual = f"usual at this time of day is {finding.expected:,.0f}"
    return f"{finding.observed:,.0f} views in the hour from {since}, {usual}"
