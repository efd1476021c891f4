"""Errors up: alarm; errors down: none; and none before anything changed, however rare the failures are."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from actors.adaptive_learning.drift.cusum import LEAST, Cusum
from actors.adaptive_learning.drift.error_rate import error_rate
from bench._made_streams import ones
from core.codec import from_json, to_json
from core.errors import InsufficientData, InvalidInput
from core.history import Floats

RATE = 1e-5


def learned(share: float, n: int, rng: np.random.Generator) -> Cusum:
    return error_rate(int(ones(share, n, rng).sum()), n, RATE)


def first(cusum: Cusum, values: Floats) -> int:
    found = cusum.update_many(values, np.arange(len(values)))
    return found[0][1].at + 1 if found else -1


def test_errors_up_are_found_and_errors_down_are_not() -> None:
    rng = np.random.default_rng(1)
    cusum = learned(0.2, 1000, rng)
    delays = [first(copy.deepcopy(cusum), ones(0.4, 1000, rng)) for _ in range(30)]
    assert min(delays) > 0
    assert np.median(delays) <= 120
    assert cusum.update_many(ones(0.05, 20_000, rng), np.arange(20_000)) == []


@pytest.mark.parametrize("share", [0.2, 0.02, 0.001])
def test_no_alarm_when_nothing_changed(share: float) -> None:
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(30):
        found += len(learned(share, 1000, rng).update_many(ones(share, 20_000, rng), np.arange(20_000)))
    assert found <= 14  # 600,000 rows: 6 expected, more with probability .001


def test_rare_failures_that_become_ten_times_as_many_are_found() -> None:
    rng = np.random.default_rng(3)
    delays = [first(learned(0.001, 20_000, rng), ones(0.01, 10_000, rng)) for _ in range(20)]
    assert min(delays) > 0
    assert np.median(delays) <= 1200


def test_none_seen_is_not_taken_for_never() -> None:
    rng = np.random.default_rng(4)
    cusum = error_rate(0, 500, RATE)
    assert cusum.mean_before == pytest.approx(0.5 / 501)
    assert cusum.update(1.0, 0) is None  # one failure after 500 rows without: a share of 1/500 explains it
    assert first(cusum, ones(0.3, 500, rng)) > 0


def test_the_share_before_and_after_is_told() -> None:
    rng = np.random.default_rng(5)
    cusum = error_rate(200, 1000, RATE)
    cusum.update_many(ones(0.2, 300, rng), np.arange(300))
    ((_, alarm), *_) = cusum.update_many(ones(0.5, 60, rng), np.arange(300, 360))
    assert alarm.up
    assert alarm.onset == pytest.approx(300, abs=15)
    assert cusum.mean_before == pytest.approx(0.2, abs=0.02)
    assert cusum.mean_after == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("seed", range(6))
def test_a_block_gives_what_single_values_give(seed: int) -> None:
    rng = np.random.default_rng(seed)
    single = learned((0.3, 0.1, 0.01)[seed % 3], 200 + 100 * seed, rng)
    block = from_json(Cusum, to_json(single))
    values = np.concatenate([ones(0.05, 900, rng), ones(0.5, 200, rng), ones(0.2, 700, rng)])
    expected = [(row, a) for row, value in enumerate(values.tolist()) if (a := single.update(value, row))]
    found, start = [], 0
    for size in (1, 400, 3, 800, 596):
        part = block.update_many(values[start : start + size], np.arange(start, start + size))
        found += [(start + row, alarm) for row, alarm in part]
        start += size
    assert found == expected
    assert found
    assert block == single


def test_too_few_values_and_impossible_counts_are_refused() -> None:
    with pytest.raises(InsufficientData) as gap:
        error_rate(3, LEAST - 1, RATE)
    assert (gap.value.needed, gap.value.have) == (LEAST, LEAST - 1)
    for count in (-1, 101):
        with pytest.raises(InvalidInput, match="failures among 100"):
            error_rate(count, 100, RATE)


def test_always_failing_can_only_fall() -> None:
    cusum = error_rate(1000, 1000, RATE)
    assert cusum.update_many(np.ones(5000), np.arange(5000)) == []
