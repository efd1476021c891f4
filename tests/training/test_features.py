from __future__ import annotations

import dataclasses
import math
import time

import numpy as np
import pytest

from core.clock import DAY, HOUR
from core.errors import InsufficientData, InvalidInput, NoData
from core.history import ChannelHistory, HistoryBuilder, Readings, target_values, views_at
from core.schemas.channels import Channel, PostDraft
from core.schemas.predictions import Metric, Target
from tests.training.audience import START, make_history
from training.features import FEATURES, FeatureBuilder, attributes_of, predictable
from training.levels import LOOKBACK, MIN_HISTORY, WINDOW, level, nowcast


def value(row_vector: np.ndarray, name: str) -> float:
    return float(row_vector[FEATURES.index(name)])


def rebuilt(history: ChannelHistory, *, as_of: int, keep: int, seed: int) -> ChannelHistory:
    """Another future: everything that became known after `as_of` is removed or made up anew; post `keep` stays."""
    rng = np.random.default_rng(seed)
    builder = HistoryBuilder(history.channel)
    for i in range(history.n):
        post = int(history.post_ids[i])
        if history.published_at[i] > as_of and i != keep and rng.random() < 0.5:
            continue
        names = ("text_len", "n_words", "n_links", "n_hashtags", "n_mentions", "n_emoji", "n_lines")
        attributes = dict(zip((*names, "has_question", "is_ad", "is_forward"), history.attributes[i], strict=True))
        later = history.published_at[i] > as_of and i != keep
        builder.post(
            post,
            int(history.published_at[i]),
            {k: None if math.isnan(v) else (v + 7 if later else v) for k, v in attributes.items()},
            "video" if later else history.media[i],
        )
        for j in range(history.offsets[i], history.offsets[i + 1]):
            ts = int(history.reading_ts[j])
            if ts <= as_of:
                builder.reading(post, ts, float(history.reading_views[j]))
            elif rng.random() < 0.7:
                builder.reading(post, ts, float(rng.integers(1, 100_000)))
        for metric, readings in history.counts.items():
            for j in range(readings.offsets[i], readings.offsets[i + 1]):
                ts = int(readings.ts[j])
                if ts <= as_of or rng.random() < 0.7:
                    builder.count(metric, post, ts, readings.values[j] if ts <= as_of else float(rng.integers(9, 900)))
    for ts, count in zip(history.subscriber_ts, history.subscribers, strict=True):
        builder.subscribers[int(ts)] = float(count) if ts <= as_of else 1.0
    return builder.build()


@pytest.mark.parametrize("known_age_h", [0, 1, 4, 24])
def test_nothing_that_became_known_later_changes_a_row(known_age_h: int) -> None:
    history = make_history(posts=90, seed=3, forwards=True)
    whole = FeatureBuilder(history)
    for i in range(30, 85, 6):
        moment = whole.early_known_at(i, known_age_h)
        assert moment is not None
        row = whole.stored(i, known_age_h)
        for seed in range(3):
            other_future = FeatureBuilder(rebuilt(history, as_of=moment, keep=i, seed=seed))
            place = other_future.history.index_of(int(history.post_ids[i]))
            assert place is not None
            again = other_future.stored(place, known_age_h, as_of=moment)
            np.testing.assert_array_equal(row.vector, again.vector)
            assert row.base_log == again.base_log
            assert row.level_log == again.level_log
            assert row.history == again.history


def test_a_change_of_the_past_does_change_the_row(history: ChannelHistory) -> None:
    louder = dataclasses.replace(history, reading_views=history.reading_views * 2)
    one, two = FeatureBuilder(history).stored(60), FeatureBuilder(louder).stored(60)
    assert two.level_log["views_72h"] - one.level_log["views_72h"] == pytest.approx(math.log(2), abs=0.01)


def test_a_cut_history_gives_the_same_rows() -> None:
    history = make_history(posts=LOOKBACK + 200, per_day=8)
    last = history.n - 1
    first = last - LOOKBACK - 20
    cut = dataclasses.replace(
        history,
        post_ids=history.post_ids[first:],
        published_at=history.published_at[first:],
        attributes=history.attributes[first:],
        media=history.media[first:],
        album_ids=history.album_ids[first:],
        offsets=history.offsets[first:] - history.offsets[first],
        reading_ts=history.reading_ts[history.offsets[first] :],
        reading_views=history.reading_views[history.offsets[first] :],
        reading_exact_time=history.reading_exact_time[history.offsets[first] :],
    )
    for age in (0, 4, 24):
        whole, short = FeatureBuilder(history).stored(last, age), FeatureBuilder(cut).stored(last - first, age)
        np.testing.assert_array_equal(whole.vector, short.vector)
        assert whole.base_log == short.base_log


