"""Channel figures against hand-worked channels: n, spans, intervals, and the reason wherever a figure is missing."""

from __future__ import annotations

import pickle
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.analytics_fusion.actor import Analytics, _period
from actors.analytics_fusion.overview import overview
from actors.analytics_fusion.posts import table
from actors.analytics_fusion.series import series
from actors.analytics_fusion.source import Counts, aligned
from bench._made_channel import T0, Plan, make
from core import intervals
from core.cache import Cache
from core.clock import DAY, HOUR, ManualClock
from core.errors import InvalidInput, NotFound
from core.history import ATTRIBUTES, ChannelHistory, HistoryBuilder
from core.schemas.analytics import Figure, SeriesPoint
from core.schemas.channels import Channel
from core.store.channels import Mention, PostCounts
from core.store.database import Database
from core.store.ingest import Batch, ChannelRow, IngestWriter, PostRow, ReactionRow

CHANNEL = Channel(1, "default", "a", "UTC", "bundle", 1)
NAN = float("nan")


def figures(found: tuple[Figure, ...]) -> dict[str, Figure]:
    return {f.metric: f for f in found}


def over(history: ChannelHistory, metric: str, bucket: str) -> tuple[SeriesPoint, ...]:
    return series(history, no_counts(history), metric, bucket)


def no_counts(history: ChannelHistory) -> Counts:
    nothing = np.full(history.n, np.nan)
    return Counts(nothing, nothing, nothing, nothing)


# ---------------------------------------------------------------- overview


@pytest.fixture(scope="module")
def grown() -> ChannelHistory:
    """60 days; twice the posts in the second half, each read half as often."""
    plan = Plan(
        posts=lambda day: 2 if day < 30 else 4,
        appeal=lambda day: 1.0 if day < 30 else 0.5,
        growth=lambda day: 10.0 if day < 30 else 30.0,
    )
    return make(60, 3, plan).history()


def test_a_period_stands_beside_the_equal_one_before_it(grown: ChannelHistory) -> None:
    found = overview(grown, no_counts(grown), [], _period("UTC", 30, T0 + 60 * DAY + 5 * HOUR))
    assert (found.since, found.until) == (T0 + 30 * DAY, T0 + 60 * DAY)
    f = figures(found.figures)
    assert (f["posting_rate"].value, f["posting_rate"].previous) == (4, 2)
    assert (f["posting_rate"].n, f["posting_rate"].previous_n) == (30, 30)
    assert f["posting_rate"].change == pytest.approx(1.0)
    assert f["net_growth"].value == pytest.approx(30, abs=3)
    assert f["net_growth"].previous == pytest.approx(10, abs=3)
    views = f["views_24h"]
    assert views.n == pytest.approx(116, abs=1)  # the last day's posts are not 24 h old
    assert views.change is not None
    assert views.change_low is not None
    assert views.change_high is not None
    assert -0.65 < views.change_low < views.change < views.change_high < -0.3
    assert views.change_low < -0.5 < views.change_high
    assert f["subscribers"].value == pytest.approx(20_000 + 300 + 900, rel=0.01)
    assert f["vtr"].value == pytest.approx(f["views_24h"].value / 20_700, rel=0.03)  # type: ignore[operator]
    assert f["view_half_life"].value == pytest.approx(18, abs=6)


def test_the_same_data_gives_the_same_intervals(grown: ChannelHistory) -> None:
    period = _period("UTC", 14, T0 + 60 * DAY)
    assert overview(grown, no_counts(grown), [], period) == overview(grown, no_counts(grown), [], period)


def test_engagement_is_of_the_views_at_24_hours(grown: ChannelHistory) -> None:
    counts = Counts(
        views=np.full(grown.n, 2000.0),
        forwards=np.full(grown.n, 10.0),
        comments=np.full(grown.n, NAN),
        reactions=np.full(grown.n, 30.0),
    )
    found = overview(grown, counts, [], _period("UTC", 30, T0 + 60 * DAY))
    f = figures(found.figures)
    assert f["virality"].value == pytest.approx(0.005)
    assert f["er_subscribers"].value == pytest.approx(40 / 20_700, rel=0.03)
    assert f["err"].value is not None
    assert found.notes == ("comments unavailable from this source",)


