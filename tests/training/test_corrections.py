from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from core.errors import InvalidInput
from core.history import ChannelHistory, target_values
from core.schemas.predictions import TARGETS, Correction
from tests.training.audience import make_history
from training.corrections import Corrections
from training.dataset import build
from training.engagement import _lineage, prepare

FOREVER = 2**40
DAY_TARGET = TARGETS.index("views_24h")


@pytest.fixture(scope="module")
def history() -> ChannelHistory:
    return make_history(1)


def correction(history: ChannelHistory, i: int, value: float, at: int = 10, **changes: object) -> Correction:
    known_at = int(target_values(history, "views_24h").known_at[i])
    base = Correction("f1", history.channel.id, int(history.post_ids[i]), "views_24h", value, known_at, at)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def test_a_correction_is_learned_in_place_of_the_measured_value_with_its_weight(history: ChannelHistory) -> None:
    i = history.n // 2
    plain = build([history], FOREVER)
    data = build([history], FOREVER, corrections=Corrections.of([correction(history, i, 12_345)], 3.0))
    own = (data.post_id == history.post_ids[i]) & np.isfinite(data.actual[:, DAY_TARGET])
    assert own.any()
    assert data.actual[own, DAY_TARGET] == pytest.approx(math.log(12_345))
    assert set(data.weight[own]) == {3.0}
    rest = data.post_id != history.post_ids[i]
    assert set(data.weight[rest]) == {1.0}
    assert np.array_equal(data.actual[rest], plain.actual[rest], equal_nan=True)
    assert np.array_equal(data.x, plain.x, equal_nan=True)  # what is predicted from stays as it was measured


def test_a_post_that_was_never_measured_is_learned_from_its_correction(history: ChannelHistory) -> None:
    i = history.n // 2
    keep = np.ones(len(history.reading_ts), dtype=bool)
    keep[history.offsets[i] : history.offsets[i + 1]] = False
    offsets = np.concatenate([[0], np.cumsum(np.diff(history.offsets) * (np.arange(history.n) != i))])
    unread = dataclasses.replace(
        history,
        offsets=offsets,
        reading_ts=history.reading_ts[keep],
        reading_views=history.reading_views[keep],
        reading_exact_time=history.reading_exact_time[keep],
    )
    assert history.post_ids[i] not in build([unread], FOREVER).post_id
    said = correction(history, i, 500)
    assert history.post_ids[i] in build([unread], FOREVER, corrections=Corrections.of([said], 1.0)).post_id


def test_the_last_word_counts_and_nothing_is_known_before_its_time(history: ChannelHistory) -> None:
    i = history.n // 2
    first, last = correction(history, i, 10, at=5, feedback_id="a"), correction(history, i, 20, at=6, feedback_id="b")
    said = Corrections.of([last, first], 1.0)
    channel, post = history.channel.id, int(history.post_ids[i])
    found = said.find(channel, post, "views_24h", first.known_at)
    assert found is not None
    assert found.log_value == math.log(20)
    assert said.find(channel, post, "views_24h", first.known_at - 1) is None
    assert said.find(channel, post, "views_72h", FOREVER) is None


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_a_weight_is_a_number_above_nothing(weight: float) -> None:
    with pytest.raises(InvalidInput, match="weight"):
        Corrections.of([], weight)


def test_a_version_says_what_it_learned_from(history: ChannelHistory) -> None:
    histories = [history, make_history(2)]
    used = [correction(history, i, 300, feedback_id=f"f{i}") for i in (history.n // 3, history.n // 2)]
    unused = correction(history, 0, 300, feedback_id="elsewhere", channel_id=999)
    with_them = _lineage(prepare(histories, until=FOREVER, corrections=Corrections.of([*used, unused], 2.0)))
    without = _lineage(prepare(histories, until=FOREVER))
    assert (with_them.corrections, without.corrections, without.corrections_sha256) == (2, 0, "")
    assert len(with_them.corrections_sha256) == 64
    assert with_them.data_sha256 != without.data_sha256
