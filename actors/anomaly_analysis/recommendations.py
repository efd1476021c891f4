"""What to do about a finding: only from causes that were found, each with its evidence and worth; else nothing."""

from __future__ import annotations

from collections.abc import Sequence

from actors.anomaly_analysis.analysis import BASE, HOUR, MEDIA, NUMBER, PER_POST
from core.schemas.analytics import Cause

MENTIONS, OWN_ADS = "mentions by others", "own ad posts"

#: a cause that carries less of the change than this is not worth acting upon
LEAST_SHARE = 0.2
_MOST = 2

_AFTER_A_FALL = {
    NUMBER: "publish as often as before",
    MEDIA: "go back to the former mix of media",
    HOUR: "go back to the former posting hours",
    PER_POST: "compare the weakest posts of these days with the strongest before: topic, length, opening",
    BASE: "look at why subscribers left before changing the posts",
    OWN_ADS: "space ad posts further apart and watch the count after each",
}
_AFTER_A_RISE = {
    NUMBER: "keep the higher pace while views per post hold",
    MEDIA: "keep the new mix of media",
    HOUR: "keep the new posting hours",
    PER_POST: "look at the strongest posts of these days and make more of their kind",
    MENTIONS: "thank the mentioning channels and ask for another exchange",
}


def advise(direction: str, causes: Sequence[Cause], unit: str) -> tuple[str, ...]:
    """At most two pieces of advice, in the order of the causes; empty where no known cause carries the change."""
    sign = 1.0 if direction == "up" else -1.0
    whole = abs(sum(cause.share for cause in causes))
    known = _AFTER_A_RISE if direction == "up" else _AFTER_A_FALL
    return tuple(
        f"{known[cause.factor]} (worth about {abs(cause.share):,.0f} {unit}; {cause.evidence})"
        for cause in causes
        if cause.factor in known and sign * cause.share >= LEAST_SHARE * whole > 0
    )[:_MOST]