def test_a_draft_has_the_row_of_the_same_post(history: ChannelHistory) -> None:
    builder, i = FeatureBuilder(history), 70
    stored = builder.stored(i)
    draft = PostDraft(
        media=history.media[i],
        text_len=int(history.attributes[i, 0]),
        n_words=int(history.attributes[i, 1]),
        is_ad=bool(history.attributes[i, 8]),
    )
    row = builder.row(
        published_at=int(history.published_at[i]),
        attributes=attributes_of(draft),
        media=draft.media,
        as_of=int(history.published_at[i]),
    )
    np.testing.assert_array_equal(np.delete(row.vector, []), stored.vector)
    assert row.base_log == stored.base_log


def test_the_level_is_the_median_of_the_last_matured_posts(history: ChannelHistory) -> None:
    i = 80
    moment = int(history.published_at[i])
    known = target_values(history, "views_72h")
    matured = [known.values[j] for j in range(i) if known.known_at[j] <= moment]
    row = FeatureBuilder(history).stored(i)
    assert row.level_log["views_72h"] == pytest.approx(np.median(np.log(matured[-WINDOW:])))
    assert row.base_log == row.level_log
    assert row.history == WINDOW


def test_early_views_move_the_starting_point_towards_what_they_say(history: ChannelHistory) -> None:
    builder = FeatureBuilder(history)
    four = views_at(history, 4 * HOUR)
    moved, error_base, error_level = [], [], []
    for i in range(40, 110):
        row = builder.stored(i, 4)
        truth = builder.target("views_72h").of_post[i]
        if np.isfinite(truth):
            moved.append((value(row.vector, "early_deviation"), row.base_log["views_72h"] - row.level_log["views_72h"]))
            error_base.append(abs(truth - row.base_log["views_72h"]))
            error_level.append(abs(truth - row.level_log["views_72h"]))
    assert np.isfinite(four.values).all()
    assert np.corrcoef(np.array(moved).T)[0, 1] > 0.9
    assert np.mean(error_base) < 0.5 * np.mean(error_level)


def test_the_nowcast_learns_the_channel_s_own_slope() -> None:
    rng = np.random.default_rng(1)
    early = rng.normal(5, 0.5, 60)
    tells = nowcast(early, early + 2, 6.0, 0.5)
    says_nothing = nowcast(early, rng.normal(7, 0.5, 60), 6.0, 0.5)
    assert tells == pytest.approx(7.85, abs=0.15)
    assert abs(says_nothing - 7) < 0.4


def test_a_target_already_measured_is_not_ahead() -> None:
    assert predictable(("views_24h", "views_72h"), 24) == ("views_72h",)
    assert predictable(("views_24h", "views_72h"), 4) == ("views_24h", "views_72h")
    assert predictable(("views_final",), 0) == ("views_final",)
    assert predictable(("views_final",), 4) == ()


def test_too_few_matured_posts_are_insufficient(history: ChannelHistory) -> None:
    builder = FeatureBuilder(history)
    with pytest.raises(InsufficientData) as gap:
        builder.stored(2)
    assert gap.value.needed == MIN_HISTORY
    assert gap.value.have < MIN_HISTORY


def test_early_views_that_are_not_known_yet_are_insufficient(history: ChannelHistory) -> None:
    builder = FeatureBuilder(history)
    with pytest.raises(InsufficientData, match="4 h are not known"):
        builder.stored(60, 4, as_of=int(history.published_at[60]) + HOUR)


def test_a_source_without_views_has_no_data() -> None:
    builder = HistoryBuilder(Channel(1, "default", "silent", "UTC", "telegram-desktop", 1))
    for post in range(20):
        builder.post(post, START + post * DAY)
    with pytest.raises(NoData, match="views unavailable"):
        FeatureBuilder(builder.build()).stored(15)


