"""The graph of mentions and what a mention brings, beside what the channel does without one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.predictive_intelligence.influence import influence
from actors.predictive_intelligence.mention_lift import lift_at, mention_lifts
from bench.mention_lift import START, target
from core.clock import DAY, HOUR
from core.errors import NoData
from core.graph import visits
from core.history import HistoryBuilder
from core.schemas.channels import Channel
from core.store.channels import Mention


def mention(source: str, to: str, post: int = 1, day: float = 0) -> Mention:
    return Mention(source, post, to, START + int(day * DAY))


# ---------------------------------------------------------------- graph


def test_page_rank_is_the_known_one() -> None:
    # a -> b, a -> c, b -> c, c -> a: solved by hand with damping .85 (a textbook's example)
    rows, columns = np.array([0, 0, 1, 2]), np.array([1, 2, 2, 0])
    found = visits(rows, columns, np.ones(4), np.full(3, 1 / 3), 0.15)
    matrix = np.array([[0, 0, 1], [0.5, 0, 0], [0.5, 1, 0]])
    exact = np.linalg.solve(np.eye(3) - 0.85 * matrix, np.full(3, 0.15 / 3))
    np.testing.assert_allclose(found, exact, atol=1e-9)
    assert found.sum() == pytest.approx(1)


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7), st.floats(0.1, 9)), max_size=30), st.floats(0.05, 1))
@settings(max_examples=50, deadline=None)
def test_a_walk_is_somewhere_at_every_time(edges: list[tuple[int, int, float]], restart: float) -> None:
    rows, columns = (np.array([edge[k] for edge in edges], dtype=np.int64) for k in (0, 1))
    found = visits(rows, columns, np.array([edge[2] for edge in edges]), np.full(8, 1 / 8), restart)
    assert found.sum() == pytest.approx(1)
    assert found.min() >= restart / 8 - 1e-12


def test_a_node_without_edges_out_keeps_the_sum() -> None:
    found = visits(np.array([0]), np.array([1]), np.ones(1), np.full(3, 1 / 3), 0.15)
    assert found.sum() == pytest.approx(1)
    assert found[1] > found[0] == pytest.approx(found[2])


def test_who_is_named_by_many_ranks_first_with_the_posts_as_evidence() -> None:
    mentions = [
        *(mention(name, "hub", 7, 3) for name in ("a", "b", "c")),
        *(mention("a", "hub", post, post) for post in range(8, 15)),
        mention("hub", "favourite", 1, 9),
        mention("a", "a", 99, 1),  # itself
        mention("b", "hub", 7, 3),  # the same post again
    ]
    found = influence(mentions, {"a", "hub"}, None, 10)
    assert {rank.channel for rank in found.ranks[:2]} == {"hub", "favourite"}
    assert sum(rank.score for rank in found.ranks) == pytest.approx(len(found.ranks))
    hub = next(rank for rank in found.ranks if rank.channel == "hub")
    assert (hub.named_by, hub.names, hub.stored) == (3, 1, True)
    edge = found.edges[0]
    assert (edge.source, edge.target, edge.posts) == ("a", "hub", 8)
    assert [e.post_id for e in edge.evidence] == [14, 13, 12, 11, 10]
    assert (edge.first, edge.last) == (START + 3 * DAY, START + 14 * DAY)
    assert found.mentions == 11
    assert found.overlap.value is None
    assert "not visible from outside" in str(found.overlap.missing)
    own = influence(mentions, set(), "favourite", 10)
    assert [(e.source, e.target) for e in own.edges] == [("hub", "favourite")]
    with pytest.raises(NoData, match="no mention by 'nobody'"):
        influence(mentions, set(), "nobody", 10)
    with pytest.raises(NoData):
        influence([mention("a", "a")], set(), None, 10)


# ---------------------------------------------------------------- lift


def test_the_lift_is_the_days_growth_beyond_the_usual() -> None:
    made = HistoryBuilder(Channel(1, "default", "t", "UTC", "bundle", 1))
    counts = 1000 + 10 * np.arange(30.0)
    counts[21:] += 55  # the day that begins at 20
    made.subscribers = {START + day * DAY: n for day, n in enumerate(counts.tolist())}
    history = made.build()
    lifts, usual = lift_at(history, START + DAY * np.array([20, 18, 5, 29]))
    assert lifts[:2] == pytest.approx([55, 0])
    assert usual[:2] == pytest.approx([10, 10])
    assert np.isnan(lifts[2:]).all()  # too early for a usual; no reading 24 h later


def test_mentions_that_bring_many_are_told_from_the_growth_of_any_day() -> None:
    days = (30, 45, 60, 62, 90)
    mentions = [mention("source", "target", i, day) for i, day in enumerate(days)]
    history = target(np.random.default_rng(1), mentions, brought=80)
    found = mention_lifts({"target": history}, [*mentions, mention("other", "target", 9, 30.3)], "target")
    link = next(link for link in found.links if link.source == "source")
    assert link.n == 5
    assert link.reading == "above"
    assert link.placebo_high < link.median  # type: ignore[operator]
    assert link.median == pytest.approx(80, abs=20)
    assert link.lifts[0].shared == ("other",)
    assert found.positive == 1.0
    assert 0.3 < found.placebo_positive < 0.7  # type: ignore[operator]


def test_mentions_that_bring_nothing_lie_within() -> None:
    mentions = [mention("source", "target", i, day) for i, day in enumerate((30, 45, 60, 75, 90))]
    history = target(np.random.default_rng(2), mentions, brought=0)
    found = mention_lifts({"target": history}, mentions)
    assert found.links[0].reading == "within"
    assert found.links[0].placebo_low < found.links[0].median < found.links[0].placebo_high  # type: ignore[operator]
    assert found.notes[0].startswith("1 of 1 links bring what other moments")
    assert mention_lifts({"target": history}, mentions) == found


def test_mentions_of_one_day_count_once() -> None:
    mentions = [mention("source", "target", i, 40 + i * HOUR / DAY) for i in range(5)]
    found = mention_lifts({"target": target(np.random.default_rng(2), [], 0)}, mentions)
    assert (found.links[0].n, found.mentions) == (1, 1)


def test_what_cannot_be_known_says_why() -> None:
    history = target(np.random.default_rng(2), [], 0)
    early = mention_lifts({"target": history}, [mention("source", "target", 1, 3)]).links[0]
    assert (early.n, early.unknown, early.median) == (0, 1, None)
    assert "14 days before" in str(early.missing)
    crowded = [mention("source", "target", i, 14.5 + 4 * i) for i in range(26)]
    assert "away from mentions" in str(mention_lifts({"target": history}, crowded).links[0].missing)
    with pytest.raises(NoData, match="names 'target'"):
        mention_lifts({"target": history}, [mention("target", "elsewhere")], "target")
    mute = HistoryBuilder(Channel(1, "default", "target", "UTC", "bundle", 1)).build()
    with pytest.raises(NoData, match="subscribers unavailable"):
        mention_lifts({"target": mute}, [mention("source", "target")])