def test_mentions_are_counted_by_direction_and_period(grown: ChannelHistory) -> None:
    mentions = [
        Mention("b", 1, "made", T0 + 40 * DAY),
        Mention("b", 2, "made", T0 + 50 * DAY),
        Mention("c", 3, "made", T0 + 10 * DAY),
        Mention("made", 4, "b", T0 + 45 * DAY),
        Mention("made", 4, "c", T0 + 45 * DAY),  # one post that names two
    ]
    f = figures(overview(grown, no_counts(grown), mentions, _period("UTC", 30, T0 + 60 * DAY)).figures)
    assert (f["citation_in"].value, f["citation_in"].previous) == (2, 1)
    assert (f["citation_out"].value, f["citation_out"].previous, f["citation_out"].change) == (1, 0, None)


def test_every_figure_that_a_source_cannot_give_says_why() -> None:
    b = HistoryBuilder(CHANNEL)
    for i in range(40):
        b.post(i, T0 + i * DAY)
    history = b.build()
    f = figures(overview(history, no_counts(history), [], _period("UTC", 20, T0 + 40 * DAY)).figures)
    assert f["views_24h"].missing == "views unavailable from this source"
    assert f["views_gained"].missing == "views unavailable from this source"
    assert f["consistency"].missing == "views unavailable from this source"
    assert f["vtr"].missing == "views unavailable from this source"
    assert f["subscribers"].missing == "subscribers unavailable from this source"
    assert f["net_growth"].missing == "subscribers unavailable from this source"
    assert f["virality"].missing == "forwards unavailable from this source"
    assert f["err"].missing is not None
    assert f["posting_rate"].value == 1
    assert all((figure.value is None) == (figure.missing is not None) for figure in f.values())


def test_a_source_with_one_late_reading_a_post_has_final_views_only() -> None:
    b = HistoryBuilder(CHANNEL)
    for i in range(40):
        b.post(i, T0 + i * DAY)
        b.reading(i, T0 + i * DAY + 48 * HOUR, 100 + i)
    history = b.build()
    found = overview(history, no_counts(history), [], _period("UTC", 20, T0 + 40 * DAY))
    f = figures(found.figures)
    assert f["views_final"].value == pytest.approx(129.5)
    assert f["views_24h"].missing == "one reading a post: views over time unavailable from this source"
    assert any("final views" in note for note in found.notes)
    rows = table(history, no_counts(history), 3, "views", 24)
    assert [(r.post_id, r.views, r.age_h) for r in rows] == [(39, 139, 48), (38, 138, 48), (37, 137, 48)]


def test_reading_times_that_are_only_assumed_date_no_views() -> None:
    b = HistoryBuilder(CHANNEL)
    for i in range(10):
        b.post(i, T0 + i * DAY)
        for age in (12, 36):
            b.reading(i, T0 + i * DAY + age * HOUR, 100 * age, exact_time=False)
    history = b.build()
    f = figures(overview(history, no_counts(history), [], _period("UTC", 5, T0 + 10 * DAY)).figures)
    assert f["views_24h"].missing is not None
    assert f["views_24h"].missing.startswith("reading times unavailable")


def test_too_few_posts_are_told_and_not_averaged() -> None:
    history = make(3, 1, Plan(posts=lambda day: 1)).history()
    f = figures(overview(history, no_counts(history), [], _period("UTC", 3, T0 + 3 * DAY)).figures)
    assert f["views_24h"].missing == "needs 3 posts in the period, has 2"
    assert f["consistency"].missing == "needs 5 posts in the period, has 2"
    empty = HistoryBuilder(CHANNEL).build()
    for figure in overview(empty, no_counts(empty), [], _period("UTC", 3, T0)).figures:
        assert figure.value in (None, 0)


