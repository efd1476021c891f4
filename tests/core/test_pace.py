"""The pace of posts: 1 where nothing happens, what happened on its day, unknown where nobody looked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench._made_channel import T0, Plan, make
from core.clock import DAY
from core.history import ChannelHistory, Floats
from core.pace import _column_medians, views_pace

DAYS = 70
EDGES = np.arange(T0, T0 + (DAYS + 1) * DAY, DAY, dtype=np.int64)


def pace(history: ChannelHistory) -> Floats:
    return views_pace(history, EDGES).values


def test_a_steady_channel_is_read_at_the_usual_pace_however_many_posts_it_has() -> None:
    steady = pace(make(DAYS, 3).history())
    assert np.isnan(steady[:4]).all()  # nothing to compare with
    assert np.abs(np.log(steady[35:-1])).max() < 0.12
    busy = pace(make(DAYS, 3, Plan(posts=lambda day: 10 if day % 9 == 0 else 3)).history())
    assert np.abs(np.log(busy[40:-1])).max() < 0.15


@pytest.mark.parametrize("share", [0.7, 1.4])
def test_what_readers_do_from_a_day_on_shows_on_that_day(share: float) -> None:
    found = pace(make(DAYS, 4, Plan(reach=lambda day: share if day >= 60 else 1.0)).history())
    assert found[60] == pytest.approx(share, rel=0.08)
    assert found[59] == pytest.approx(1.0, abs=0.08)


def test_only_what_came_before_a_day_is_used_for_it() -> None:
    whole = make(DAYS, 5).history()
    until = make(61, 5).history()  # the same channel, until day 61
    assert pace(whole)[40:59] == pytest.approx(pace(until)[40:59])


def test_days_that_nobody_watched_are_unknown() -> None:
    history = make(DAYS, 6).history()
    away = (history.reading_ts > T0 + 50 * DAY) & (history.reading_ts < T0 + 53 * DAY)
    owner = np.repeat(np.arange(history.n), np.diff(history.offsets))[~away]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=history.n))]).astype(np.int64)
    holed = replace(
        history,
        offsets=offsets,
        reading_ts=history.reading_ts[~away],
        reading_views=history.reading_views[~away],
        reading_exact_time=history.reading_exact_time[~away],
    )
    found = pace(holed)
    assert np.isnan(found[50:53]).all()
    assert found[60] == pytest.approx(1.0, abs=0.15)


def test_a_channel_without_readings_has_no_pace() -> None:
    history = make(DAYS, 6).history()
    empty = replace(
        history,
        offsets=np.zeros(history.n + 1, dtype=np.int64),
        reading_ts=history.reading_ts[:0],
        reading_views=history.reading_views[:0],
        reading_exact_time=history.reading_exact_time[:0],
    )
    assert np.isnan(pace(empty)).all()


def test_days_that_only_serve_the_wanted_ones_change_nothing() -> None:
    history = make(DAYS, 7).history()
    whole, part = views_pace(history, EDGES), views_pace(history, EDGES, wanted=61)
    assert np.isnan(part.values[:61]).all()
    np.testing.assert_array_equal(part.values[61:], whole.values[61:])
    assert np.isfinite(part.values[61:]).sum() > 5
    assert part.posts[61:].tolist() == whole.posts[61:].tolist()


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 8))
def test_medians_are_those_of_numpy(seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.where(rng.random((rows, columns)) < 0.4, np.nan, rng.lognormal(0, 2, (rows, columns)))
    values[rng.integers(rows), :] = 1.0  # no column of nothing
    assert _column_medians(values).tolist() == np.nanmedian(values, axis=0).tolist()
