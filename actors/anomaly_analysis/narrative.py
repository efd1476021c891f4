"""A finding's notes: what happened, in one line with its figures; wording follows sign and size."""

from __future__ import annotations

from actors.anomaly_analysis.detection import FALSE_ALARMS
from actors.anomaly_analysis.scales import GROWTH, PACE, POSTING, VIEWS

UNITS = {VIEWS: "views", GROWTH: "subscribers", POSTING: "posts", PACE: "times the expected views"}


def headline(metric: str, observed: float, expected: float, days: int, since: str, base: float | None) -> str:
    """What happened: '4,157 subscribers lost in 2 days from 2025-02-16 (6.5 % of 64,174), usual is -320'."""
    span = f"in {days} day{'s' if days > 1 else ''} from {since}"
    if metric == GROWTH:
        verb = "gained" if observed >= 0 else "lost"
        share = f" ({abs(observed) / base:.1%} of {base:,.0f})" if base else ""
        return f"{abs(observed):,.0f} subscribers {verb} {span}{share}, usual is {expected:+,.0f}"
    if metric == PACE:
        return f"posts gained {observed / expected - 1:+.0%} views against what is usual at their age {span}"
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


def odd_hour(observed: float, usual: float, since: str) -> str:
    """What happened: '40 views in the hour from 2025-02-16 14:00, usual at this time of day is 210'."""
    return f"{observed:,.0f} views in the hour from {since}, usual at this time of day is {usual:,.0f}"


def hourly_budget(rate: float) -> str:
    """What the score of an hour is worth."""
    return f"found by a detector that raises one false alarm in about {1 / rate:,.0f} hours of a quiet series"
