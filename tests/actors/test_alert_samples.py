"""Values that windows are made of: posts on the day they are old enough, engagement at equal age, holes as holes."""

from __future__ import annotations

import numpy as np
import pytest

from actors.alerts_fusion.samples import ENGAGED_S, Source, samples
from bench._made_channel import T0, make
from core.clock import DAY, HOUR
from core.errors import NoData
from core.history import HistoryBuilder
from core.schemas.alerts import RuleSpec
from core.schemas.channels import Channel
from core.store.channels import ChannelStore, Mention
from core.store.database import Database
from core.store.ingest import Batch, ChannelRow, IngestWriter, PostRow, ReactionRow
from tests.actors.alert_world import AlertWorld

CHANNEL = Channel(1, "default", "a", "UTC", "bundle", 1)
ZERO = (T0 // DAY) + 719_163  # ordinal of T0's date


def posts(hours: list[int], views: float = 480.0) -> HistoryBuilder:
    """Posts at hours after T0, read at 12, 24 and 48 hours of age, with half, all and twice the views."""
    made = HistoryBuilder(CHANNEL)
    for i, hour in enumerate(hours):
        born = T0 + hour * HOUR
        made.post(i, born)
        for age, share in ((12, 0.5), (24, 1.0), (48, 2.0)):
            made.reading(i, born + age * HOUR, views * share)
    return made


def test_a_post_counts_on_the_day_on_which_it_is_old_enough() -> None:
    found = samples(Source(posts([1, 23, 25]).build()), "views_24h", ZERO, ZERO + 3)
    assert found.day.tolist() == [ZERO + 1, ZERO + 1, ZERO + 2]
    assert found.value.tolist() == [480.0] * 3
    assert np.isnan(found.window(ZERO + 1, 1)[0])  # two posts are fewer than the metric's least
    assert found.window(ZERO + 2, 2) == (480.0, 3)


def test_view_rate_is_of_the_subscribers_at_publication() -> None:
    made = posts([1, 2, 3])
    made.subscribers = {T0: 1000.0, T0 + 2 * HOUR + 60: 2000.0}
    found = samples(Source(made.build()), "vtr", ZERO, ZERO + 3)
    assert found.value.tolist() == [0.48, 0.48, 0.24]


def test_citations_are_counted_and_days_without_any_are_known() -> None:
    mentions = (
        Mention("b", 1, "a", T0 + HOUR),
        Mention("b", 2, "a", T0 + 2 * HOUR),
        Mention("a", 3, "b", T0 + DAY),
        Mention("a", 4, "a", T0),
    )
    source = Source(posts([1]).build(), mentions=mentions)
    inward, outward = (samples(source, metric, ZERO, ZERO + 2) for metric in ("citation_in", "citation_out"))
    assert (inward.value.tolist(), outward.value.tolist()) == ([2, 0, 0], [0, 1, 0])
    assert inward.window(ZERO + 2, 3) == (2.0, 3)


def test_subscribers_are_the_last_of_the_window() -> None:
    made = HistoryBuilder(CHANNEL)
    made.subscribers = {T0 + k * 12 * HOUR: 1000.0 + 10 * k for k in range(9)}
    found = samples(Source(made.build()), "subscribers", ZERO, ZERO + 3)
    assert found.window(ZERO + 2, 3) == (1060.0, 3)


@pytest.mark.parametrize(
    ("metric", "why"),
    [("views_gained", "views unavailable"), ("net_growth", "subscribers unavailable"), ("views_final", "views_24h")],
)
def test_what_a_source_cannot_have_is_said(metric: str, why: str) -> None:
    made = posts([1, 2]) if metric == "views_final" else HistoryBuilder(CHANNEL)
    with pytest.raises(NoData, match=why):
        samples(Source(made.build()), metric, ZERO, ZERO + 3)


def test_engagement_is_taken_at_equal_age_however_late_it_is_looked_at(database: Database) -> None:
    batch = Batch()
    own = batch.channel(ChannelRow("a", "UTC", "bundle"))
    for i in range(6):
        born = T0 + i * DAY
        batch.posts.append(PostRow(own, i, born))
        for age_h, views, forwards, reactions in (
            (12, 50, 1, 4),
            (24, 100, 2, 6),
            (47, 150, 3, 7),
            (200, 900, 90, 500),
        ):
            batch.views.append((own, i, born + age_h * HOUR, views, forwards, None, 0))
            batch.reactions.append(ReactionRow(own, i, born + age_h * HOUR, "👍", reactions))
    IngestWriter(database).write(batch, T0 + 30 * DAY)
    channels = ChannelStore(database)
    channel = channels.channel("a")
    counts = channels.counts_at_age(channel, ENGAGED_S)
    assert (counts.views.tolist(), counts.forwards.tolist(), counts.reactions.tolist()) == (
        [150.0] * 6,
        [3.0] * 6,
        [7.0] * 6,
    )
    assert np.isnan(counts.replies).all()
    assert np.isnan(channels.counts_at_age(channel, 11 * HOUR).views).all()
    source = Source(channels.history(channel), counts)
    assert samples(source, "err", ZERO, ZERO + 9).value.tolist() == [0.1] * 6
    assert samples(source, "virality", ZERO, ZERO + 9).value.tolist() == [0.02] * 6
    late = channels.history(channel, published_from=T0 + 3 * DAY)
    assert late.post_ids.tolist() == [3, 4, 5]
    assert len(late.reading_ts) == 12
    assert samples(Source(late, counts), "err", ZERO, ZERO + 9).value.tolist() == [0.1] * 3


def test_the_newest_thing_that_is_known_by_a_moment(database: Database) -> None:
    world = AlertWorld(database, make(3, 5))
    world.feed(T0 + 3 * DAY)
    channels = ChannelStore(database)
    channel = channels.channel("made")
    assert T0 + 2 * DAY - 4 * HOUR <= (channels.newest(channel, T0 + 2 * DAY) or 0) <= T0 + 2 * DAY
    assert channels.newest(channel, T0 - 1) is None


@pytest.mark.parametrize(
    "metric",
    ["views_24h", "views_gained", "view_half_life", "vtr", "consistency", "posting_rate", "subscribers", "citation_in"],
)
def test_every_metric_of_the_data_can_be_watched(sqlite_database: Database, metric: str) -> None:
    world = AlertWorld(sqlite_database, make(30, 5))
    world.feed(T0 + 30 * DAY)
    bound = 1.0 if metric in ("views_24h", "views_gained", "subscribers") else 0.01
    rule = RuleSpec(metric, "threshold", metric, direction="above", threshold=bound, channel="made", window_days=3)
    past = world.service().backtest(rule, 14)
    assert past.channels[0].judged >= 4
    assert past.alerts == (0 if metric == "citation_in" else 1)
