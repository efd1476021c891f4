"""Days are the channel's own: midnight of its zone, 23 or 25 hours long when the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from core.buckets import BUCKETS, Bucket, edges, local_date, shown
from core.clock import DAY, HOUR
from core.errors import InvalidInput


def at(*parts: int, zone: str = "UTC") -> int:
    return int(datetime(*parts, tzinfo=ZoneInfo(zone)).timestamp())  # type: ignore[arg-type,misc]


def test_days_begin_at_midnight_of_the_zone() -> None:
    found = edges("Asia/Tashkent", "day", at(2025, 3, 1, 23), at(2025, 3, 2, 1))
    assert [shown(int(t), "Asia/Tashkent") for t in found] == ["2025-03-02", "2025-03-03"]


def test_the_day_of_a_clock_change_has_23_or_25_hours() -> None:
    found = edges("Europe/Berlin", "day", at(2025, 3, 29, 12), at(2025, 3, 31, 12))
    assert (np.diff(found) // HOUR).tolist() == [24, 23, 24]
    found = edges("Europe/Berlin", "day", at(2025, 10, 25, 12), at(2025, 10, 27, 12))
    assert (np.diff(found) // HOUR).tolist() == [24, 25, 24]


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    assert local_date("UTC", int(edges("UTC", "week", at(2025, 1, 2), at(2025, 1, 3))[0])).isoweekday() == 1
    found = edges("UTC", "month", at(2024, 12, 31), at(2025, 2, 2))
    assert [datetime.fromtimestamp(t, UTC).date().isoformat() for t in found] == [
        "2024-12-01",
        "2025-01-01",
        "2025-02-01",
        "2025-03-01",
    ]


@pytest.mark.parametrize("bucket", BUCKETS)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York"])
def test_edges_enclose_the_period_and_only_grow(bucket: Bucket, zone: str) -> None:
    since = at(2025, 1, 15, 7, 13)
    until = since + 70 * DAY
    found = edges(zone, bucket, since, until)
    assert found[0] <= since < found[1]
    assert found[-2] < until <= found[-1]
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("UTC", "fortnight", 0, DAY), "no bucket 'fortnight'"),
        (("UTC", "day", DAY, DAY), "ends"),
        (("Mars/Olympus", "day", 0, DAY), "no time zone 'Mars/Olympus'"),
    ],
)
def test_what_cannot_be_cut_into_buckets_is_refused(arguments: tuple[str, Bucket, int, int], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        edges(*arguments)


def test_a_moment_is_shown_with_its_time_unless_it_is_midnight() -> None:
    assert shown(at(2025, 2, 16)) == "2025-02-16"
    assert shown(at(2025, 2, 16, 4, 30), "Asia/Tashkent") == "2025-02-16 09:30"
