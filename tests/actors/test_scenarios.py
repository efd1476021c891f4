"""Publishing otherwise: the difference a predictor sees, with the posts' luck, and what must be said with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from actors.predictive_intelligence.fatigue import elasticity
from actors.predictive_intelligence.scenarios import scenario
from actors.predictive_intelligence.temporal import local
from bench.best_times import FOREVER, START, make
from core.clock import DAY
from core.errors import InsufficientData, InvalidInput, NoData
from core.history import ATTRIBUTES, ChannelHistory, HistoryBuilder
from core.schemas.channels import Channel
from core.schemas.predictions import Quantiles
from core.schemas.scenarios import PlannedPost, Scenario, ScenarioSpec

END = START + 120 * DAY


@pytest.fixture(scope="module")
def history() -> ChannelHistory:
    made = make("nothing", np.random.default_rng(5)).history
    attributes = made.attributes.copy()
    attributes[:, ATTRIBUTES.index("text_len")] = np.random.default_rng(1).integers(100, 900, made.n)
    return replace(made, attributes=attributes)


class Rule:
    """1,000 views; twice as many for videos, a tenth more from 18 h on; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[PlannedPost]] = []

    def __call__(self, posts: Sequence[PlannedPost]) -> Sequence[Quantiles]:
        self.asked.append(list(posts))
        hours = local("UTC", np.array([post.published_at for post in posts]))[0]
        views = [
            1000 * (2 if post.draft.media == "video" else 1) * (1.1 if hour >= 18 else 1)
            for post, hour in zip(posts, hours, strict=True)
        ]
        return [Quantiles(0.7 * v, v, 1.4 * v) for v in views]


def ask(history: ChannelHistory, rule: Rule | None = None, as_of: int = END, **spec: object) -> Scenario:
    return scenario(history, ScenarioSpec(**spec), rule or Rule(), "views_24h", as_of)  # type: ignore[arg-type]


def test_another_format_brings_what_the_predictor_says(history: ChannelHistory) -> None:
    rule = Rule()
    found = ask(history, rule, media="video")
    before, planned = rule.asked
    assert found.posts == (len(before), len(before))
    assert {post.draft.media for post in planned} == {"video"}
    plain = np.mean([post.draft.media != "video" for post in before])
    assert found.relative == pytest.approx(plain / (2 - plain), rel=0.1)
    assert found.difference.low < found.difference.mean < found.difference.high
    assert found.chance_better > 0.99
    assert found.difference.mean == pytest.approx(found.planned.mean - found.usual.mean)
    assert found.warnings == ()
    assert ask(history, media="video") == found


def test_the_plan_is_the_last_four_weeks_at_the_same_hours(history: ChannelHistory) -> None:
    rule = Rule()
    ask(history, rule, hour=19)
    before, planned = rule.asked
    last = history.published_at[history.published_at > END - 28 * DAY]
    assert [post.published_at - 35 * DAY for post in before] == last.tolist()
    assert before[0].draft.text_len is not None
    assert before[0].draft.is_ad in (True, False)
    assert set(local("UTC", np.array([post.published_at for post in planned]))[0]) == {19}
    assert [post.draft for post in planned] == [post.draft for post in before]


def test_more_posts_take_views_from_each_other_as_they_have_done(history: ChannelHistory) -> None:
    rng = np.random.default_rng(3)
    _, day = np.unique(local("UTC", history.published_at)[2], return_inverse=True)
    crowd = np.bincount(day)[day]
    tired = replace(history, reading_views=history.reading_views * np.repeat(crowd, 2) ** -0.6)
    slope = elasticity(tired, 0, FOREVER, rng).estimate
    assert slope.low < -0.6 + 0.1 < slope.high + 0.1  # type: ignore[operator]
    assert slope.high < -0.2  # type: ignore[operator]
    found = ask(tired, posts_per_day=5)
    free = ask(history, posts_per_day=5)
    assert found.fatigue.applied
    assert found.posts[1] == 140
    assert found.planned.mean < 0.8 * free.planned.mean
    assert found.warnings == ()  # days with five posts are known


def test_a_channel_of_even_days_does_not_know_its_fatigue(history: ChannelHistory) -> None:
    _, first = np.unique(local("UTC", history.published_at)[2], return_index=True)
    one = keep_posts(history, first)
    found = ask(one, posts_per_day=2)
    assert not found.fatigue.applied
    assert "about 1 posts on each day" in str(found.fatigue.elasticity.missing)
    assert found.notes[0].endswith("at most this much")
    assert any("more than the channel has done" in warning for warning in found.warnings)


def keep_posts(history: ChannelHistory, at: np.ndarray) -> ChannelHistory:
    """A few of its posts, two readings each."""
    rows = np.stack([2 * at, 2 * at + 1], axis=1).ravel()
    return replace(
        history,
        post_ids=history.post_ids[at],
        published_at=history.published_at[at],
        attributes=history.attributes[at],
        media=history.media[at],
        album_ids=history.album_ids[at],
        offsets=2 * np.arange(len(at) + 1),
        reading_ts=history.reading_ts[rows],
        reading_views=history.reading_views[rows],
        reading_exact_time=history.reading_exact_time[rows],
    )


def test_what_the_channel_never_did_is_a_warning(history: ChannelHistory) -> None:
    assert "0 posts at 3 h" in ask(history, hour=3).warnings[0]
    assert "0 posts with poll" in ask(history, media="poll").warnings[0]
    assert "texts of 5000" in ask(history, text_len=5000).warnings[0]
    assert ask(history, text_len=500).warnings == ()
    unknown = history.attributes.copy()
    unknown[:, ATTRIBUTES.index("text_len")] = np.nan
    assert "are not known" in ask(replace(history, attributes=unknown), text_len=500).warnings[0]


def test_longer_texts_have_more_words_and_lines(history: ChannelHistory) -> None:
    attributes = history.attributes.copy()
    attributes[:, ATTRIBUTES.index("text_len")], attributes[:, ATTRIBUTES.index("n_words")] = 300, 50
    rule = Rule()
    ask(replace(history, attributes=attributes), rule, text_len=600)
    assert {(post.draft.text_len, post.draft.n_words) for post in rule.asked[1]} == {(600, 100)}


def test_bad_questions_and_thin_channels_are_told_apart(history: ChannelHistory) -> None:
    for spec in ({}, {"posts_per_day": 0}, {"hour": 24}, {"text_len": -1}):
        with pytest.raises(InvalidInput):
            ask(history, **spec)
    with pytest.raises(InsufficientData) as gap:
        ask(history, as_of=START + 2 * DAY, hour=19)
    assert gap.value.needed == 10
    with pytest.raises(NoData):
        ask(HistoryBuilder(Channel(1, "default", "a", "UTC", "bundle", 1)).build(), hour=19)
