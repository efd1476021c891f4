"""Which parts of a version's requests are measured apart: the arm, the channel's size, the known age."""

from __future__ import annotations

from core.schemas.predictions import Arm

ALL = ""
#: Upper ends of the size bands, in the channel's usual views (the answer's own yardstick, so it is always there).
_BANDS = ((100, "<100"), (1_000, "100-1k"), (10_000, "1k-10k"), (100_000, "10k-100k"))


def band(usual: float | None) -> str:
    """Size band of a channel."""
    if usual is None:
        return "band=unknown"
    return "band=" + next((name for end, name in _BANDS if usual < end), "100k+")


def arm(of_row: Arm) -> str:
    """The arm whose version a row is counted on; a row 'failed' is the stable version's."""
    return f"arm={'stable' if of_row == 'failed' else of_row}"


def of_request(of_row: Arm, usual: float | None, known_age_h: int) -> tuple[str, ...]:
    """The segments of a request, beside ALL. They overlap: each is a view of its own, not a part of a partition."""
    return arm(of_row), band(usual), f"age={known_age_h}"


def of_outcome(of_row: Arm, usual: float | None) -> tuple[str, ...]:
    """The segments of an outcome, beside its slice target@known age."""
    return arm(of_row), band(usual)
