"""A finding's notes: what happened, in one line with its figures; wording follows sign and size."""

from __future__ import annotations

from actors.anomaly_analysis.detection import FALSE_ALARMS
from actors.anomaly_analysis.scales import GROWTH, POSTING, VIEWS

UNITS = {VIEWS: "views", GROWTH: "subscribers", POSTING: "posts"}


def headline(metric: str, observed: float, expected: float, days: int, since: str, base: float | None) -> str:
    """What happened: '4,157 subscribers lost in 2 days from 2025-02-16 (6.5 % of 64,174), usual is -320'."""
    span = f"in {days} day{'s' if days > 1 else ''} from {since}"
    if metric == GROWTH:
        verb = "gained" if observed >= 0 else "lost"
        share = f" ({abs(observed) / base:.1%} of {base:,.0f})" if base else ""
        return f"{abs(observed):,.0f} subscribers {verb} {span}{share}, usual is {expected:+,.0f}"
    # Beside next to nothing a percentage says nothing.
    change = f" ({observed / expected - 1:+.0%})" if expected >= 1 else ""
    if metric == POSTING:
        return f"{observed:,.0f} post{'' if observed == 1 else 's'} {span}{change}, usual is {expected:,.1f}"
    return f"{observed:,.0f} views of posts up to 7 days old {span}{change}, usual is {expected:,.0f}"


def course(open_: bool, settled: bool, kind: str) -> str:
    """How it stands."""
    if settled:
        return "the new level now counts as the usual one"
    if open_:
        return "still going on"
    return "back within the usual" if kind == "spike" else "a new level for some days, then back within the usual"


def budget() -> str:
    """What the score is worth."""
    return f"found by a detector that raises one false alarm in about {1 / FALSE_ALARMS:.0f} days of a quiet series"