def test_a_source_with_one_reading_a_post_predicts_its_final_count() -> None:
    history = make_history(posts=60, readings_h=(90,))
    builder = FeatureBuilder(history)
    assert tuple(builder.stored(50).base_log) == ("views_final",)
    with pytest.raises(NoData, match="one reading a post"):
        builder.stored(50, 4, as_of=int(history.published_at[50]) + 5 * HOUR)


def test_an_unknown_age_and_early_views_of_a_draft_are_invalid(history: ChannelHistory) -> None:
    builder = FeatureBuilder(history)
    with pytest.raises(InvalidInput, match="known_age_h"):
        builder.stored(60, 7)
    with pytest.raises(InvalidInput, match="draft"):
        builder.row(
            published_at=START + 60 * DAY,
            attributes=attributes_of(PostDraft()),
            media=None,
            as_of=START + 60 * DAY,
            known_age_h=4,
        )


def test_an_album_counts_once() -> None:
    builder = FeatureBuilder(make_history(posts=90, album_every=3))
    assert len(builder.target("views_72h").index) == 31


def test_hours_are_the_channel_s_own(history: ChannelHistory) -> None:
    zone = dataclasses.replace(history.channel, timezone="Asia/Tokyo")
    here = FeatureBuilder(history).stored(60).vector
    there = FeatureBuilder(dataclasses.replace(history, channel=zone)).stored(60).vector
    angle = [math.atan2(value(v, "hour_sin"), value(v, "hour_cos")) for v in (here, there)]
    assert (angle[1] - angle[0]) * 24 / (2 * math.pi) % 24 == pytest.approx(8)


def test_an_unknown_zone_is_named(history: ChannelHistory) -> None:
    with pytest.raises(InvalidInput, match="Mars/Olympus"):
        FeatureBuilder(
            dataclasses.replace(history, channel=dataclasses.replace(history.channel, timezone="Mars/Olympus"))
        )


def test_unknown_is_missing_and_not_zero(history: ChannelHistory) -> None:
    row = FeatureBuilder(history).row(
        published_at=START + 60 * DAY, attributes=attributes_of(PostDraft()), media=None, as_of=START + 60 * DAY
    )
    assert math.isnan(value(row.vector, "log_text_len"))
    assert math.isnan(value(row.vector, "media_video"))
    assert math.isnan(value(row.vector, "early_deviation"))


def test_a_level_needs_five_posts_and_tells_their_spread() -> None:
    assert level(np.arange(4.0)) is None
    found = level(np.array([1.0, 2.0, 3.0, 4.0, 100.0]))
    assert found is not None
    assert (found.log, found.n) == (3.0, 5)
    assert found.spread == pytest.approx(1.4826)


def test_a_row_is_quick() -> None:
    """The predictor makes one a request: less than counting to 50,000 takes, on any machine."""
    builder = FeatureBuilder(make_history(posts=300))
    spent, yardstick = [], []
    for i in range(100, 290):
        begin = time.process_time()
        builder.stored(i, 4)
        spent.append(time.process_time() - begin)
        begin = time.process_time()
        for _ in range(50_000):
            pass
        yardstick.append(time.process_time() - begin)
    assert float(np.median(spent)) < float(np.median(yardstick))


def test_a_count_is_foretold_from_its_own_early_readings_where_there_are_some() -> None:
    history = make_history(posts=120, forwards=True)
    counted = history.counts["forwards"]
    kinds: tuple[dict[Metric, Readings], ...] = ({"forwards": counted}, {"forwards": _last_only(counted)})
    own, other = (FeatureBuilder(dataclasses.replace(history, counts=counts)) for counts in kinds)

    def errors(builder: FeatureBuilder, target: Target, age: int) -> float:
        late = builder.target(target)
        return float(np.mean([abs(builder.stored(i, age).base_log[target] - late.of_post[i]) for i in range(60, 110)]))

    before, after = errors(own, "forwards_72h", 0), errors(own, "forwards_72h", 4)
    assert after < before / 3
    # Views say how large the audience is, not how much of it forwards.
    assert errors(other, "forwards_final", 4) > before / 2


def _last_only(readings: Readings) -> Readings:
    last = np.zeros(len(readings.ts), dtype=bool)
    last[readings.offsets[1:] - 1] = True
    return readings.take(last)
