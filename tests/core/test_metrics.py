"""Each metric against a hand-worked case; what cannot be known is NaN, never 0."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core import metrics
from core.clock import DAY, HOUR
from core.errors import NotFound
from core.history import ChannelHistory, HistoryBuilder
from core.metric_page import page
from core.schemas.channels import Channel

CHANNEL = Channel(1, "default", "a", "UTC", "bundle", 1)
T0 = 1_735_689_600
NAN = float("nan")
EDGES = T0 + np.arange(5) * DAY


def with_subscribers(*readings: tuple[float, float]) -> HistoryBuilder:
    b = HistoryBuilder(CHANNEL)
    for hour, count in readings:
        b.subscribers[T0 + int(hour * HOUR)] = count
    return b


def log_post(ages_h: list[float]) -> ChannelHistory:
    b = HistoryBuilder(CHANNEL)
    b.post(1, T0)
    for age in ages_h:
        b.reading(1, T0 + int(age * HOUR), 100 * np.log1p(age))
    return b.build()


def test_a_metric_is_found_by_name_and_by_alias() -> None:
    assert metrics.metric("vtr") is metrics.metric("view_rate")
    with pytest.raises(NotFound, match="no metric 'charisma'"):
        metrics.metric("charisma")


def test_no_name_or_alias_means_two_metrics() -> None:
    names = [name for m in metrics.METRICS.values() for name in (m.name, *m.aliases)]
    assert len(names) == len(set(names))


def test_net_growth_is_the_change_from_midnight_to_midnight() -> None:
    history = with_subscribers((0, 1000), (12, 1010), (36, 1030), (48, 1030), (60, 1000), (84, 940)).build()
    assert metrics.net_growth(history, EDGES)[:3] == pytest.approx([20, 10, -60])
    assert np.isnan(metrics.net_growth(history, EDGES)[3])
    assert metrics.growth_rate(history, EDGES)[0] == pytest.approx(0.02)


def test_subscribers_between_distant_readings_are_not_guessed() -> None:
    history = with_subscribers((0, 1000), (72, 1300)).build()
    assert np.isnan(metrics.subscribers_on(history, EDGES)[1:3]).all()
    assert metrics.subscribers_on(history, EDGES)[[0, 3]].tolist() == [1000, 1300]
    assert np.isnan(metrics.subscribers_on(HistoryBuilder(CHANNEL).build(), EDGES)).all()


def test_subscribers_at_publication_are_the_last_known_before_it() -> None:
    b = with_subscribers((10, 500), (20, 600))
    for hour in (5, 15, 25):
        b.post(hour, T0 + hour * HOUR)
    found = metrics.subscribers_at_publication(b.build())
    assert np.isnan(found[0])
    assert found[1:].tolist() == [500, 600]


def test_engagement_sums_what_the_source_offers() -> None:
    found = metrics.engagement(np.array([5.0, NAN, NAN]), np.array([2.0, 1.0, NAN]), np.array([1.0, NAN, NAN]))
    assert found[:2].tolist() == [8, 1]
    assert np.isnan(found[2])


def test_a_ratio_without_a_whole_is_unknown() -> None:
    found = metrics.ratio(np.array([5.0, 5.0, NAN]), np.array([10.0, 0.0, 10.0]))
    assert found[0] == 0.5
    assert np.isnan(found[1:]).all()


def test_half_life_lies_on_the_curve() -> None:
    found = metrics.view_half_life(log_post([1, 4, 12, 24, 72, 150, 180]))
    assert found[0] == pytest.approx(np.expm1(np.log1p(168) / 2), rel=0.02)


@pytest.mark.parametrize("ages", [[30.0, 100.0, 150.0, 170.0], [1.0, 24.0]], ids=["read late", "no 7 days yet"])
def test_half_life_is_unknown_where_either_end_is(ages: list[float]) -> None:
    found = metrics.view_half_life(log_post(ages))
    # Read first at 30 h with most of its views: when half was reached, nobody saw.
    assert np.isnan(found[0])


def test_consistency_is_one_for_equal_posts_and_never_below_zero() -> None:
    assert metrics.consistency(np.array([100.0, 100, NAN, 100])) == 1
    assert metrics.consistency(np.array([80.0, 100, 120])) == pytest.approx(0.8)
    assert metrics.consistency(np.array([1.0, 1, 50, 1000, 9000])) >= 0
    assert np.isnan(metrics.consistency(np.array([NAN])))
    assert np.isnan(metrics.consistency(np.array([0.0, 0.0])))


def test_posts_are_counted_on_their_own_day_and_albums_once() -> None:
    b = HistoryBuilder(CHANNEL)
    for post, hour, album in ((1, 25, None), (2, 26, 9), (3, 26, 9), (4, 48, None), (5, 96, None)):
        b.post(post, T0 + hour * HOUR, album_id=album)
    found = metrics.posts_published(b.build(), EDGES)
    assert np.isnan(found[0])  # before the first post nothing is known of the channel
    assert found[1:].tolist() == [2, 1, 0]


def test_views_gained_are_unknown_on_days_that_nobody_watched() -> None:
    b = HistoryBuilder(CHANNEL)
    b.post(1, T0)
    for age in [*range(0, 30, 4), *range(68, 100, 4)]:
        b.reading(1, T0 + max(age, 1) * HOUR, 100 * np.log1p(age))
    found = metrics.views_gained(b.build(), EDGES)
    assert np.isnan(found[[0, 1, 2]]).all()
    assert found[3] == pytest.approx(100 * (np.log1p(96) - np.log1p(72)), rel=0.01)


def test_the_page_of_metrics_is_current() -> None:
    stored = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert stored.read_text(encoding="utf-8") == page(), "run: python -m core.metric_page > docs/metrics.md"
