"""A freeze window is open between two minutes of the week on its zone's wall clock, whatever the season."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from actors.adaptive_learning.deployment import freeze
from core.errors import InvalidInput

WEEKEND = "Fri 16:00 - Mon 08:00 Europe/Berlin"


def at(text: str) -> int:
    """Unix seconds of a moment in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2025-01-10 14:59:59", False),  # Friday, 15:59:59 in Berlin's winter
        ("2025-01-10 15:00:00", True),
        ("2025-01-12 03:00:00", True),  # over the week's end
        ("2025-01-13 06:59:59", True),
        ("2025-01-13 07:00:00", False),
        ("2025-07-11 13:59:59", False),  # in summer an hour earlier in UTC
        ("2025-07-11 14:00:00", True),
        ("2025-07-14 05:59:59", True),
        ("2025-07-14 06:00:00", False),
        ("2025-01-08 12:00:00", False),
    ],
)
def test_a_weekend_is_frozen_by_the_wall_clock_of_its_zone(moment: str, is_open: bool) -> None:
    assert freeze.open_window((WEEKEND,), at(moment)) == (WEEKEND if is_open else "")


def test_the_night_in_which_clocks_change_has_no_gap() -> None:
    """Berlin skips 02:00 to 03:00 on 30 March 2025, and has it twice on 26 October."""
    night = ("Sun 01:00 - Sun 04:00 Europe/Berlin",)
    spring = [freeze.open_window(night, at("2025-03-30 00:00:00") + 600 * i) for i in range(12)]
    autumn = [freeze.open_window(night, at("2025-10-25 23:00:00") + 600 * i) for i in range(24)]
    assert [bool(window) for window in spring] == [True] * 12  # 01:00 to 02:00 and 03:00 to 04:00
    assert [bool(window) for window in autumn] == [True] * 24  # four hours on the clock's face are five in time


def test_the_window_that_is_open_is_named_and_the_first_of_two_wins() -> None:
    windows = ("Mon 00:00 - Tue 00:00 UTC", "Mon 10:00-Mon 11:00 UTC")
    assert freeze.open_window(windows, at("2025-01-13 10:30:00")) == windows[0]
    assert freeze.open_window(windows[1:], at("2025-01-13 10:30:00")) == windows[1]
    assert freeze.open_window((), at("2025-01-13 10:30:00")) == ""


def test_days_are_read_in_any_case() -> None:
    (window,) = freeze.parsed(("fri 16:00 - MON 08:00 Europe/Berlin",))
    assert (window.begins, window.ends) == (4 * 1440 + 960, 480)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("Fri 16:00 - Mon 08:00", "is not like"),
        ("Fri 24:00 - Mon 08:00 UTC", "is not like"),
        ("Fri 16:60 - Mon 08:00 UTC", "is not like"),
        ("Friday 16:00 - Mon 08:00 UTC", "is not like"),
        ("", "is not like"),
        ("Fri 16:00 - Fri 16:00 UTC", "begins and ends at once"),
        ("Fri 16:00 - Mon 08:00 Europe/Nowhere", "no time zone"),
        ("Fri 16:00 - Mon 08:00 ../etc/passwd", "no time zone"),
        ("Fri 16:00 - Mon 08:00 Europe", "no time zone"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(text: str, what: str) -> None:
    with pytest.raises(InvalidInput, match=what) as refused:
        freeze.parsed((text,))
    assert refused.value.details["field"] == "rollout.freeze"