def test_half_a_million_readings_are_worked_through_as_arrays() -> None:
    n, each = 10_000, 50
    published = T0 + np.arange(n) * (60 * DAY // n)
    ages = np.unique(np.geomspace(0.5 * HOUR, 9 * DAY, each).astype(np.int64))
    rng = np.random.default_rng(0)
    history = ChannelHistory(
        channel=CHANNEL,
        post_ids=np.arange(n),
        published_at=published,
        attributes=np.full((n, len(ATTRIBUTES)), np.nan),
        media=np.full(n, None, dtype=object),
        album_ids=np.full(n, -1),
        offsets=np.arange(n + 1) * len(ages),
        reading_ts=(published[:, None] + ages).ravel(),
        reading_views=(rng.lognormal(7, 0.3, n)[:, None] * np.log1p(ages / HOUR)).ravel(),
        reading_exact_time=np.ones(n * len(ages), dtype=bool),
        subscriber_ts=T0 + np.arange(60 * 6) * 4 * HOUR,
        subscribers=np.linspace(1e5, 2e5, 360),
    )
    counts = Counts(*(rng.integers(1, 900, n).astype(float) for _ in range(4)))
    period, took = _period("UTC", 30, T0 + 60 * DAY), []
    for _ in range(5):
        begun = time.process_time()  # of this process: other work on the machine does not count
        f = figures(overview(history, counts, [], period).figures)
        took.append(time.process_time() - begun)
    assert f["views_24h"].n > 4500
    assert min(took) < 1.0  # 0.2 s on one busy core; a loop over posts or readings takes many seconds


# ---------------------------------------------------------------- intervals


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    covered = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        before, now = rng.lognormal(0, 0.5, 40), 1.2 * rng.lognormal(0, 0.5, 40)
        found = intervals.change_interval(now, before, "mean", rng, 300)
        assert found is not None
        covered += found[0] <= 0.2 <= found[1]
    assert 0.88 <= covered / 300 <= 0.99


def test_a_change_from_about_nothing_has_no_interval() -> None:
    rng = np.random.default_rng(0)
    assert intervals.change_interval(rng.normal(5, 1, 30), rng.normal(0, 1, 30), "mean", rng) is None
    assert intervals.change(5.0, 0.0) is None
    assert intervals.change(-300.0, -200.0) == pytest.approx(-0.5)  # a loss that grows is a fall


@given(values=st.lists(st.floats(1, 1000), min_size=1, max_size=60), statistic=st.sampled_from(["mean", "median"]))
@settings(max_examples=60, deadline=None)
def test_resamples_stay_inside_the_values(values: list[float], statistic: intervals.Statistic) -> None:
    found = intervals.resampled(np.array(values), statistic, np.random.default_rng(0), 50)
    assert len(found) == 50
    assert found.min() >= min(values) * (1 - 1e-9)
    assert found.max() <= max(values) * (1 + 1e-9)


# ---------------------------------------------------------------- posts


@pytest.fixture
def five() -> ChannelHistory:
    b = HistoryBuilder(CHANNEL)
    for i, views in enumerate([100, 200, 300, 400]):
        b.post(i, T0 + i * DAY)
        b.reading(i, T0 + i * DAY + 23 * HOUR, views)
        b.reading(i, T0 + i * DAY + 25 * HOUR, views)
    b.post(9, T0 + 9 * DAY)
    return b.build()


def test_posts_are_compared_at_equal_age_and_unknown_ones_come_last(five: ChannelHistory) -> None:
    rows = table(five, no_counts(five), 10, "overperformance", 24)
    assert [r.post_id for r in rows] == [3, 2, 1, 0, 9]
    assert [r.overperformance for r in rows] == pytest.approx([1.6, 1.2, 0.8, 0.4, None])
    assert [r.post_id for r in table(five, no_counts(five), 2, "published_at", 24)] == [9, 3]


def test_two_posts_are_too_few_to_say_what_is_usual(five: ChannelHistory) -> None:
    b = HistoryBuilder(CHANNEL)
    for i in range(2):
        b.post(i, T0)
        b.reading(i, T0 + 24 * HOUR, 100)
    history = b.build()
    rows = table(history, no_counts(history), 5, "views", 24)
    assert [(r.views, r.overperformance) for r in rows] == [(100, None), (100, None)]


def test_an_album_is_one_row() -> None:
    b = HistoryBuilder(CHANNEL)
    for i, views in enumerate([50, 80, 60]):
        b.post(i, T0, album_id=4)
        b.reading(i, T0 + 24 * HOUR, views)
    history = b.build()
    assert [(r.post_id, r.views) for r in table(history, no_counts(history), 5, "views", 24)] == [(1, 80)]


@pytest.mark.parametrize(
    ("limit", "order", "age_h", "field"),
    [(5, "luck", 24, "order"), (0, "views", 24, "limit"), (5, "views", 0, "age_h"), (5000, "views", 24, "limit")],
)
def test_what_is_no_table_is_refused(five: ChannelHistory, limit: int, order: str, age_h: int, field: str) -> None:
    with pytest.raises(InvalidInput) as error:
        table(five, no_counts(five), limit, order, age_h)
    assert error.value.details["field"] == field


def test_counts_find_their_posts_when_one_came_in_between(five: ChannelHistory) -> None:
    stored = PostCounts(*(np.array(v) for v in ([3, 77, 0], [30.0, 7, 1], [3.0, 7, NAN], [NAN] * 3, [9.0, 7, 2])))
    found = aligned(five, stored)
    assert found.views[[0, 3]].tolist() == [1, 30]
    assert np.isnan(found.views[[1, 2, 4]]).all()
    assert found.engagement[[0, 3]].tolist() == [2, 12]


# ---------------------------------------------------------------- series


def test_series_follow_the_channels_zone_and_show_unknown_buckets() -> None:
    made = make(15, 2).history()
    found = over(replace(made, channel=replace(made.channel, timezone="Asia/Tashkent")), "posts", "day")
    assert (found[0].ts - T0) % DAY == 19 * HOUR  # midnight there is 19:00 UTC
    assert sum(p.value or 0 for p in found) == made.n
    views = over(made, "daily_reach", "day")
    assert views[0].value is None  # it began before the first reading
    assert all(p.value is not None for p in views[1:-1])


@pytest.mark.parametrize("bucket", ["hour", "day", "week"])
def test_views_of_all_buckets_add_up_where_everything_is_covered(bucket: str) -> None:
    made = make(40, 2).history()
    total = sum(p.value or 0 for p in over(made, "views_gained", bucket))
    last = made.reading_views[made.offsets[1:][np.diff(made.offsets) > 0] - 1].sum()
    assert total <= last * (1 + 1e-9)
    assert total > {"hour": 0.97, "day": 0.9, "week": 0.6}[bucket] * last
    # January began before the first reading, February had not ended at the last: neither month is known.
    assert [p.value for p in over(made, "views_gained", "month")] == [None, None]


def test_subscribers_of_a_bucket_are_its_last_reading() -> None:
    b = HistoryBuilder(CHANNEL)
    b.subscribers = {T0 + 5 * HOUR: 100.0, T0 + 20 * HOUR: 110.0, T0 + 60 * HOUR: 130.0}
    found = over(b.build(), "subscribers", "day")
    assert [p.value for p in found] == [110, None, 130]


def test_a_channel_without_data_has_no_series_and_odd_questions_are_refused() -> None:
    empty = HistoryBuilder(CHANNEL).build()
    assert over(empty, "views_gained", "day") == ()
    with pytest.raises(InvalidInput, match="has no series"):
        over(empty, "consistency", "day")
    with pytest.raises(InvalidInput, match="no bucket 'decade'"):
        over(make(2, 1).history(), "views_gained", "decade")
    with pytest.raises(NotFound, match="no metric"):
        over(empty, "charisma", "day")


# ---------------------------------------------------------------- the service


def stored(database: Database) -> Analytics:
    made = make(40, 3)
    batch = made.batch()
    own = batch.posts[0].channel_id
    batch.posts[5] = batch.posts[5]._replace(text="First line of\n  a post " + "x" * 200)
    batch.reactions = [ReactionRow(own, i, t + DAY, "🔥", 12) for i, t, _ in made.posts]
    IngestWriter(database).write(batch, T0 + 40 * DAY)
    return Analytics(database, ManualClock(T0 + 40 * DAY))


def test_the_service_answers_from_stored_data(database: Database) -> None:
    analytics = stored(database)
    found = analytics.overview("made", days=14)
    f = figures(found.figures)
    assert f["er_subscribers"].value == pytest.approx(12 / 20_300, rel=0.02)
    assert f["views_gained"].n == 13  # the last day's views are not read to its end
    rows = analytics.posts("made", limit=200, order="published_at")
    excerpt = next(r.excerpt for r in rows if r.excerpt)
    assert excerpt.startswith("First line of a post xxx")
    assert len(excerpt) == 120
    assert {r.reactions for r in rows} == {12}
    status = analytics.data_status("made")
    assert (status.posts, status.reactions, status.gaps) == (160, 160, ())
    assert status.missing == (
        "forwards unavailable from this source",
        "comments unavailable from this source",
    )
    assert analytics.health().status == "ok"


def test_answers_are_kept_until_data_arrives(sqlite_database: Database) -> None:
    analytics = stored(sqlite_database)
    first = analytics.overview("made")
    assert analytics.overview("made") is first
    assert analytics.cache_stats().hits == 1
    batch = Batch()
    own = batch.channel(ChannelRow("made", "UTC", "bundle"))
    batch.posts = [PostRow(own, 5000, T0 + 39 * DAY)]
    IngestWriter(sqlite_database).write(batch, T0 + 40 * DAY)
    again = figures(analytics.overview("made").figures)["posting_rate"]
    before = figures(first.figures)["posting_rate"]
    assert again.value == pytest.approx((before.value or 0) + 1 / 30)


def test_a_gap_of_readings_is_listed(sqlite_database: Database) -> None:
    made = make(20, 3)
    batch = made.batch()
    batch.views = [row for row in batch.views if not 8 * DAY <= row[2] - T0 < 10 * DAY]
    IngestWriter(sqlite_database).write(batch, T0 + 20 * DAY)
    (gap,) = Analytics(sqlite_database, ManualClock(T0 + 20 * DAY)).data_status("made").gaps
    assert gap == (T0 + 8 * DAY - 4 * HOUR, T0 + 10 * DAY)


def test_unknown_channels_and_odd_periods_are_refused(sqlite_database: Database) -> None:
    analytics = Analytics(sqlite_database, ManualClock(T0))
    assert analytics.health().details["channels"] == 0
    with pytest.raises(NotFound):
        analytics.overview("nobody")
    with pytest.raises(InvalidInput):
        analytics.overview("nobody", days=0)


def test_a_channel_without_posts_says_so(sqlite_database: Database) -> None:
    batch = Batch()
    batch.channel(ChannelRow("empty", "UTC", "bundle"))
    IngestWriter(sqlite_database).write(batch, T0)
    analytics = Analytics(sqlite_database, ManualClock(T0))
    assert "no posts stored" in analytics.data_status("empty").missing
    assert analytics.series("empty", "posts") == ()
    assert analytics.posts("empty") == ()


def test_what_it_is_made_of_travels_to_other_processes(sqlite_database: Database) -> None:
    parts = pickle.loads(pickle.dumps((sqlite_database, ManualClock(5), "default", Cache())))
    assert Analytics(*parts).health().status == "ok"
