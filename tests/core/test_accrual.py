"""Views are credited to when they happened: nothing is lost, nothing counted twice, nothing guessed over a gap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.accrual import album_representatives, covered, gains, gaps, usual_interval
from core.clock import DAY, HOUR
from core.history import ChannelHistory, HistoryBuilder
from core.schemas.channels import Channel

CHANNEL = Channel(1, "default", "a", "UTC", "bundle", 1)
T0 = 1_735_689_600


def days(n: int, since: int = T0) -> np.ndarray:
    return since + np.arange(n + 1) * DAY


def polled(ages_h: list[float], curve: float = 100.0, published: int = T0) -> ChannelHistory:
    b = HistoryBuilder(CHANNEL)
    b.post(1, published)
    for age in ages_h:
        b.reading(1, published + int(age * HOUR), curve * np.log1p(age))
    return b.build()


@given(
    posts=st.lists(
        st.tuples(
            st.integers(0, 10 * DAY),
            st.lists(st.tuples(st.integers(60, 9 * DAY), st.integers(0, 10_000)), min_size=1, max_size=8),
        ),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=60, deadline=None)
def test_the_buckets_of_a_post_add_up_to_what_it_gained(posts: list[tuple[int, list[tuple[int, int]]]]) -> None:
    b, expected = HistoryBuilder(CHANNEL), np.zeros(len(posts))
    for i, (offset, readings) in enumerate(posts):
        b.post(i, T0 + offset)
        for age, views in readings:
            b.reading(i, T0 + offset + age, views)
        by_age = sorted(dict(readings).items())
        expected[i] = by_age[-1][1] - (0 if by_age[0][0] <= DAY else by_age[0][1])
    history = b.build()
    found = gains(history, days(25)).by_post(history.n)
    assert found == pytest.approx(expected[history.post_ids], abs=1e-6)


def test_views_follow_the_curve_between_readings() -> None:
    # The two readings lie at 20 h and 28 h; midnight is at 24 h. The curve itself is 100 log(1 + age).
    history = polled([20, 28])
    found = gains(history, days(2)).by_bucket(2)
    assert found[0] == pytest.approx(100 * np.log1p(24))
    assert found.sum() == pytest.approx(100 * np.log1p(28))


def test_a_late_first_reading_brings_nothing_from_before_it() -> None:
    history = polled([30, 40])
    assert gains(history, days(3)).views.sum() == pytest.approx(100 * (np.log1p(40) - np.log1p(30)))


def test_growth_after_an_age_can_be_left_out() -> None:
    history = polled([10, 24, 100, 200])
    found = gains(history, days(10), max_age_s=2 * DAY).by_bucket(10)
    assert found.sum() == pytest.approx(100 * np.log1p(48))
    assert found[2:].sum() == 0


def test_readings_without_a_time_of_their_own_are_not_used() -> None:
    b = HistoryBuilder(CHANNEL)
    b.post(1, T0)
    b.reading(1, T0 + HOUR, 50, exact_time=False)
    b.reading(1, T0 + 2 * HOUR, 80, exact_time=False)
    history = b.build()
    assert len(gains(history, days(1)).views) == 0
    assert not covered(history, days(1)).any()


def test_an_album_counts_once_by_its_most_viewed_item() -> None:
    b = HistoryBuilder(CHANNEL)
    for post, views in ((1, 100), (2, 140), (3, 90)):
        b.post(post, T0, album_id=77)
        b.reading(post, T0 + HOUR, views)
    b.post(4, T0 + 10)
    b.reading(4, T0 + HOUR, 30)
    history = b.build()
    assert album_representatives(history).tolist() == [False, True, False, True]
    assert gains(history, days(1)).views.sum() == pytest.approx(170)


def test_a_span_without_readings_is_a_gap_and_its_days_are_not_covered() -> None:
    ages = [a for a in range(4, 24 * 10, 4) if not 80 <= a <= 110]
    history = polled([float(a) for a in ages])
    assert usual_interval(history) == 4 * HOUR
    assert gaps(history) == ((T0 + 76 * HOUR, T0 + 112 * HOUR),)
    # The first day begins before the first reading, the last ends after the last one.
    assert covered(history, days(10)).tolist() == [False, True, True, False, False, True, True, True, True, False]


def test_a_channel_never_read_has_no_gaps_and_no_coverage() -> None:
    b = HistoryBuilder(CHANNEL)
    b.post(1, T0)
    history = b.build()
    assert gaps(history) == ()
    assert usual_interval(history) is None
    assert not covered(history, days(3)).any()
    assert gains(history, days(3)).by_bucket(3).tolist() == [0, 0, 0]
