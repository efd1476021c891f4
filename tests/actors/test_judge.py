"""The judge seldom condemns the innocent, finds the guilty, and is not fooled by failures that both versions share."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.adaptive_learning.deployment import betting, bookkeeping, judge
from actors.adaptive_learning.deployment.bookkeeping import Book, Executions, Tally
from actors.adaptive_learning.deployment.judge import Harm, Held, Hold, Open, Safe
from core.codec import to_json
from core.schemas.predictions import KNOWN_AGES_H
from core.schemas.rollouts import COUNTED, GATES, RolloutConfig

CONFIG = RolloutConfig()
ERRORS = ("errors",)
ERRORS_AND_QUALITY = ("errors_ratio", "quality")
#: Log evidence at which a question would condemn alone.
CONDEMNS = {name: log(1 / (CONFIG.alpha * part)) for name, part in judge.shares(CONFIG).items()}


def fed(book: Book, tallies: list[Tally], name: str = "errors", segment: str = "") -> Book:
    """The book after executions whose events are all of one kind."""
    for tally in tallies:
        stable, canary = {name: tally.stable_errors}, {name: tally.canary_errors}
        seen = Executions(tally.stable_n, tally.canary_n, stable, canary)
        book = bookkeeping.with_counts(book, {segment: seen}, CONFIG)
    return book


def bet(logs: betting.Logs, canary: int, stable: int, share: float) -> betting.Logs:
    """Some events at a share, bet on as failures are."""
    gains = tuple(map(log, betting.RATIOS))
    return betting.on_events(logs, gains, betting.event_costs(betting.RATIOS, share), canary, stable)


def paired(book: Book, values: list[float]) -> Book:
    for value in values:
        book = bookkeeping.with_pair(book, value, CONFIG)
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
        if not 0 < canary[t] < 100:
            continue
        logs = bet(logs, int(canary_errors[t]), int(stable_errors[t]), canary[t] / 100)
        if betting.mixture(logs) >= CONDEMNS["errors"]:
            return t
    return None


def test_few_equal_versions_are_condemned_by_errors_however_often_one_looks() -> None:
    rng = np.random.default_rng(1)
    condemned = sum(first_harm(rng, 0.01, 0.01, 400, 0.1) is not None for _ in range(150))
    assert condemned / 150 <= 0.05


def test_few_equal_versions_are_condemned_by_quality_whatever_the_size_of_the_differences() -> None:
    rng = np.random.default_rng(2)
    condemned = 0
    for run in range(400):
        spread = (0.05, 0.2, 0.6)[run % 3]
        logs = betting.NO_MEAN_BETS
        for value in np.clip(rng.normal(0, spread, 300), -1, 1):
            logs = betting.mean_above(logs, float(value))
            if betting.mixture(logs) >= CONDEMNS["quality"]:
                condemned += 1
                break
    assert condemned / 400 <= 0.05


def first_harm_in_background(rng: np.random.Generator, stable_rate: float, canary_rate: float) -> int:
    """The same where every request is scored by both versions, as in service."""
    book = Book()
    for t in range(300):
        errors = int(rng.binomial(100, stable_rate)), int(rng.binomial(100, canary_rate))
        book = fed(book, [Tally(100, errors[0], 100, errors[1])])
        if judge.harm(book, CONFIG) is not None:
            return t
    return 300


def test_a_tenfold_error_rate_at_a_tenth_of_the_traffic_is_found_within_a_minute_and_sooner_in_the_background() -> None:
    rng = np.random.default_rng(3)
    found = [first_harm(rng, 0.001, 0.01, 300, 0.1) for _ in range(101)]
    delays = sorted(300 if t is None else t for t in found)
    assert delays[50] <= 60
    assert delays[90] <= 150
    scored = sorted(first_harm_in_background(rng, 0.001, 0.01) for _ in range(101))
    assert scored[50] <= 20
    assert scored[90] <= 35
    dead = sorted(first_harm_in_background(rng, 0.001, 1.0) for _ in range(11))
    assert dead[-1] == 0


def test_worse_forecasts_are_found_within_some_dozen_posts_and_better_ones_cleared() -> None:
    rng = np.random.default_rng(4)
    worse = paired(Book(), list(np.clip(rng.normal(0.5, 0.4, 40), -1, 1)))
    assert judge.harm(worse, CONFIG) is not None
    better = fed(paired(Book(), list(np.clip(rng.normal(-0.05, 0.2, 60), -1, 1))), [Tally(900, 0, 900, 0)])
    assert judge.verdict(better, CONFIG, ERRORS_AND_QUALITY) == Safe()


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
    assert isinstance(judge.verdict(fed(Book(), [Tally(0, 0, 300, 0)]), CONFIG, ERRORS), Open)
    assert judge.verdict(fed(Book(), [Tally(0, 0, 420, 0)]), CONFIG, ERRORS) == Safe()


def test_an_outage_that_both_share_holds_and_condemns_nobody() -> None:
    rng = np.random.default_rng(7)
    book = Book()
    for _ in range(60):
        failed = rng.binomial(10, 0.5)
        book = fed(book, [Tally(10, int(failed), 10, int(failed))])
    assert judge.verdict(book, CONFIG, ERRORS) == Held(Hold.BOTH_BAD)
    recovered = fed(book, [Tally(20, 0, 20, 0)] * 40)
    assert not judge.both_bad(recovered, CONFIG)
    assert judge.harm(recovered, CONFIG) is None


def test_a_dead_canary_is_condemned_though_stable_fails_now_and_then() -> None:
    book = fed(Book(), [Tally(90, 3, 10, 10)] * 3)
    assert isinstance(judge.verdict(book, CONFIG, ERRORS), Harm)


def test_nothing_seen_is_open_never_safe() -> None:
    for gate in GATES:
        assert judge.verdict(Book(), CONFIG, (gate,)) == Open(gate, pytest.approx(0.0), log(1 / CONFIG.beta))
    assert all(line.n == 0 and line.estimate is None for line in judge.lines(Book(), CONFIG))


def test_errors_alone_do_not_open_a_gate_that_asks_for_quality() -> None:
    book = fed(Book(), [Tally(0, 0, 5000, 0)])
    found = judge.verdict(book, CONFIG, ERRORS_AND_QUALITY)
    assert isinstance(found, Open)
    assert found.name == "quality"


@given(st.floats(0, 1e7), st.floats(0, 1e7), st.floats(0, 1e7))
def test_a_difference_is_scaled_into_its_range_and_mirrored_when_the_versions_swap(
    a: float, b: float, v: float
) -> None:
    d = bookkeeping.scaled_difference(v, a, b, 0.5)
    assert -1.0 <= d <= 1.0
    assert bookkeeping.scaled_difference(v, b, a, 0.5) == -d


@given(st.lists(st.floats(-1, 1), max_size=60))
def test_wealth_stays_a_number_for_any_values_in_range(values: list[float]) -> None:
    book = paired(Book(), values)
    for line in judge.lines(book, CONFIG):
        assert np.isfinite(line.log_e)


@given(st.floats(0.001, 0.999))
def test_bets_on_counts_are_fair_under_the_hypothesis(share: float) -> None:
    """The expected factor of one event is one when it falls on the canary with exactly its share."""
    canary = bet(betting.NO_RATIO_BETS, 1, 0, share)
    stable = bet(betting.NO_RATIO_BETS, 0, 1, share)
    for c, s in zip(canary, stable, strict=True):
        assert share * np.exp(c) + (1 - share) * np.exp(s) == pytest.approx(1.0)


def test_the_estimate_is_told_in_log_units_with_an_interval_round_it() -> None:
    book = paired(Book(), [0.1, 0.2, 0.3])
    line = next(line for line in judge.lines(book, CONFIG) if line.name == "safety:quality")
    assert line.estimate == pytest.approx(0.1)
    assert line.low is not None
    assert line.high is not None
    assert line.low < line.estimate < line.high


# ---------------------------------------------------------------- what is counted


@pytest.mark.parametrize("name", COUNTED)
def test_each_count_condemns_by_its_own_name_and_only_where_it_is_guarded(name: str) -> None:
    book = fed(Book(), [Tally(90, 1, 90, 30)] * 6, name)
    assert judge.harm(book, CONFIG) == Harm(name, pytest.approx(judge.harm(book, CONFIG).log_e))  # type: ignore[union-attr]
    others = RolloutConfig(guards=tuple(guard for guard in CONFIG.guards if guard != name))
    assert judge.harm(book, others) is None
    assert book.cells[name].total == Tally(540, 6, 540, 180)


def test_slow_answers_twice_as_often_are_allowed_and_four_times_are_found() -> None:
    twice = fed(Book(), [Tally(1000, 10, 1000, 20)] * 60, "slow_p99")
    assert judge.harm(twice, CONFIG) is None
    assert judge.harm(fed(Book(), [Tally(1000, 10, 1000, 20)] * 60), CONFIG) is not None  # as failures they are not
    assert judge.harm(fed(Book(), [Tally(1000, 10, 1000, 40)] * 60, "slow_p99"), CONFIG) is not None


def test_harm_in_a_segment_counts_only_where_segments_were_asked_for_and_alpha_is_shared_with_them() -> None:
    book = fed(Book(), [Tally(90, 1, 90, 30)] * 6, segment="known_0h")
    by_age = RolloutConfig(by_known_age=True)
    assert judge.harm(book, CONFIG) is None
    found = judge.harm(book, by_age)
    assert found is not None
    assert found.name == "errors@known_0h"
    assert len(judge.shares(by_age)) == len(COUNTED) * (1 + len(KNOWN_AGES_H)) + 1
    assert sum(judge.shares(by_age).values()) == pytest.approx(1.0)
    assert [line.segment for line in judge.lines(book, by_age) if line.name == "harm:errors"] == ["known_0h"]


def test_few_equal_versions_are_condemned_though_every_count_is_watched_at_once() -> None:
    """All guards at the rates of a healthy service, 120 looks each; the chance of any is bounded by alpha."""
    rng, condemned = np.random.default_rng(8), 0
    for _ in range(120):
        book = Book()
        for _ in range(120):
            n = int(rng.binomial(100, 0.3))
            stable = {name: int(rng.binomial(100 - n, 0.02)) for name in COUNTED}
            canary = {name: int(rng.binomial(n, 0.02)) for name in COUNTED}
            book = bookkeeping.with_counts(book, {"": Executions(100 - n, n, stable, canary)}, CONFIG)
            if judge.harm(book, CONFIG) is not None:
                condemned += 1
                break
    assert condemned / 120 <= CONFIG.alpha


def test_the_evidence_goes_on_through_other_shares_and_needs_both_versions_at_work() -> None:
    ten = fed(Book(), [Tally(90, 1, 10, 3)] * 3)
    fifty = fed(ten, [Tally(50, 1, 50, 10)] * 3)
    assert betting.mixture(fifty.cells["errors"].harm) > betting.mixture(ten.cells["errors"].harm)
    alone = fed(Book(), [Tally(0, 0, 50, 50)])
    assert alone.cells["errors"].harm == betting.NO_RATIO_BETS
    assert alone.cells["errors"].total == Tally(0, 0, 50, 50)


def test_a_poison_request_that_fails_on_both_speaks_against_nobody() -> None:
    book = fed(Book(), [Tally(1, 1, 1, 1)] * 40)
    assert betting.mixture(book.cells["errors"].harm) < 0


def test_a_dead_canary_is_no_shared_trouble_though_stable_fails_too() -> None:
    for stable_errors in (2, 10, 30):
        book = fed(Book(), [Tally(100, stable_errors, 100, 100)] * 3)
        assert not judge.both_bad(book, CONFIG)
        assert isinstance(judge.verdict(book, CONFIG, ERRORS), Harm)


def test_nothing_executed_leaves_the_book_as_it_was() -> None:
    book = fed(Book(), [Tally(10, 1, 10, 2)])
    assert bookkeeping.with_counts(book, {}, CONFIG) is book


def test_a_ratio_is_shown_by_comparison_or_by_failures_being_rare() -> None:
    compared = fed(Book(), [Tally(1000, 50, 1000, 50)] * 2)
    assert judge.short(compared, CONFIG, ("errors_ratio",)) == ()
    assert [gate.name for gate in judge.short(compared, CONFIG, ERRORS)] == ["errors"]
    clean = fed(Book(), [Tally(0, 0, 1200, 0)])
    assert judge.short(clean, CONFIG, ("timeouts_ratio", "errors_ratio", "errors")) == ()
    assert [gate.name for gate in judge.short(clean, CONFIG, ("slow_p99_ratio",))] == ["slow_p99_ratio"]


def test_twice_as_many_failures_are_seldom_cleared() -> None:
    rng, cleared = np.random.default_rng(9), 0
    for _ in range(200):
        book = Book()
        for _ in range(60):
            book = fed(book, [Tally(100, int(rng.binomial(100, 0.02)), 100, int(rng.binomial(100, 0.04)))])
            if not judge.short(book, CONFIG, ("errors_ratio",)):
                cleared += 1
                break
    assert cleared / 200 <= CONFIG.beta


def test_a_step_without_gates_still_asks_that_nothing_is_harmful() -> None:
    assert judge.verdict(Book(), CONFIG, ()) == Safe()
    assert isinstance(judge.verdict(fed(Book(), [Tally(90, 0, 90, 60)]), CONFIG, ()), Harm)


# ---------------------------------------------------------------- what only holds


def test_keys_in_the_ordered_shares_are_seldom_called_skewed_and_a_lost_half_is_found() -> None:
    rng, called = np.random.default_rng(10), 0
    for _ in range(400):
        book = Book()
        for canary in rng.binomial(10, 0.1, 60):
            book = bookkeeping.with_keys(book, 10 - int(canary), int(canary), 0.1)
            if judge.skewed(book):
                called += 1
                break
    assert called / 400 <= judge.SKEW_ALPHA
    assert judge.skewed(bookkeeping.with_keys(Book(), 385, 15, 0.1))
    assert bookkeeping.without_keys(bookkeeping.with_keys(Book(), 385, 15, 0.1)) == Book()


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_keys_say_nothing_where_all_go_to_one_side(weight: float) -> None:
    assert bookkeeping.with_keys(Book(), 50, 50, weight) == Book()


def test_outcomes_that_do_not_come_are_noticed_after_some_dozen_and_half_of_them_is_enough() -> None:
    assert not judge.uncovered(bookkeeping.with_matured(Book(), 4, 0, CONFIG), CONFIG)
    assert judge.uncovered(bookkeeping.with_matured(Book(), 40, 5, CONFIG), CONFIG)
    assert not judge.uncovered(bookkeeping.with_matured(Book(), 4000, 2000, CONFIG), CONFIG)
    told = {line.name: line for line in judge.lines(bookkeeping.with_matured(Book(), 40, 5, CONFIG), CONFIG)}
    assert told["hold:label_coverage"].estimate == pytest.approx(5 / 40)


# ---------------------------------------------------------------- what is no number


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1.0001, -1.0001])
def test_a_difference_out_of_range_or_no_number_is_no_pair(value: float) -> None:
    book = paired(Book(), [0.1])
    assert bookkeeping.with_pair(book, value, CONFIG) is book


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_forecast_or_outcome_that_is_no_number_gives_no_difference(place: int) -> None:
    values = [100.0, 110.0, 120.0]
    values[place] = float("nan")
    assert np.isnan(bookkeeping.scaled_difference(*values, 0.5))


def test_the_state_of_a_count_stays_within_a_kilobyte() -> None:
    book = fed(Book(), [Tally(123456, 1234, 234567, 2345)] * 50)
    assert max(len(to_json(cell)) for cell in book.cells.values()) <= 1024


@given(st.floats(0.05, 0.95), st.integers(0, 500))
def test_all_wealth_is_fair_under_the_hypothesis_with_what_leaves_the_reserve(share: float, before: int) -> None:
    logs = tuple(-0.3 * k for k in range(len(betting.RATIOS)))
    stakes, gains = betting.staked(logs, before, before + 1), tuple(map(log, betting.RATIOS))
    costs = betting.event_costs(betting.RATIOS, share)
    on_canary, on_stable = (betting.on_events(stakes, gains, costs, *event) for event in ((1, 0), (0, 1)))
    expected = share * np.exp(betting.wealth(on_canary, before + 1)) + (1 - share) * np.exp(
        betting.wealth(on_stable, before + 1)
    )
    assert expected == pytest.approx(np.exp(betting.wealth(logs, before)))


def condemned_after(healthy: int, seed: int) -> int:
    """Ticks of a tenfold error rate until harm, after ticks without it; both versions score all of 100 requests."""
    rng, book = np.random.default_rng(seed), Book()
    for tick in range(healthy + 600):
        worse = 0.01 if tick >= healthy else 0.001
        book = fed(book, [Tally(100, int(rng.binomial(100, 0.001)), 100, int(rng.binomial(100, worse)))])
        if judge.harm(book, CONFIG) is not None:
            return tick - healthy + 1
    return 600


def test_a_fault_that_begins_late_is_found_about_as_soon_as_one_that_was_there_from_the_start() -> None:
    at_once = sorted(condemned_after(0, seed) for seed in range(15))[7]
    late = sorted(condemned_after(600, seed) for seed in range(15))[7]
    assert at_once <= 20
    assert late <= 3 * at_once


def test_executions_of_one_version_wait_for_the_others() -> None:
    alone = fed(Book(), [Tally(0, 0, 1, 1), Tally(0, 0, 1, 1)])
    assert judge.lines(alone, CONFIG)[0].log_e == pytest.approx(0.0)
    assert alone.alone[""].canary_n == 2
    together = fed(alone, [Tally(6, 0, 0, 0)])
    assert together.alone == {}
    assert together.cells["errors"].total == Tally(6, 0, 2, 2)
    assert together.cells["errors"].harm == fed(Book(), [Tally(6, 0, 2, 2)]).cells["errors"].harm


def test_at_a_request_in_ten_seconds_a_canary_that_fails_often_is_found() -> None:
    rng, book, ticks = np.random.default_rng(11), Book(), 0
    while judge.harm(book, CONFIG) is None and ticks < 4000:
        ticks += 1
        canary = bool(rng.random() < 0.5)
        failed = int(rng.random() < (0.3 if canary else 0.001))
        book = fed(book, [Tally(0, 0, 1, failed) if canary else Tally(1, failed, 0, 0)])
    assert ticks < 200


def test_weak_signs_condemn_together_where_none_would_alone() -> None:
    book = Book()
    while judge.harm(book, CONFIG) is None:
        for name in ("timeouts", "invalid", "errors"):
            book = fed(book, [Tally(100, 0, 100, 1)], name)
    harms = [line for line in judge.lines(book, CONFIG) if line.name.startswith("harm:")]
    condemning = [line.name for line in harms if line.log_e >= line.needed]
    assert condemning == ["harm:together"]
