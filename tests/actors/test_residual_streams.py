"""Streams of a version's errors: level and spread, sizes that share the rate, states that go on where they stopped."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from actors.adaptive_learning.drift.cusum import LEAST
from actors.adaptive_learning.drift.residuals import RATE, SHARE, ResidualDetector, combined, is_size, size_of
from core.codec import from_json, to_json
from core.history import Floats


def fed(detector: ResidualDetector, errors: Floats, start: int = 0) -> int:
    return sum(detector.feed(float(e), start + i, f"p{start + i}") for i, e in enumerate(errors))


def test_errors_that_grow_in_size_are_drift_and_errors_that_shrink_are_not() -> None:
    rng = np.random.default_rng(12)
    reference = rng.normal(0, 0.2, 500)
    growing = ResidualDetector.started(reference)
    assert fed(growing, rng.normal(0, 0.4, 400)) > 0
    shrinking = ResidualDetector.started(reference)
    assert fed(shrinking, rng.normal(0, 0.05, 400)) == 0
    drift = combined({"views_24h@0": growing, "views_24h@1": shrinking})
    assert drift.n == 800
    assert drift.alarms == growing.alarms
    assert drift.stream is not None
    assert drift.stream.startswith("views_24h@0 ")
    assert drift.effect is not None
    assert drift.effect > 0.5


def test_a_detector_written_down_goes_on_as_if_nothing_had_happened() -> None:
    rng = np.random.default_rng(13)
    errors = rng.normal(0.1, 0.2, 600)
    whole = ResidualDetector.started(rng.normal(0, 0.2, 300))
    parts = from_json(ResidualDetector, to_json(whole))
    assert fed(whole, errors) > 0
    for start in range(0, 600, 50):
        fed(parts, errors[start : start + 50], start)
        parts = from_json(ResidualDetector, to_json(parts))
    assert parts == whole
    assert len(to_json(parts)) < 4000


@pytest.mark.parametrize("holdout", [0, 60, 300])
def test_many_at_once_leave_what_one_after_the_other_leaves(holdout: int) -> None:
    rng = np.random.default_rng(holdout)
    single = ResidualDetector.started(rng.normal(0, 0.2, holdout))
    many = copy.deepcopy(single)
    raised = 0
    for start in range(0, 800, 160):
        errors = rng.normal(0.15 if start >= 480 else 0, 0.2, 160)
        posts = [f"p{start + i - (i % 7 == 3)}" for i in range(160)]  # some are asked twice
        ats = list(range(start, start + 160))
        one = sum(single.feed(float(e), at, post) for e, at, post in zip(errors, ats, posts, strict=True))
        assert many.feed_many(errors.tolist(), ats, posts) == one
        assert many == single
        raised += one
    assert raised > 0
    assert many.n < 800


def test_without_a_reference_the_first_errors_become_one() -> None:
    rng = np.random.default_rng(14)
    detector = ResidualDetector.started(rng.normal(0, 0.2, 60))
    assert detector.needs == 40
    assert fed(detector, rng.normal(0, 0.2, 39)) == 0
    assert detector.needs == 1
    fed(detector, rng.normal(0, 0.2, 1), 39)
    assert detector.needs == 0
    assert fed(detector, rng.normal(0.4, 0.2, 200), 40) > 0


def test_errors_that_do_not_vary_make_room_for_later_ones() -> None:
    detector = ResidualDetector()
    assert fed(detector, np.zeros(250)) == 0
    assert detector.needs == 1
    assert len(detector.waiting) == LEAST - 1


def test_a_post_asked_for_again_counts_once() -> None:
    detector = ResidualDetector.started(np.random.default_rng(0).normal(0, 0.2, 300))
    assert not any(detector.feed(5.0, at, "same") for at in range(50))
    assert detector.n == 1


def test_no_alarm_says_nothing_of_means() -> None:
    drift = combined({"views_24h@0": ResidualDetector()})
    assert (drift.n, drift.alarms, drift.effect, drift.mean_after) == (0, 0, None, None)


def test_answers_belong_to_a_power_of_ten_and_the_ends_take_the_rest() -> None:
    assert [size_of(views) for views in (0, 99, 999.9, 1000, 54_321, 1e7)] == [
        " size 1e2",
        " size 1e2",
        " size 1e2",
        " size 1e3",
        " size 1e4",
        " size 1e5",
    ]
    assert is_size("views_24h@0" + size_of(10))
    assert not is_size("views_24h@0")


def test_a_stream_and_its_sizes_share_the_rate() -> None:
    reference = np.random.default_rng(0).normal(0, 0.2, 500)
    half, whole = ResidualDetector.started(reference), ResidualDetector.started(reference, RATE)
    assert half.rate == SHARE == RATE / 2
    assert half.level is not None
    assert whole.level is not None
    assert half.level.thresholds > whole.level.thresholds


def test_a_drift_of_one_size_is_named_by_it() -> None:
    rng = np.random.default_rng(3)
    names = ("views_24h@0", "views_24h@0 size 1e3", "views_24h@0 size 1e4")
    streams = {name: ResidualDetector.started(rng.normal(0, 0.2, 500)) for name in names}
    for post in range(900):
        size = int(rng.integers(2))
        error = rng.normal(0.2 if size and post >= 300 else 0.0, 0.2)
        for name in (names[0], names[1 + size]):
            streams[name].feed(error, post, f"p{post}")
    drift = combined(streams)
    assert drift.n == 900
    assert streams[names[1]].alarms == 0
    assert drift.stream == "views_24h@0 size 1e4 level"


def test_a_state_written_earlier_keeps_its_rate() -> None:
    earlier = to_json(ResidualDetector.started(np.random.default_rng(0).normal(0, 0.2, 300)))
    assert '"rate":5e-06,' in earlier
    without = earlier.replace('"rate":5e-06,', "")
    assert from_json(ResidualDetector, without).rate == RATE
