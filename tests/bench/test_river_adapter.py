"""One direction for every detector of River: errors up -> alarm, errors down -> none."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from river import base, drift

from bench._river import BINARY, DETECTORS, RiverDetector


def errors(rng: np.random.Generator, *shares: tuple[float, int]) -> np.ndarray:
    return np.concatenate([(rng.random(n) < share).astype(float) for share, n in shares])


@pytest.mark.parametrize("name", DETECTORS)
def test_errors_up_are_an_alarm_and_errors_down_are_none(name: str) -> None:
    rng = np.random.default_rng(1)
    up = RiverDetector(name).alarms(errors(rng, (0.1, 600), (0.9, 400)))
    assert [row for row in up if row >= 600], "a rise of the errors was missed"
    down = RiverDetector(name).alarms(errors(rng, (0.9, 600), (0.1, 400)))
    assert [row for row in down if row >= 600] == []


@pytest.mark.parametrize("name", [name for name in DETECTORS if name not in BINARY])
def test_sizes_of_errors_have_the_same_direction(name: str) -> None:
    rng = np.random.default_rng(2)
    small, large = np.abs(rng.normal(0, 0.1, 600)), np.abs(rng.normal(0, 1.0, 600)) + 0.5
    assert [row for row in RiverDetector(name).alarms(np.concatenate([small, large])) if row >= 600]
    assert [row for row in RiverDetector(name).alarms(np.concatenate([large, small])) if row >= 600] == []


def test_no_detector_of_the_library_is_left_out() -> None:
    found = {
        name
        for module in (drift, drift.binary)
        for name, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, (base.DriftDetector, base.BinaryDriftDetector)) and not inspect.isabstract(kind)
    }
    assert found - {"NoDrift", "DummyDriftDetector", "PeriodicTrigger"} == set(DETECTORS)
