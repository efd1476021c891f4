"""A report in a few lines: figures of the overview, each with its metric's name, so that it can be looked up."""

from __future__ import annotations

from collections.abc import Sequence

from actors.alerts_fusion.wording import figure
from core.buckets import shown
from core.schemas.analytics import Figure, Overview

#: figures that are said, in this order, and how they are called
SAID = {
    "subscribers": "subscribers",
    "net_growth": "growth",
    "posting_rate": "posts",
    "views_gained": "views gained",
    "views_24h": "views of a post after 24 h",
    "views_final": "views of a post",
    "vtr": "view rate",
    "err": "engagement",
}
_MISSED_SHOWN = 5


def told(overview: Overview, days: int, timezone: str) -> str:
    """The overview in words."""
    span = f"{days} day{'s' * (days != 1)} to {shown(overview.until - 1, timezone)[:10]}"
    head = f"{overview.channel}, {span}, beside the {days} before"
    figures = {f.metric: f for f in overview.figures if f.metric in SAID}
    known = [_line(figures[name]) for name in SAID if name in figures and figures[name].value is not None]
    # Of the two kinds of views of a post a source has one.
    gaps = [f for f in figures.values() if f.value is None and f.metric != "views_final"]
    unknown = [f"not known: {SAID[f.metric]} ({f.metric}): {f.missing or 'too little data'}" for f in gaps]
    return "\n".join((head, *known, *unknown))


def missed(moments: Sequence[int], timezone: str) -> str:
    """That reports before were not sent."""
    shown_ = ", ".join(shown(at, timezone) for at in moments[-_MISSED_SHOWN:])
    more = "" if len(moments) <= _MISSED_SHOWN else f"the last of {len(moments)}: "
    return f"not sent, because the service was away when they were due: {more}{shown_}"


def _line(found: Figure) -> str:
    assert found.value is not None
    text = f"{SAID[found.metric]} ({found.metric}): {figure(found.value, found.unit)}, n {found.n}"
    if found.change is None:
        return text
    text += f"; {found.change:+.1%}"
    if found.change_low is not None and found.change_high is not None:
        text += f" (95 %: {found.change_low:+.1%} to {found.change_high:+.1%})"
    return text
