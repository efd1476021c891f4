"""Segments of constant level: none too many on noise, changes where they are."""

from __future__ import annotations

import numpy as np
import pytest

from actors.adaptive_learning.drift.onset import LEAST, _partition, long_run_noise, segments
from bench._made_streams import stream
from core.errors import InsufficientData, InvalidInput
from core.history import Floats


@pytest.mark.parametrize("kind", ["gauss", "t3", "ar"])
def test_noise_is_one_segment(kind: str) -> None:
    rng = np.random.default_rng(1)
    assert sum(segments(stream(kind, 250, rng)) != () for _ in range(60)) <= 3


def test_changes_are_found_where_they_are_whatever_unit_and_origin() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=400)
    values[120:] += 2
    values[300:] -= 3
    found = segments(values)
    assert np.abs(np.array(found) - [120, 300]).max() <= 4
    assert segments(1e6 + 0.01 * values) == found
    assert segments(-values) == found


def test_a_step_without_noise_is_found_exactly_and_a_constant_is_one_segment() -> None:
    assert segments(np.repeat([3.0, 4.0], 50)) == (50,)
    assert segments(np.full(100, 7.0)) == ()


def test_outliers_are_no_change() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=300)
    values[[50, 51, 200]] = 1e6
    assert segments(values) == ()


def test_dropping_beaten_begins_loses_nothing() -> None:
    rng = np.random.default_rng(4)
    for _ in range(10):
        z = rng.normal(size=70) + np.repeat(rng.normal(0, 2, 7), 10)
        assert _partition(z, 8.0, 6) == exhaustive(z, 8.0, 6)


def exhaustive(z: Floats, penalty: float, shortest: int) -> tuple[int, ...]:
    best: list[tuple[float, tuple[int, ...]]] = [(-penalty, ())]
    for end in range(1, len(z) + 1):
        options = [
            (
                best[begin][0] + penalty + float(((z[begin:end] - z[begin:end].mean()) ** 2).sum()),
                (*best[begin][1], begin),
            )
            for begin in range(end - shortest + 1)
        ]
        best.append(min(options) if options else (np.inf, ()))
    return tuple(begin for begin in best[-1][1] if begin)


def test_noise_is_measured_past_a_change_and_with_its_dependence() -> None:
    rng = np.random.default_rng(5)
    independent = [long_run_noise(rng.normal(size=2000) + 50 * (np.arange(2000) >= 900), 25) for _ in range(10)]
    dependent = [long_run_noise(stream("ar", 2000, rng), 25) for _ in range(10)]
    assert np.mean(independent) == pytest.approx(1.0, abs=0.2)
    assert np.mean(dependent) == pytest.approx(np.sqrt(3), abs=0.35)


def test_too_few_values_and_gaps_are_refused() -> None:
    with pytest.raises(InsufficientData) as gap:
        segments(np.zeros(LEAST - 1))
    assert (gap.value.needed, gap.value.have) == (LEAST, LEAST - 1)
    with pytest.raises(InvalidInput, match="not finite"):
        segments(np.concatenate([np.zeros(99), [np.nan]]))
