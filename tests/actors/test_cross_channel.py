"""Lagged links between channels: unrelated series are left alone, a planted follower is found with its lag."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from actors.predictive_intelligence.cross_channel import LeftOut, Whitened, common_days, cross_channel, linked, whitened
from bench._made_channel import T0
from bench.cross_channel import news, series
from core.clock import DAY
from core.errors import InsufficientData, InvalidInput
from core.history import ChannelHistory, HistoryBuilder
from core.schemas.channels import Channel

DAYS = 200


def channel(name: str, growth: np.ndarray) -> ChannelHistory:
    made = HistoryBuilder(Channel(1, "default", name, "UTC", "bundle", 1))
    counts = 10_000 + np.concatenate([[0.0], np.cumsum(growth)])
    made.subscribers = {T0 + day * DAY: float(n) for day, n in enumerate(counts)}
    return made.build()


def white(values: list[np.ndarray]) -> list[Whitened]:
    found = [whitened(str(i), each, np.arange(len(each)) % 7) for i, each in enumerate(values)]
    assert all(isinstance(each, Whitened) for each in found)
    return found  # type: ignore[return-value]


def test_a_follower_is_found_with_its_lag_and_direction() -> None:
    rng = np.random.default_rng(5)
    made = [news("white", DAYS + 50, rng) for _ in range(5)]
    made[1] = 0.8 * np.roll(made[4], 3) + 0.6 * made[1]
    histories = [channel(f"c{i}", 50 + 10 * series("autocorrelated", each, rng)) for i, each in enumerate(made)]
    span = common_days(histories)
    assert span is not None
    found = cross_channel(histories, "net_growth", *span)
    assert found.pairs == 10
    best = found.links[0]
    assert (best.first, best.second, best.lag_days, best.beyond_chance) == ("c4", "c1", 3, True)
    assert best.low < 0.8 < best.high
    assert best.q >= best.p
    assert not any(link.beyond_chance for link in found.links[1:])


def test_trend_week_and_likeness_from_day_to_day_are_no_link() -> None:
    flagged = pairs = 0
    for seed in range(3):
        rng = np.random.default_rng([9, seed])
        # All share the week and the direction, the things that raw correlation falls for.
        shared = 3 * np.sin(np.arange(120) * 2 * np.pi / 7) + np.arange(120) / 20
        values = [shared + series("autocorrelated", news("white", 170, rng), rng) for _ in range(8)]
        assert np.corrcoef(values)[0, 1:].mean() > 0.4
        links, _ = linked(white(values), 7, 0.05)
        flagged, pairs = flagged + sum(link.beyond_chance for link in links), pairs + len(links)
    assert flagged / pairs <= 0.02


def test_no_order_of_channels_and_no_unit_changes_a_link() -> None:
    rng = np.random.default_rng(1)
    values = [rng.normal(size=90) for _ in range(3)]
    values[2] = 0.9 * np.roll(values[0], 2) + 0.4 * values[2]
    one, _ = linked(white(values), 5, 0.05)
    scaled = [white([1000 * v + 7])[0] for v in values]
    scaled = [replace(each, channel=str(i)) for i, each in enumerate(scaled)]
    two, _ = linked(scaled[::-1], 5, 0.05)
    key = lambda k: (k.first, k.second, k.lag_days, round(k.correlation, 9), round(k.q, 9))  # noqa: E731
    assert [key(link) for link in one if link.lag_days] == [key(link) for link in two if link.lag_days]


def test_days_that_nobody_knows_cost_certainty_and_nothing_else() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=150)
    y = 0.9 * np.roll(x, 1) + 0.4 * rng.normal(size=150)
    whole, _ = linked(white([x, y]), 3, 0.05)
    x[rng.choice(150, 20, replace=False)] = np.nan
    holed, _ = linked(white([x, y]), 3, 0.05)
    assert holed[0].lag_days == whole[0].lag_days == 1
    assert holed[0].days < whole[0].days
    assert holed[0].correlation == pytest.approx(whole[0].correlation, abs=0.1)


def test_what_cannot_take_part_says_why() -> None:
    rng = np.random.default_rng(3)
    weekday = np.arange(100) % 7
    short = whitened("short", np.where(np.arange(100) < 30, 1.0, np.nan), weekday)
    assert short == LeftOut("short", "30 days known, 45 needed")
    flat = whitened("flat", np.where(np.arange(100) % 10 == 0, 5.0, 0.0), weekday)
    assert flat == LeftOut("flat", "more than half of its days are alike")
    gaps = whitened("gaps", np.where(np.arange(100) % 2 == 0, rng.normal(size=100), np.nan), weekday)
    assert isinstance(gaps, LeftOut)
    lone = [channel("a", rng.normal(size=100)), channel("b", rng.normal(size=10))]
    with pytest.raises(InsufficientData) as gap:
        cross_channel(lone, "net_growth", T0, T0 + 100 * DAY)
    assert (gap.value.needed, gap.value.have) == (2, 1)
    with pytest.raises(InvalidInput, match="net_growth or views_gained"):
        cross_channel(lone, "err", T0, T0 + 100 * DAY)
    with pytest.raises(InvalidInput, match="lags"):
        cross_channel(lone, "net_growth", T0, T0 + 100 * DAY, lags=99)
    assert common_days([HistoryBuilder(Channel(1, "default", "c", "UTC", "bundle", 1)).build()]) is None
