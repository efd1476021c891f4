"""Fresh posts: velocity between readings, overperformance at equal age, and how old the last reading is."""

from __future__ import annotations

import numpy as np
import pytest

from actors.alerts_fusion.live import live
from bench._made_channel import T0, make
from core.clock import DAY, HOUR
from core.errors import NoData, NotFound
from core.history import HistoryBuilder
from core.schemas.channels import Channel
from core.store.database import Database
from tests.actors.alert_world import AlertWorld

CHANNEL = Channel(1, "default", "a", "UTC", "bundle", 1)
NOW = T0 + 20 * DAY


def builder(usual: int = 8) -> HistoryBuilder:
    """Posts every two days, read every 4 hours, that reach 100 views a reading."""
    made = HistoryBuilder(CHANNEL)
    for i in range(usual):
        born = T0 + i * 2 * DAY
        made.post(i, born)
        for k in range(1, 13):
            made.reading(i, born + k * 4 * HOUR, 100.0 * k)
    return made


def test_velocity_and_overperformance_are_at_the_age_of_the_last_reading() -> None:
    made = builder()
    made.post(100, NOW - 10 * HOUR)
    made.reading(100, NOW - 6 * HOUR, 250)
    made.reading(100, NOW - 2 * HOUR, 450)
    (post,) = live(made.build(), NOW, NOW - 2 * HOUR).posts
    assert (post.age_h, post.views, post.readings) == (8.0, 450, 2)
    assert (post.views_per_h, post.over_h) == (50.0, 4.0)
    assert (post.usual, post.usual_n) == (200.0, 8)
    assert post.overperformance == 2.25
    assert post.reading_age_s == 2 * HOUR


def test_a_first_reading_counts_since_publication() -> None:
    made = builder()
    made.post(100, NOW - 6 * HOUR)
    made.reading(100, NOW - 2 * HOUR, 80)
    (post,) = live(made.build(), NOW, None).posts
    assert (post.views_per_h, post.over_h, post.overperformance) == (20.0, 4.0, 0.8)


def test_what_cannot_be_known_says_why() -> None:
    made = builder(3)
    made.post(100, NOW - HOUR)
    made.post(101, NOW - 30 * HOUR)
    made.reading(101, NOW - 26 * HOUR, 90)
    newest, older = live(made.build(), NOW, None).posts
    assert (newest.post_id, newest.missing, newest.views) == (100, "not read yet", None)
    assert (older.usual, older.missing) == (None, "the usual at this age rests on 3 posts, 5 are needed")
    assert older.views_per_h == 22.5
    quiet = live(builder().build(), NOW + 90 * DAY, None)
    assert (quiet.posts, quiet.missing) == ((), ("no post is younger than 48 hours",))


def test_posts_of_48_hours_are_fresh_and_the_usual_is_of_posts_that_were_older_then() -> None:
    made = builder()
    made.post(100, NOW - 48 * HOUR)
    made.post(101, NOW - 48 * HOUR + 1)
    made.post(102, NOW - 3 * HOUR)  # younger than 101's age when 101 came out: not its usual
    made.reading(101, NOW - 44 * HOUR, 100)
    made.reading(102, NOW - 1, 10_000)
    found = live(made.build(), NOW, None)
    assert [post.post_id for post in found.posts] == [102, 101]
    assert found.posts[1].usual_n == 8


def test_an_album_counts_once() -> None:
    made = builder()
    for i in range(3):
        made.post(200 + i, NOW - 5 * HOUR, album_id=9)
        made.reading(200 + i, NOW - HOUR, 100 + i)
    assert [post.post_id for post in live(made.build(), NOW, None).posts] == [202]


def test_a_stored_channel_is_answered_as_known_now(database: Database) -> None:
    world = AlertWorld(database, make(30, 5))
    world.feed(T0 + 20 * DAY)
    found = world.service().live("made")
    assert found.at == T0 + 20 * DAY
    assert found.reading_age_s is not None
    assert 0 < found.reading_age_s <= 4 * HOUR
    assert found.usual_interval_s == pytest.approx(4 * HOUR)
    assert all(post.published_at > T0 + 18 * DAY for post in found.posts)
    ratios = [post.overperformance for post in found.posts if post.overperformance is not None]
    assert 5 <= len(ratios) <= 8
    assert 0.4 < float(np.median(ratios)) < 2.5
    with pytest.raises(NotFound):
        world.service().live("@nowhere")


def test_a_channel_of_which_nothing_is_stored_has_nothing_live(sqlite_database: Database) -> None:
    made = make(3, 5)
    made.posts.clear()
    made.readings.clear()
    made.subscribers.clear()
    world = AlertWorld(sqlite_database, made)
    world.feed(T0 + DAY)
    with pytest.raises(NoData):
        world.service().live("made")
