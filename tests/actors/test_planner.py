"""Planned times are near what the judge really takes; what cannot end is refused beforehand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from actors.adaptive_learning.deployment import bookkeeping, judge
from actors.adaptive_learning.deployment.bookkeeping import Book, Executions
from actors.adaptive_learning.deployment.planner import PASS_S, detection_s, gate_s, plan
from core.errors import InvalidInput
from core.schemas.rollouts import RolloutConfig, TrafficFigures

CONFIG = RolloutConfig()
USUAL = TrafficFigures(100.0, 0.001, 100_000.0, 0.2)


def executions(rng: np.random.Generator, n: int, stable: dict[str, float], canary: dict[str, float]) -> Executions:
    drawn = [{name: int(rng.binomial(n, rate)) for name, rate in side.items()} for side in (stable, canary)]
    return Executions(n, n, *({name: count for name, count in side.items() if count} for side in drawn))


def simulated(figures: TrafficFigures, gate: str, every_s: float, canary_errors: float, runs: int = 40) -> float:
    """Median seconds until the judge finds the gate's claim shown, or with gate "": the canary worse."""
    rng, took = np.random.default_rng(7), []
    stable = {"errors": figures.error_rate, **figures.rates}
    for _ in range(runs):
        book, seconds = Book(), 0.0
        while judge.harm(book, CONFIG) is None if not gate else bool(judge.short(book, CONFIG, (gate,))):
            seconds += every_s
            n = int(rng.poisson(figures.requests_per_s * every_s))
            seen = executions(rng, n, stable, {**stable, "errors": canary_errors})
            book = bookkeeping.with_counts(book, {"": seen}, CONFIG)
        took.append(seconds)
    return float(np.median(took))


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.003, 0.0075])
@pytest.mark.parametrize("gate", ["errors", "errors_ratio"])
def test_the_time_planned_for_an_error_gate_is_within_a_factor_2_of_the_judge(gate: str, rate: float) -> None:
    figures = TrafficFigures(20.0, rate, 0.0, 0.2)
    planned = gate_s(gate, figures, CONFIG)
    assert planned is not None
    assert planned / 2 <= simulated(figures, gate, planned / 40, rate) <= planned * 2


@pytest.mark.parametrize(
    ("gate", "rate"), [("slow_p50_ratio", 0.3), ("slow_p90_ratio", 0.06), ("timeouts_ratio", 5e-4)]
)
def test_the_time_planned_for_other_counts_is_within_a_factor_2_of_the_judge(gate: str, rate: float) -> None:
    figures = TrafficFigures(20.0, 0.001, 0.0, 0.2, rates={gate.removesuffix("_ratio"): rate})
    planned = gate_s(gate, figures, CONFIG)
    assert planned is not None
    assert planned / 2 <= simulated(figures, gate, planned / 40, 0.001) <= planned * 2


@pytest.mark.parametrize(("times", "rps"), [(10, 20.0), (10, 100.0), (50, 20.0)])
def test_the_time_planned_for_finding_harm_is_within_a_factor_2_of_the_judge(times: int, rps: float) -> None:
    figures = TrafficFigures(rps, 0.001, 0.0, 0.2)
    planned = detection_s(times * 0.001, figures, CONFIG)
    assert planned is not None
    assert planned / 2 <= simulated(figures, "", PASS_S, times * 0.001) <= planned * 2


@pytest.mark.parametrize("sd", [0.05, 0.2, 0.5])
def test_the_time_planned_for_quality_is_within_a_factor_2_of_the_judge(sd: float) -> None:
    rng, took = np.random.default_rng(8), []
    for _ in range(40):
        book = Book()
        while judge.short(book, CONFIG, ("quality",)):
            book = bookkeeping.with_pair(book, float(np.clip(rng.normal(0, sd), -1, 1)), CONFIG)
        took.append(book.pairs)
    planned = gate_s("quality", TrafficFigures(1.0, 0.0, 86400.0, sd), CONFIG)  # a pair a second
    assert planned is not None
    assert planned / 2 <= float(np.median(took)) <= planned * 2


def test_evidence_counts_on_at_the_next_step() -> None:
    found = plan("m", USUAL, CONFIG)
    alone = gate_s("quality", USUAL, CONFIG)
    assert alone is not None
    assert found.steps[0].bound_by == "errors"
    assert found.steps[1].by_gate["quality"] == pytest.approx(max(0.0, alone - found.steps[0].hold_s))
    assert found.steps[2].needed_s == 0.0
    assert found.total_s == sum(step.hold_s for step in found.steps)


