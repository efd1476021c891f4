from __future__ import annotations

import pytest

from cluster.story.plan import LABELS_TO_ROLL_OUT, LABELS_TO_TRAIN, survey, timetable
from core.clock import DAY, HOUR
from core.errors import InsufficientData, NoData
from core.history import ChannelHistory, HistoryBuilder, target_values
from core.schemas.channels import Channel

T0 = 1_735_689_600


def _history(posts: int, ages: tuple[int, ...], *, spacing_h: int = 6, end_h: int | None = None) -> ChannelHistory:
    b = HistoryBuilder(Channel(1, "default", "a", "UTC", "bundle", 1))
    for i in range(posts):
        published = T0 + i * spacing_h * HOUR
        b.post(i, published)
        for age in ages if end_h is None else (end_h - i * spacing_h,):
            b.reading(i, published + age * HOUR, 100.0 * age)
    return b.build()


CURVE = (1, 4, 8, 12, 16, 20, 24, 28, 50, 72, 76)


def test_history_ends_when_the_asked_share_of_labels_is_known() -> None:
    plan = timetable([_history(300, CURVE)], history_share=0.45)
    assert plan.labels_before == pytest.approx(0.45 * 300, abs=4)
    assert plan.labels_before + plan.labels_after == 300


def test_no_prediction_is_asked_before_it_can_be_known_nor_for_history() -> None:
    history = _history(300, CURVE)
    plan = timetable([history])
    published = dict(zip(history.post_ids.tolist(), history.published_at.tolist(), strict=True))
    assert {v.known_age_h for v in plan.visits} == {0, 1, 4, 24}
    for visit in plan.visits:
        assert visit.as_of > plan.live_from
        assert visit.as_of >= published[visit.post_id] + visit.known_age_h * HOUR
    assert [v.as_of for v in plan.visits] == sorted(v.as_of for v in plan.visits)


def test_the_replay_ends_after_the_last_label() -> None:
    history = _history(200, CURVE)
    plan = timetable([history], steps=50)
    assert plan.end > target_values(history, "views_24h").known_at.max()
    assert plan.steps <= 51


def test_a_source_with_one_reading_a_post_asks_before_publishing_only_and_says_so() -> None:
    history = _history(300, (), end_h=300 * 6 + 100)
    plan = timetable([history])
    assert plan.single_reading
    assert {v.known_age_h for v in plan.visits} == {0}


def test_too_few_measured_posts_are_counted_aloud() -> None:
    with pytest.raises(InsufficientData) as gap:
        timetable([_history(40, CURVE)])
    assert (gap.value.needed, gap.value.have) == (LABELS_TO_TRAIN + LABELS_TO_ROLL_OUT, 40)


def test_a_source_without_views_has_no_labels() -> None:
    history = _history(200, ())
    found = survey([history])
    assert found.labels == {}
    assert found.days == pytest.approx(199 * 6 * HOUR / DAY)
    with pytest.raises(InsufficientData):
        timetable([history])


def test_an_empty_import_is_no_data() -> None:
    with pytest.raises(NoData):
        survey([])
