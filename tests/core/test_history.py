from __future__ import annotations

import numpy as np
import pytest

from core.clock import HOUR
from core.history import NEVER, HistoryBuilder, reading_known_at, target_values, views_at
from core.schemas.channels import Channel

CHANNEL = Channel(1, "default", "a", "UTC", "bundle", 1)
T0 = 1_735_689_600


def test_views_at_an_age_lie_between_the_readings_around_it_and_are_known_from_the_later_one() -> None:
    b = HistoryBuilder(CHANNEL)
    b.post(7, T0)
    b.reading(7, T0 + 22 * HOUR, 100)
    b.reading(7, T0 + 26 * HOUR, 120)
    known = views_at(b.build(), 24 * HOUR)
    assert 100 < known.values[0] < 120
    assert known.known_at[0] == T0 + 26 * HOUR
    assert not known.at(T0 + 25 * HOUR)[0]


def test_an_exact_reading_is_taken_as_it_is() -> None:
    b = HistoryBuilder(CHANNEL)
    b.post(7, T0)
    b.reading(7, T0 + 20 * HOUR, 90)
    b.reading(7, T0 + 24 * HOUR, 110)
    known = views_at(b.build(), 24 * HOUR)
    assert known.values[0] == pytest.approx(110)
    assert known.known_at[0] == T0 + 24 * HOUR


@pytest.mark.parametrize("ages", [[80], [10, 80], [2]], ids=["first reading too late", "gap too wide", "none after"])
def test_no_value_without_close_readings(ages: list[int]) -> None:
    b = HistoryBuilder(CHANNEL)
    b.post(7, T0)
    for age in ages:
        b.reading(7, T0 + age * HOUR, 50 + age)
    known = views_at(b.build(), 24 * HOUR)
    assert np.isnan(known.values[0])
    assert known.known_at[0] == NEVER


def test_posts_do_not_see_each_others_readings() -> None:
    b = HistoryBuilder(CHANNEL)
    for i in range(50):
        b.post(i, T0 + i * 600)
        for age in (20, 28):
            b.reading(i, T0 + i * 600 + age * HOUR, 1000 * i + age)
    b.post(99, T0 + 700)  # no readings, in the middle
    history = b.build()
    known = views_at(history, 24 * HOUR)
    for position, post_id in enumerate(history.post_ids):
        if post_id == 99:
            assert np.isnan(known.values[position])
        else:
            assert 1000 * post_id + 20 < known.values[position] < 1000 * post_id + 28


def test_a_source_with_one_reading_a_post_has_final_views_only() -> None:
    b = HistoryBuilder(CHANNEL)
    b.post(1, T0)
    b.post(2, T0 + 40 * HOUR)
    b.reading(1, T0 + 50 * HOUR, 500)
    b.reading(2, T0 + 50 * HOUR, 80)  # ten hours old: not ripe
    history = b.build()
    assert history.targets == ("views_final",)
    known = target_values(history, "views_final")
    assert known.values[0] == 500
    assert known.known_at[0] == T0 + 24 * HOUR
    assert np.isnan(known.values[1])


def test_a_reading_of_assumed_time_gives_no_view_at_an_age() -> None:
    b = HistoryBuilder(CHANNEL)
    b.post(1, T0)
    b.reading(1, T0 + 23 * HOUR, 500, exact_time=False)
    b.reading(1, T0 + 25 * HOUR, 510, exact_time=False)
    assert np.isnan(views_at(b.build(), 24 * HOUR).values[0])


def test_counts_read_again_and_again_are_taken_at_three_days() -> None:
    b = HistoryBuilder(CHANNEL)
    b.post(7, T0)
    for age, views, forwards in ((24, 100, 1), (70, 150, 4), (74, 152, 6), (170, 200, 9)):
        b.reading(7, T0 + age * HOUR, views)
        b.count("forwards", 7, T0 + age * HOUR, forwards)
    history = b.build()
    assert history.targets == ("views_24h", "views_72h", "views_7d", "forwards_72h")
    known = target_values(history, "forwards_72h")
    assert 4 < known.values[0] < 6
    assert known.known_at[0] == T0 + 74 * HOUR
    assert np.isnan(target_values(history, "forwards_final").values[0])
    assert np.isnan(target_values(history, "reactions_72h").values[0])


@pytest.mark.parametrize(("views_at_h", "known_h"), [((30, 90), 90), ((90,), 72)], ids=["views read twice", "once"])
def test_a_count_read_once_is_final_and_never_mixed_with_one_at_an_age(
    views_at_h: tuple[int, ...], known_h: int
) -> None:
    b = HistoryBuilder(CHANNEL)
    for post in (7, 8):
        b.post(post, T0)
        for age in views_at_h:
            b.reading(post, T0 + age * HOUR, 100 + age)
    b.count("reactions", 7, T0 + 90 * HOUR, 12)
    b.count("reactions", 8, T0 + 71 * HOUR, 9)  # too young
    history = b.build()
    assert {t for t in history.targets if t.startswith("reactions")} == {"reactions_final"}
    known = target_values(history, "reactions_final")
    assert known.values[0] == 12
    # Where views too are read once, nothing is known of when; else the reading has a time of its own.
    assert known.known_at.tolist() == [T0 + known_h * HOUR, NEVER]


def test_a_source_without_views_has_nothing_to_ask() -> None:
    b = HistoryBuilder(CHANNEL)
    b.post(7, T0)
    b.count("reactions", 7, T0 + 90 * HOUR, 12)
    assert b.build().targets == ()


def test_counts_are_known_when_they_were_read() -> None:
    b = HistoryBuilder(CHANNEL)
    b.post(7, T0)
    b.reading(7, T0 + 20 * HOUR, 90)
    b.reading(7, T0 + 24 * HOUR, 110)
    b.count("reactions", 7, T0 + 90 * HOUR, 12)
    history = b.build()
    assert reading_known_at(history, history.counts["reactions"]).tolist() == [T0 + 90 * HOUR]
