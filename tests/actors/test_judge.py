"""The judge seldom condemns the innocent, finds the guilty, and is not fooled by failures that both versions share."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.adaptive_learning.deployment import betting, judge
from actors.adaptive_learning.deployment.judge import Book, Gate, Harm, Held, Hold, Open, Safe, Tally
from core.schemas.rollouts import RolloutConfig

CONFIG = RolloutConfig()


def fed(book: Book, tallies: list[Tally]) -> Book:
    for tally in tallies:
        book = judge.with_counts(book, tally, CONFIG)
    return book


def paired(book: Book, values: list[float]) -> Book:
    for value in values:
        book = judge.with_pair(book, value, CONFIG)
    return book


def first_harm(
    rng: np.random.Generator, stable_rate: float, canary_rate: float, ticks: int, share: float
) -> int | None:
    """Tick at which a roll-out at 100 requests a tick is condemned by errors."""
    canary = rng.binomial(100, share, ticks)
    canary_errors = rng.binomial(canary, canary_rate)
    stable_errors = rng.binomial(100 - canary, stable_rate)
    logs = betting.NO_RATIO_BETS
    for t in range(ticks):
        logs = betting.more_often(logs, int(canary_errors[t]), int(stable_errors[t]), canary[t] / 100)
        if betting.mixture(logs) >= log(judge.GUARDED / CONFIG.alpha):
            return t
    return None


def test_few_equal_versions_are_condemned_by_errors_however_often_one_looks() -> None:
    rng = np.random.default_rng(1)
    condemned = sum(first_harm(rng, 0.01, 0.01, 400, 0.1) is not None for _ in range(400))
    assert condemned / 400 <= 0.05


def test_few_equal_versions_are_condemned_by_quality_whatever_the_size_of_the_differences() -> None:
    rng = np.random.default_rng(2)
    condemned = 0
    for run in range(400):
        spread = (0.05, 0.2, 0.6)[run % 3]
        logs = betting.NO_MEAN_BETS
        for value in np.clip(rng.normal(0, spread, 300), -1, 1):
            logs = betting.mean_above(logs, float(value))
            if betting.mixture(logs) >= log(judge.GUARDED / CONFIG.alpha):
                condemned += 1
                break
    assert condemned / 400 <= 0.05


def test_a_tenfold_error_rate_at_a_tenth_of_the_traffic_is_found_within_a_minute() -> None:
    rng = np.random.default_rng(3)
    found = [first_harm(rng, 0.001, 0.01, 300, 0.1) for _ in range(101)]
    delays = sorted(300 if t is None else t for t in found)
    assert delays[50] <= 40
    assert delays[90] <= 120


def test_worse_forecasts_are_found_within_some_dozen_posts_and_better_ones_cleared() -> None:
    rng = np.random.default_rng(4)
    worse = paired(Book(), list(np.clip(rng.normal(0.5, 0.4, 40), -1, 1)))
    assert judge.harm(worse, CONFIG) is not None
    better = fed(paired(Book(), list(np.clip(rng.normal(-0.05, 0.2, 60), -1, 1))), [Tally(500, 0, 500, 0)])
    assert judge.verdict(better, CONFIG, Gate.ERRORS_AND_QUALITY) == Safe()


def test_a_version_as_bad_as_the_margin_is_seldom_cleared() -> None:
    rng, cleared = np.random.default_rng(5), 0
    margin = CONFIG.quality_margin / CONFIG.quality_clip
    for _ in range(400):
        logs = betting.NO_MEAN_BETS
        for value in np.clip(rng.normal(margin, 0.3, 300), -1, 1):
            logs = betting.mean_below(logs, float(value), margin)
            if betting.mixture(logs) >= log(1 / CONFIG.beta):
                cleared += 1
                break
    assert cleared / 400 <= CONFIG.beta


def test_an_error_rate_at_the_bound_is_seldom_cleared_and_a_clean_one_after_a_few_hundred() -> None:
    rng, cleared = np.random.default_rng(6), 0
    for _ in range(300):
        logs = betting.NO_RATE_BETS
        for errors in rng.binomial(50, CONFIG.error_slo, 60):
            logs = betting.rate_below(logs, 50, int(errors), CONFIG.error_slo)
            if betting.mixture(logs, betting.RATE_PRIOR) >= log(1 / CONFIG.beta):
                cleared += 1
                break
    assert cleared / 300 <= CONFIG.beta
    assert isinstance(judge.verdict(fed(Book(), [Tally(0, 0, 300, 0)]), CONFIG, Gate.ERRORS), Open)
    assert judge.verdict(fed(Book(), [Tally(0, 0, 420, 0)]), CONFIG, Gate.ERRORS) == Safe()


def test_an_outage_that_both_share_holds_and_condemns_nobody() -> None:
    rng = np.random.default_rng(7)
    book = Book()
    for _ in range(60):
        failed = rng.binomial(10, 0.5)
        book = judge.with_counts(book, Tally(10, int(failed), 10, int(failed)), CONFIG)
    assert judge.verdict(book, CONFIG, Gate.ERRORS) == Held(Hold.BOTH_BAD)
    recovered = fed(book, [Tally(20, 0, 20, 0)] * 40)
    assert not judge.both_bad(recovered, CONFIG)
    assert judge.harm(recovered, CONFIG) is None


def test_a_dead_canary_is_condemned_though_stable_fails_now_and_then() -> None:
    book = fed(Book(), [Tally(90, 3, 10, 10)] * 3)
    assert isinstance(judge.verdict(book, CONFIG, Gate.ERRORS), Harm)


def test_nothing_seen_is_open_never_safe() -> None:
    for gate in Gate:
        assert isinstance(judge.verdict(Book(), CONFIG, gate), Open)
    assert all(line.n == 0 and line.estimate is None for line in judge.lines(Book(), CONFIG))


def test_errors_alone_do_not_open_a_gate_that_asks_for_quality() -> None:
    book = fed(Book(), [Tally(0, 0, 5000, 0)])
    found = judge.verdict(book, CONFIG, Gate.ERRORS_AND_QUALITY)
    assert isinstance(found, Open)
    assert found.name == "quality"


@given(st.floats(0, 1e7), st.floats(0, 1e7), st.floats(0, 1e7))
def test_a_difference_is_scaled_into_its_range_and_mirrored_when_the_versions_swap(
    a: float, b: float, v: float
) -> None:
    d = judge.scaled_difference(v, a, b, 0.5)
    assert -1.0 <= d <= 1.0
    assert judge.scaled_difference(v, b, a, 0.5) == -d


@given(st.lists(st.floats(-1, 1), max_size=60))
def test_wealth_stays_a_number_for_any_values_in_range(values: list[float]) -> None:
    book = paired(Book(), values)
    for line in judge.lines(book, CONFIG):
        assert np.isfinite(line.log_e)


@given(st.floats(0.0, 1.0))
def test_bets_on_counts_are_fair_under_the_hypothesis(share: float) -> None:
    """The expected factor of one event is one when it falls on the canary with exactly its share."""
    canary = betting.more_often(betting.NO_RATIO_BETS, 1, 0, share)
    stable = betting.more_often(betting.NO_RATIO_BETS, 0, 1, share)
    for c, s in zip(canary, stable, strict=True):
        assert share * np.exp(c) + (1 - share) * np.exp(s) == pytest.approx(1.0)


def test_the_estimate_is_told_in_log_units_with_an_interval_round_it() -> None:
    book = paired(Book(), [0.1, 0.2, 0.3])
    line = judge.lines(book, CONFIG)[2]
    assert line.estimate == pytest.approx(0.1)
    assert line.low is not None
    assert line.high is not None
    assert line.low < line.estimate < line.high