def test_a_plan_in_which_all_is_well_warns_of_nothing() -> None:
    found = plan("m", USUAL, CONFIG)
    assert (found.warnings, found.refusals) == ((), ())
    assert found.detect_s["errors x10"] == detection_s(0.01, USUAL, CONFIG)
    assert found.detect_s["dead"] == PASS_S


def test_a_hold_shorter_than_the_evidence_is_warned_of_and_the_step_lasts_longer() -> None:
    slow = replace(USUAL, requests_per_s=1.0)
    found = plan("m", slow, CONFIG)
    first = found.steps[0]
    assert first.needed_s is not None
    assert first.needed_s > first.hold_s
    assert "10 %: the hold of 120 s is shorter" in found.warnings[0]
    assert found.total_s is not None
    assert found.total_s > sum(CONFIG.hold_s)


def test_outcomes_that_come_late_delay_the_steps_that_ask_for_quality() -> None:
    found = plan("m", replace(USUAL, label_delay_s=86400.0), CONFIG)
    assert found.steps[0].needed_s == plan("m", USUAL, CONFIG).steps[0].needed_s
    assert found.steps[1].bound_by == "quality"
    assert (found.steps[1].needed_s or 0.0) > 86400.0 - 120.0
    assert found.detect_s["quality +0.1"] is not None
    assert found.detect_s["quality +0.1"] > 86400.0


@pytest.mark.parametrize(
    ("figures", "config", "why"),
    [
        (replace(USUAL, requests_per_s=0.0), CONFIG, "no traffic"),
        (replace(USUAL, error_rate=0.02), CONFIG, "errors can never be shown to be below 0.01"),
        (replace(USUAL, error_rate=0.0095), CONFIG, "errors is asked for, and can never be shown"),
        (replace(USUAL, pairs_per_day=0.0), CONFIG, "no outcomes come in"),
        (replace(USUAL, pairs_per_day=1.0), CONFIG, "the deadline comes after 1.2096e+06 s"),
        (
            replace(USUAL, rates={"slow_p50": 0.0}),
            replace(CONFIG, gates=(("slow_p50_ratio",),) * 3),
            "slow_p50_ratio is asked for",
        ),
    ],
)
def test_what_cannot_end_is_refused(figures: TrafficFigures, config: RolloutConfig, why: str) -> None:
    found = plan("m", figures, config)
    assert [refusal for refusal in found.refusals if why in refusal], found.refusals


def test_a_count_that_nobody_measured_is_neither_planned_nor_refused() -> None:
    found = plan("m", USUAL, replace(CONFIG, gates=(("errors",), ("slow_p99_ratio",), ("errors",))))
    assert [step.needed_s is None for step in found.steps] == [False, True, True]
    assert found.total_s is None
    assert found.refusals == ()
    assert "slow_p99_ratio: nobody has measured" in found.warnings[0]


def test_a_step_without_gates_needs_no_time_beyond_its_hold() -> None:
    found = plan("m", USUAL, replace(CONFIG, gates=((), ("errors",), ("errors",))))
    assert (found.steps[0].needed_s, found.steps[0].bound_by) == (0.0, "")


def test_a_refusal_for_a_sick_stable_is_given_once() -> None:
    assert len(plan("m", replace(USUAL, error_rate=0.02), CONFIG).refusals) == 1


def test_ten_times_no_errors_is_never_found_but_a_dead_canary_is() -> None:
    found = plan("m", replace(USUAL, error_rate=0.0), CONFIG)
    assert found.detect_s["errors x10"] is None
    assert found.detect_s["dead"] == PASS_S


def test_only_what_is_guarded_is_said_to_be_found() -> None:
    found = plan("m", USUAL, replace(CONFIG, guards=("quality",)))
    assert set(found.detect_s) == {"quality +0.1"}


def test_rare_requests_and_rare_outcomes_are_warned_of() -> None:
    found = plan("m", TrafficFigures(0.01, 0.0, 20.0, 0.2, 3600.0, 36), replace(CONFIG, deadline_s=1e9))
    text = " | ".join(found.warnings)
    for words in ("one request in 60 s", "one outcome in 1800 s", "rests on 36 executions"):
        assert words in text
    assert found.refusals == ()


@pytest.mark.parametrize("field", ["requests_per_s", "error_rate", "pairs_per_day", "pair_sd", "label_delay_s"])
def test_figures_that_are_no_rates_are_refused(field: str) -> None:
    for value in (-0.1, float("nan")):
        with pytest.raises(InvalidInput, match=field):
            plan("m", replace(USUAL, **{field: value}), CONFIG)
