"""Which horizons can be asked of a daily series: in range, and not beyond what its length could teach."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import InsufficientData, InvalidInput, NoData

LONGEST_HORIZON = 365
#: A horizon may be so many times the days that a series spans.
REACH = 3


def checked(horizons_days: Sequence[int]) -> tuple[int, ...]:
    """The horizons as they are; InvalidInput when there is none, or one outside 1..LONGEST_HORIZON."""
    if not len(horizons_days):
        raise InvalidInput("no horizon was asked for", field="horizons_days")
    for days in horizons_days:
        if not 1 <= days <= LONGEST_HORIZON:
            raise InvalidInput(f"a horizon is 1 to {LONGEST_HORIZON} days, not {days}", field="horizons_days")
    return tuple(horizons_days)


def enough(name: str, *, known: int, span: int, least: int, horizon: int) -> None:
    """Raise NoData without a known day, InsufficientData with fewer than `least` or a span below horizon / REACH."""
    if not known:
        raise NoData(f"no day of {name} is known", needed=least)
    if known < least:
        raise InsufficientData(f"too few days of {name} are known", needed=least, have=known)
    if span * REACH < horizon:
        reason = f"{name} is known for too short a time to look {horizon} days ahead"
        raise InsufficientData(reason, needed=-(-horizon // REACH), have=span)
