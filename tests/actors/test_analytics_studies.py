"""Closer looks at a channel: effects, ads, trends and signs against channels made with known causes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from actors.analytics_fusion import ads, mix, posts, quality, trend
from actors.analytics_fusion.source import Counts
from bench._made_channel import T0, Plan, make
from core import levels
from core.clock import DAY, HOUR
from core.errors import InvalidInput, NoData, NotFound
from core.history import ATTRIBUTES, ChannelHistory, HistoryBuilder
from core.intervals import of_change
from core.schemas.channel_studies import MixRow, Quality, Sign
from core.schemas.channels import Channel
from core.store.channels import Mention

CHANNEL = Channel(1, "default", "a", "UTC", "bundle", 1)
NAN = float("nan")


def no_counts(history: ChannelHistory) -> Counts:
    nothing = np.full(history.n, np.nan)
    return Counts(nothing, nothing, nothing, nothing)


def with_attribute(history: ChannelHistory, name: str, values: np.ndarray) -> ChannelHistory:
    attributes = history.attributes.copy()
    attributes[:, ATTRIBUTES.index(name)] = values
    return replace(history, attributes=attributes)


@pytest.fixture(scope="module")
def made() -> ChannelHistory:
    """120 days of 4 posts; text .8, photo 1.1, video 1.9 of the level; growing all the time."""
    return make(120, 5, Plan(appeal=lambda day: 1.0 + day / 60)).history()


# ---------------------------------------------------------------- content mix


def rows(history: ChannelHistory) -> dict[tuple[str, str], MixRow]:
    found = mix.mix(history, T0, T0 + 119 * DAY)
    return {(row.dimension, row.value): row for row in found.rows}


def test_a_formats_effect_is_found_whatever_the_channels_growth(made: ChannelHistory) -> None:
    found = rows(made)
    video = found["media", "video"]
    # 1.9 against the mean of text and photo, which are equally frequent: 2 on a log scale
    truth = 1.9 / np.sqrt(0.8 * 1.1) - 1
    assert video.effect.low is not None
    assert video.effect.high is not None
    assert video.effect.low < truth < video.effect.high
    assert video.effect.high - video.effect.low < 0.9
    assert found["media", "text"].effect.high < 0  # type: ignore[operator]
    assert sum(row.share for key, row in found.items() if key[0] == "media") == pytest.approx(1)
    assert sum(row.posts for key, row in found.items() if key[0] == "media") == pytest.approx(476, abs=2)


def test_an_attribute_that_only_rides_along_is_told_from_the_cause(made: ChannelHistory) -> None:
    rng = np.random.default_rng(1)
    # Links stand mostly in videos, and do nothing themselves.
    links = np.where(made.media == "video", rng.random(made.n) < 0.8, rng.random(made.n) < 0.1).astype(float)
    found = rows(with_attribute(made, "n_links", links))
    link = found["links", "1"]
    assert link.effect.low > 0.2  # type: ignore[operator]
    assert link.adjusted.low < 0 < link.adjusted.high  # type: ignore[operator]
    assert found["media", "video"].adjusted.low > 0.5  # type: ignore[operator]


def test_attributes_that_always_come_together_are_not_told_apart(made: ChannelHistory) -> None:
    links = (made.media == "video").astype(float)
    only = replace(made, media=np.where(made.media == "text", "photo", made.media).astype(object))
    adjusted = rows(with_attribute(only, "n_links", links))["links", "1"].adjusted
    assert adjusted.value is None
    assert adjusted.missing == "cannot be told from another attribute: they always come together"


def test_what_does_nothing_is_rarely_said_to_do_something(made: ChannelHistory) -> None:
    wrong = 0
    for seed in range(40):
        links = (np.random.default_rng(seed).random(made.n) < 0.3).astype(float)
        effect = rows(with_attribute(made, "n_links", links))["links", "1"].effect
        wrong += not effect.low < 0 < effect.high  # type: ignore[operator]
    assert wrong <= 6


def test_a_mix_without_views_or_attributes_says_so() -> None:
    b = HistoryBuilder(CHANNEL)
    for i in range(30):
        b.post(i, T0 + i * DAY, {"n_links": i % 2}, media="photo")
    found = mix.mix(b.build(), T0, T0 + 30 * DAY)
    assert found.notes[0] == "views unavailable from this source"
    assert "length not known from this source" in found.notes
    assert {row.effect.missing for row in found.rows} == {"views unavailable from this source"}
    assert [row.share for row in found.rows if row.dimension == "links"] == [0.5, 0.5]
    assert mix.mix(HistoryBuilder(CHANNEL).build(), T0, T0 + DAY).rows == ()


def test_a_running_median_follows_the_level() -> None:
    values = np.array([1.0, 1, 9, 1, 1, 5, 5, 5, 5])
    assert levels.running_median(values, 1).tolist() == [1, 1, 1, 1, 1, 5, 5, 5, 5]


# ---------------------------------------------------------------- posts


def test_a_curve_stands_beside_the_usual_of_the_others(made: ChannelHistory) -> None:
    post = int(made.post_ids[300])
    found = posts.curve(made, post)
    points = {point.age_h: point for point in found.points}
    day = points[24]
    assert day.usual is not None
    assert day.low is not None
    assert day.high is not None
    assert day.low < day.usual < day.high
    assert day.n > 400
    assert day.overperformance == pytest.approx(day.views / day.usual)  # type: ignore[operator]
    assert len(found.readings) == made.offsets[301] - made.offsets[300]
    assert found.half_life_h == pytest.approx(18, abs=8)
    with pytest.raises(NotFound):
        posts.curve(made, 10**9)


def test_a_curve_of_a_channel_without_views_says_so() -> None:
    b = HistoryBuilder(CHANNEL)
    b.post(1, T0)
    found = posts.curve(b.build(), 1)
    assert (found.points, found.readings, found.notes) == ((), (), ("views unavailable from this source",))


def test_the_table_is_ordered_by_engagement_where_asked(made: ChannelHistory) -> None:
    rng = np.random.default_rng(0)
    reactions = rng.integers(1, 100, made.n).astype(float)
    nothing = np.full(made.n, NAN)
    found = posts.table(made, Counts(np.full(made.n, 1000.0), nothing, nothing, reactions), 5, "er", 24)
    rates = [row.er for row in found]
    assert rates == sorted(rates, reverse=True)  # type: ignore[type-var]
    assert rates[0] == pytest.approx(reactions.max() / 1000)
    curve = next(row for row in found if row.views is not None).curve
    known = [value for value in curve if value is not None]
    assert known == sorted(known)


# ---------------------------------------------------------------- ads


def test_ads_are_measured_beside_the_posts_around_them(made: ChannelHistory) -> None:
    marks = (np.random.default_rng(4).random(made.n) < 0.1).astype(float)
    owner = np.repeat(marks, np.diff(made.offsets))
    weaker = replace(with_attribute(made, "is_ad", marks), reading_views=made.reading_views * np.where(owner, 0.7, 1.0))
    found = ads.efficiency(weaker, T0, T0 + 110 * DAY, price=500)
    assert found.reach_24h.n == np.count_nonzero(marks[made.published_at < T0 + 110 * DAY])
    assert found.against_others.low < -0.3 < found.against_others.high  # type: ignore[operator]
    assert found.against_others.high < 0  # type: ignore[operator]
    assert found.reach_12h.value < found.reach_24h.value < found.reach_48h.value  # type: ignore[operator]
    assert found.cpm_24h.value == pytest.approx(500_000 / found.reach_24h.value)  # type: ignore[operator]
    assert found.cpv_24h.value == pytest.approx(found.cpm_24h.value / 1000)  # type: ignore[operator]
    assert found.cpm_24h.low < found.cpm_24h.value < found.cpm_24h.high  # type: ignore[operator]
    free = ads.efficiency(weaker, T0, T0 + 110 * DAY)
    assert (free.cpm_24h.value, free.cpm_24h.missing, free.posts[0].cpm_24h) == (None, "no price given", None)


def test_ads_that_nobody_marks_or_reads_are_a_typed_answer(made: ChannelHistory) -> None:
    with pytest.raises(NoData, match="which posts of 'made' are ads is not known"):
        ads.efficiency(with_attribute(made, "is_ad", np.full(made.n, NAN)), T0, T0 + DAY)
    b = HistoryBuilder(CHANNEL)
    b.post(1, T0, {"is_ad": 1})
    with pytest.raises(NoData, match="views unavailable"):
        ads.efficiency(b.build(), T0, T0 + DAY)
    with pytest.raises(InvalidInput):
        ads.efficiency(made, T0, T0 + DAY, price=0)


# ---------------------------------------------------------------- trends


def test_theil_sen_withstands_what_least_squares_does_not() -> None:
    x, covered = np.arange(60.0), 0
    for seed in range(60):
        y = 2 * x + np.random.default_rng(seed).normal(0, 3, 60)
        y[50:53] += 2_000
        slope, low, high = trend.theil_sen(x, y)
        covered += low < 2 < high
        assert slope == pytest.approx(2, abs=0.2)
    assert covered >= 45  # three wild days in sixty cost a little; least squares would give 9


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6])
def test_no_trend_is_rarely_called_one_even_where_days_resemble_each_other(rho: float) -> None:
    called = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        noise = rng.normal(0, 1, 90)
        for i in range(1, 90):
            noise[i] += rho * noise[i - 1]
        x = np.arange(90.0)
        called += trend.mann_kendall(x, noise, trend.theil_sen(x, noise)[0])[1] < 0.05
    assert called / 300 < 0.09  # at .6 it is .32 without the correction


def test_a_trend_in_noise_is_seen() -> None:
    rng = np.random.default_rng(1)
    tau, p = trend.mann_kendall(np.arange(60.0), np.arange(60.0) + rng.normal(0, 10, 60), 1.0)
    assert tau > 0.5
    assert p < 1e-4


def test_changes_of_level_are_dated_and_noise_is_left_alone() -> None:
    at = T0 + np.arange(120) * DAY
    weekday = np.arange(120) % 7
    found, false = 0, 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        y = 100 + 20 * (weekday >= 5) + rng.normal(0, 5, 120)
        false += len(trend.change_points(at, y, weekday, np.random.default_rng(0)))
        y[70:] += 25
        changes = trend.change_points(at, y, weekday, np.random.default_rng(0))
        found += any(abs(change.at - at[70]) <= DAY for change in changes)
    assert found >= 29
    assert false <= 3


def test_a_channels_trend_has_slope_test_and_changes() -> None:
    history = make(90, 2, Plan(growth=lambda day: 10.0 if day < 45 else 60.0)).history()
    found = trend.trend(history, no_counts(history), "net_growth", T0, T0 + 90 * DAY)
    (change,) = found.changes
    assert abs(change.at - (T0 + 45 * DAY)) <= 2 * DAY
    assert change.change.low < 50 < change.change.high  # type: ignore[operator]
    assert found.direction == "up"
    whole = trend.trend(history, no_counts(history), "subscribers", T0, T0 + 90 * DAY)
    assert whole.slope.value == pytest.approx(35, abs=12)
    assert whole.unit == "subscribers/day"
    assert "daily growth" in whole.notes[0]
    few = trend.trend(history, no_counts(history), "net_growth", T0, T0 + 9 * DAY)
    assert (few.direction, few.missing) == (None, "needs 14 days with a value, has 9")
    none = HistoryBuilder(CHANNEL).build()
    assert trend.trend(none, no_counts(none), "views_gained", T0, T0 + 90 * DAY).missing is not None


def test_before_and_after_a_moment() -> None:
    history = make(90, 2, Plan(growth=lambda day: 10.0 if day < 45 else 60.0)).history()
    found = trend.before_after(history, no_counts(history), "net_growth", T0 + 45 * DAY + HOUR, 28)
    assert (found.at, found.before.n, found.after.n) == (T0 + 45 * DAY, 28, 28)
    assert found.difference.low < 50 < found.difference.high  # type: ignore[operator]
    assert found.p < 0.01  # type: ignore[operator]
    same = trend.before_after(history, no_counts(history), "net_growth", T0 + 25 * DAY, 14)
    assert same.p > 0.05  # type: ignore[operator]
    early = trend.before_after(history, no_counts(history), "net_growth", T0 + 3 * DAY, 14)
    assert early.missing == "before: needs 7 days, has 3"
    assert early.difference.value is None
    with pytest.raises(InvalidInput, match="outside the channel's data"):
        trend.before_after(history, no_counts(history), "net_growth", T0 - 9 * DAY, 14)


def test_a_relative_change_is_of_draws_on_one_side_of_nothing() -> None:
    before = np.array([0.0, -0.1, *np.linspace(1, 2, 198)])
    found = of_change(np.full(200, 3.0), before)
    assert found is not None
    assert np.isfinite(found).all()


# ---------------------------------------------------------------- signs


def looked_at(history: ChannelHistory, *mentions: Mention, counts: Counts | None = None, days: int = 90) -> Quality:
    edges = T0 + np.arange(days + 1) * DAY
    return quality.quality(history, counts or no_counts(history), mentions, edges)


def signs(found: Quality) -> dict[str, Sign]:
    return {sign.name: sign for sign in found.signs}


def test_a_plain_channel_shows_no_sign() -> None:
    for seed in range(5):
        found = looked_at(make(90, seed).history())
        assert found.score == 0
        assert {s.name for s in found.signs if s.state == "unknown"} == {"reactions_out_of_proportion"}


def test_a_jump_alone_proves_nothing() -> None:
    history = make(90, 1, Plan(growth=lambda day: 3000.0 if day == 50 else 10.0)).history()
    found = looked_at(history)
    jump = signs(found)["unexplained_jump"]
    assert jump.state == "present"
    assert "2025-02-20 +3,0" in jump.evidence
    assert "counts 0" in jump.evidence
    assert found.score == 0
    explained = looked_at(history, Mention("b", 1, "made", T0 + 50 * DAY + HOUR))
    assert signs(explained)["unexplained_jump"].state == "absent"
    assert "mentions by stored channels: 1" in signs(explained)["unexplained_jump"].evidence


def test_a_jump_that_bleeds_away_counts_with_its_bleeding() -> None:
    def growth(day: int) -> float:
        return 3000.0 if day == 50 else -60.0 if day > 50 else 10.0

    found = looked_at(make(90, 1, Plan(growth=growth)).history())
    assert signs(found)["bleed_after_jump"].state == "present"
    assert found.score == pytest.approx((0.15 + 0.10) / (1.0 - 0.15), abs=1e-9)


def test_views_at_an_even_pace_are_a_sign(made: ChannelHistory) -> None:
    owner = np.repeat(np.arange(made.n), np.diff(made.offsets))
    age = made.reading_ts - made.published_at[owner]
    even = replace(made, reading_views=np.round(np.minimum(age / DAY, 3.0) * 1000))
    found = signs(looked_at(even))
    assert found["even_pace"].state == "present"
    assert found["even_pace"].figures["median"] == pytest.approx(0.17, abs=0.06)
    assert signs(looked_at(made))["even_pace"].state == "absent"


def test_reactions_out_of_proportion_are_a_sign(made: ChannelHistory) -> None:
    rng = np.random.default_rng(2)
    views = np.full(made.n, 20_000.0)
    honest = rng.poisson(views * 0.01 * rng.lognormal(0, 0.3, made.n)).astype(float)
    nothing = np.full(made.n, NAN)
    name = "reactions_out_of_proportion"
    assert signs(looked_at(made, counts=Counts(views, nothing, nothing, honest)))[name].state == "absent"
    bought = np.where(np.arange(made.n) % 12 == 0, honest * 9, honest)
    assert signs(looked_at(made, counts=Counts(views, nothing, nothing, bought)))[name].state == "present"
    ordered = np.full(made.n, 200.0)  # every post the same number, to the unit
    found = signs(looked_at(made, counts=Counts(views, nothing, nothing, ordered)))[name]
    assert found.state == "present"
    assert "less than chance" in found.evidence


def test_a_rate_far_below_peers_or_near_everybody_is_a_sign(made: ChannelHistory) -> None:
    edges = T0 + np.arange(91) * DAY
    rate = signs(looked_at(made))["view_rate_out_of_range"].figures["median"]
    above = quality.quality(made, no_counts(made), (), edges, [5 * rate] * 12)
    among = quality.quality(made, no_counts(made), (), edges, [rate] * 12)
    assert signs(above)["view_rate_out_of_range"].state == "present"
    assert signs(among)["view_rate_out_of_range"].state == "absent"
    few = replace(made, subscribers=made.subscribers / 40)
    assert signs(looked_at(few))["view_rate_out_of_range"].state == "present"


def test_too_little_data_gives_no_score() -> None:
    b = HistoryBuilder(CHANNEL)
    for i in range(40):
        b.post(i, T0 + i * DAY)
    found = looked_at(b.build())
    assert found.score is None
    assert found.looked_at == 0
    assert "too few signs" in found.notes[0]
    assert all(sign.evidence for sign in found.signs)
