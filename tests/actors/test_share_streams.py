"""Shares of bad events in service: a rise is one alarm, a fall is none, and equal shares alarm as seldom as stated."""

from __future__ import annotations

import numpy as np
import pytest

from actors.adaptive_learning.drift.shares import REFERENCE, ShareDetector, Watched
from bench._made_streams import bursts, ones
from core.codec import from_json, to_json


def events(share: float, n: int, rng: np.random.Generator) -> list[bool]:
    return (ones(share, n, rng) > 0).tolist()


def fed(detector: ShareDetector, bad: list[bool], start: int = 0) -> int:
    return detector.feed_many(bad, range(start, start + len(bad)))


def begun(watched: Watched, share: float, rng: np.random.Generator) -> ShareDetector:
    detector = ShareDetector(watched)
    assert fed(detector, events(share, REFERENCE[watched], rng)) == 0
    assert detector.needs == 0
    return detector


@pytest.mark.parametrize("watched", ["missed", "failed"])
def test_a_rising_share_is_an_alarm_and_a_falling_one_is_not(watched: Watched) -> None:
    rng = np.random.default_rng(1)
    rising, falling = begun(watched, 0.2, rng), begun(watched, 0.2, rng)
    at = REFERENCE[watched]
    assert fed(rising, events(0.5, 400, rng), at) == 1
    assert rising.stands
    assert rising.onset == pytest.approx(at, abs=30)
    assert rising.before == pytest.approx(0.2, abs=0.06)
    assert rising.after == pytest.approx(0.5, abs=0.12)
    assert fed(falling, events(0.02, 20_000, rng), at) == 0
    assert (falling.alarms, falling.stands, falling.after) == (0, False, None)


def test_a_rise_that_lasts_is_one_alarm_and_one_that_comes_back_is_another() -> None:
    rng = np.random.default_rng(2)
    detector = begun("failed", 0.05, rng)
    assert fed(detector, events(0.4, 3000, rng), 1000) == 1
    first, last = detector.onset, detector.last_alarm_at
    assert last is not None
    assert last > 1500, "the sums went on rising, and the alarm is the same one"
    assert fed(detector, events(0.0, 30_000, rng), 4000) == 0
    assert not detector.stands
    assert fed(detector, events(0.4, 300, rng), 34_000) == 1
    assert detector.alarms == 2
    assert first is not None
    assert detector.onset is not None
    assert first < 1100 < 33_900 < detector.onset


@pytest.mark.parametrize(("watched", "share"), [("missed", 0.2), ("failed", 0.02), ("failed", 0.0)])
def test_equal_shares_alarm_as_seldom_as_stated(watched: Watched, share: float) -> None:
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(20):
        found += fed(begun(watched, share, rng), events(share, 5000, rng))
    assert found <= 5  # 100,000 values: 1 expected, 6 with probability .0006


def test_misses_that_come_in_bursts_are_no_rise() -> None:
    rng = np.random.default_rng(4)
    found = 0
    for _ in range(20):
        found += fed(ShareDetector("missed"), (bursts(0.2, 6000, rng) > 0).tolist())
    assert found <= 6  # 112,000 values: 1.1 expected, 7 with probability .0002


def test_a_share_that_was_never_seen_is_judged_when_it_appears() -> None:
    rng = np.random.default_rng(5)
    detector = begun("missed", 0.0, rng)
    assert fed(detector, events(0.3, 500, rng), 400) == 1


def test_a_state_written_down_goes_on_exactly() -> None:
    rng = np.random.default_rng(6)
    bad = events(0.1, 1500, rng) + events(0.4, 300, rng)
    whole, parts = ShareDetector("failed"), ShareDetector("failed")
    assert fed(whole, bad) == 1
    for start in range(0, len(bad), 90):
        fed(parts, bad[start : start + 90], start)
        parts = from_json(ShareDetector, to_json(parts))
    assert parts == whole
    assert len(to_json(parts)) < 4000


def test_a_post_counts_once() -> None:
    detector = ShareDetector("missed")
    detector.feed_posts([True, True, False], [1, 2, 3], ["1/7", "1/7", "1/8"])
    detector.feed_posts([True, False], [4, 5], ["1/8", "1/9"])
    assert (detector.n, detector.waiting) == (3, [1, 0, 0])


def test_it_says_what_it_lacks() -> None:
    detector = ShareDetector("failed")
    assert (detector.needs, detector.before, detector.after) == (REFERENCE["failed"], None, None)
    detector.feed_many([False], [1])
    assert detector.needs == REFERENCE["failed"] - 1
