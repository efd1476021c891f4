from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from core.clock import DAY
from core.errors import InsufficientData, NoData
from core.history import ChannelHistory
from core.schemas.predictions import TARGETS
from tests.training.audience import START, make_history
from training.dataset import LEAST_POSTS, Dataset, build, from_parquet, split_at, split_share, to_parquet

FOREVER = 2**40


@pytest.fixture(scope="module")
def data() -> Dataset:
    return build([make_history(number) for number in (1, 2)], FOREVER)


def test_each_post_has_a_row_at_each_age(data: Dataset) -> None:
    assert set(data.known_age) == {0, 1, 4, 24}
    assert data.targets == ("views_24h", "views_72h")
    assert np.all(np.diff(data.published_at) >= 0)


def test_a_target_already_measured_is_not_asked(data: Dataset) -> None:
    day = data.known_age == 24
    assert np.isnan(data.residual[day, TARGETS.index("views_24h")]).all()
    assert np.isfinite(data.residual[day, TARGETS.index("views_72h")]).all()


def test_nothing_known_after_until_is_used() -> None:
    histories = [make_history(number) for number in (1, 2)]
    until = START + 30 * DAY
    early = build(histories, until)
    known = early.known_at[np.isfinite(early.actual)]
    assert known.max() <= until
    assert early.as_of.max() <= until
    cut = []
    for history in histories:
        keep = history.reading_ts <= until
        owner = np.repeat(np.arange(history.n), np.diff(history.offsets))[keep]
        cut.append(
            dataclasses.replace(
                history,
                offsets=np.searchsorted(owner, np.arange(history.n + 1)),
                reading_ts=history.reading_ts[keep],
                reading_views=history.reading_views[keep],
                reading_exact_time=history.reading_exact_time[keep],
            )
        )
    assert build(cut, until).sha256() == early.sha256()


def test_rows_before_a_split_know_no_outcome_from_after_it(data: Dataset) -> None:
    split = split_share(data)
    known = split.before.known_at[np.isfinite(split.before.actual)]
    assert known.max() < split.moment <= split.after.published_at.min()
    assert 0.18 <= split.after.n_posts / data.n_posts <= 0.26


def test_a_post_is_never_on_both_sides(data: Dataset) -> None:
    split = split_at(data, int(np.median(data.published_at)))
    sides = [set(zip(part.channel, part.post_id, strict=True)) for part in (split.before, split.after)]
    assert sides[0]
    assert sides[1]
    assert not sides[0] & sides[1]


def test_parquet_keeps_every_bit(data: Dataset) -> None:
    assert from_parquet(to_parquet(data)).sha256() == data.sha256()


def test_the_hash_sees_a_single_changed_value(data: Dataset) -> None:
    x = data.x.copy()
    x[3, 3] += 1
    assert dataclasses.replace(data, x=x).sha256() != data.sha256()


def test_only_chosen_posts_become_rows() -> None:
    history = make_history()
    wanted = np.zeros(history.n, dtype=bool)
    wanted[40:] = True
    chosen = build([history], FOREVER, only=[wanted])
    everything = build([history], FOREVER)
    assert set(chosen.post_id) == set(history.post_ids[40:])
    same = everything.take(everything.published_at >= history.published_at[40])
    assert chosen.sha256() == same.sha256()


def test_too_few_posts_are_insufficient(history: ChannelHistory) -> None:
    with pytest.raises(InsufficientData) as gap:
        build([history], START + 12 * DAY)
    assert gap.value.needed == LEAST_POSTS
    assert 0 < gap.value.have < LEAST_POSTS


def test_no_posts_are_no_data() -> None:
    with pytest.raises(NoData):
        build([], FOREVER)


def test_a_source_with_one_reading_a_post_teaches_its_final_count() -> None:
    data = build([make_history(posts=120, readings_h=(100,))], FOREVER)
    assert data.targets == ("views_final",)
    assert set(data.known_age) == {0}


def test_counts_beside_views_are_targets_too_and_count_less_in_a_loss() -> None:
    history = make_history(posts=120, readings_h=(1, 4, 14, 24, 50, 72, 110, 168), forwards=True)
    counted = history.counts["forwards"]
    data = build([history], FOREVER)
    assert data.targets == ("views_24h", "views_72h", "views_7d", "forwards_72h")
    t = TARGETS.index("forwards_72h")
    one = np.flatnonzero((data.known_age == 0) & np.isfinite(data.actual[:, t]))[0]
    at = history.index_of(int(data.post_id[one]))
    # 72 h is a reading's own age, and one is added before the logarithm.
    assert data.actual[one, t] == pytest.approx(np.log1p(counted.values[counted.offsets[at] + 5]))
    assert data.balance[t] < 0.7
    assert (data.balance[[TARGETS.index("views_24h"), TARGETS.index("views_7d")]] == 1).all()
    assert from_parquet(to_parquet(data)).sha256() == data.sha256()
