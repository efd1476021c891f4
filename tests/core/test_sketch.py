from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import StorageBroken
from core.sketch import RELATIVE_ERROR, LatencySketch

MS = st.floats(0.01, 1e6)


@given(st.lists(MS, min_size=1, max_size=30), st.floats(0.01, 1))
def test_a_quantile_is_off_by_a_bin_at_most(values: list[float], share: float) -> None:
    true = sorted(values)[math.ceil(share * len(values)) - 1]
    assert LatencySketch.of(values).quantile(share) == pytest.approx(true, rel=RELATIVE_ERROR, abs=0.002)


@given(st.lists(st.lists(MS, max_size=8), max_size=6))
def test_parts_add_up_to_the_whole_in_any_order(parts: list[list[float]]) -> None:
    whole = LatencySketch.of(value for part in parts for value in part)
    merged = LatencySketch()
    for part in reversed(parts):
        merged.merge(LatencySketch.load(LatencySketch.of(part).dump()))
    assert merged.n == whole.n
    assert merged.dump() == whole.dump()


def test_nothing_has_no_quantile() -> None:
    assert LatencySketch().quantile(0.5) is None
    assert LatencySketch.load(LatencySketch().dump()).n == 0


def test_what_lies_outside_counts_as_the_nearest() -> None:
    sketch = LatencySketch.of([-1.0, 0.0, 1e12, float("inf")])
    assert sketch.n == 4
    assert sketch.quantile(1.0) == pytest.approx(3_600_000, rel=RELATIVE_ERROR)
    with pytest.raises(ValueError, match="NaN"):
        sketch.add(float("nan"))


@pytest.mark.parametrize("data", [b"", b"xx", b"A" * 60, LatencySketch.of([1.0]).dump()[:-8]])
def test_bytes_that_are_no_sketch_are_said_to_be_broken(data: bytes) -> None:
    with pytest.raises(StorageBroken, match="histogram"):
        LatencySketch.load(data)


def test_it_is_small() -> None:
    rng = np.random.default_rng(0)
    assert len(LatencySketch.of(np.exp(rng.normal(2, 1, 5000))).dump()) < 2000
