"""The league scores as it says, its traces are what they claim, and the rules do what their documents describe."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import _footprint, _healthy, _rivals, _traces, judge, judge_league
from bench._traces import EDGES_MS, MEDIAN_MS, SIGMA, Arm, Trace, World
from bench._worlds import WORLDS
from bench.judge_league import OURS, Outcome
from core.schemas.rollouts import COUNTED, RolloutConfig

BY_NAME = {world.name: world for world in WORLDS}


def short(name: str, seconds: int = 300) -> World:
    return replace(BY_NAME[name], seconds=seconds)


def recorded(canary_errors: list[int], n: int = 10, every: int = 60, mean_ms: float = MEDIAN_MS) -> Trace:
    """A trace whose canary has the given errors, one number a window; stable has none."""
    ticks = every * len(canary_errors)
    errors = np.zeros(ticks, dtype=np.int64)
    errors[::every] = canary_errors
    bucket = int(np.searchsorted(EDGES_MS, mean_ms))
    latency = np.zeros((-(-ticks // 60), len(EDGES_MS) + 1), dtype=np.int64)
    latency[:, bucket] = n * 60

    def arm(events: np.ndarray) -> Arm:
        nothing = {name: np.zeros(ticks, dtype=np.int64) for name in COUNTED}
        return Arm(np.full(ticks, n), nothing | {"errors": events}, latency)

    return Trace("made", "made", 0, 0, arm(np.zeros(ticks, dtype=np.int64)), arm(errors))


def test_every_faulty_scenario_has_a_mate_that_is_healthy_under_the_same_traffic() -> None:
    for world in WORLDS:
        mate = BY_NAME[world.mate]
        assert mate.onset_s is None
        assert mate.worse is None
        assert mate.slowdown == 1.0
        t = np.arange(0.0, 3600.0, 60.0)
        assert np.array_equal(world.rps(t), mate.rps(t))
        assert np.array_equal(world.share(t), mate.share(t))


@pytest.mark.parametrize("name", ["0.1 to 5 %", "labels: hard later"])
def test_a_trace_written_and_read_is_played_alike(tmp_path: Path, name: str) -> None:
    trace = _traces.simulated(short(name), 3)
    _traces.write(trace, tmp_path)
    assert judge_league.recorded(tmp_path, workers=1) == judge_league.played(trace)
    again = _traces.simulated(short(name), 3)
    assert _traces.to_plain(again) == _traces.to_plain(trace)


def test_counts_of_a_trace_agree_with_each_other() -> None:
    trace = _traces.simulated(short("0.1 to 5 %"), 1)
    for arm in (trace.stable, trace.canary):
        assert (arm.events["timeouts"] + arm.events["invalid"] <= arm.events["errors"]).all()
        assert (arm.events["slow_p99"] <= arm.events["slow_p90"]).all()
        assert (arm.events["slow_p90"] <= arm.events["slow_p50"]).all()
        assert arm.latency.sum() == arm.n.sum()


def test_quantile_and_mean_of_a_histogram_are_near_the_distributions_own() -> None:
    trace = _traces.simulated(short("A/A 1000 rps", 60), 1)
    assert _rivals.quantile_ms(trace.stable.latency, 0.99)[0] == pytest.approx(
        MEDIAN_MS * math.exp(SIGMA * 2.3263), rel=0.03
    )
    assert _rivals.mean_ms(trace.stable.latency)[0] == pytest.approx(MEDIAN_MS * math.exp(SIGMA**2 / 2), rel=0.03)
    assert np.isnan(_rivals.quantile_ms(np.zeros((1, len(EDGES_MS) + 1), dtype=np.int64), 0.5)[0])


def test_a_dead_canary_is_condemned_at_once_and_a_healthy_one_left_alone() -> None:
    assert judge_league.ours(_traces.simulated(short("dead canary"), 0), RolloutConfig()) == 1
    assert judge_league.ours(_traces.simulated(short("A/A 100 rps"), 0), RolloutConfig()) is None


def test_worse_forecasts_are_found_by_pairs_alone() -> None:
    found = judge_league.ours(_traces.simulated(short("worse, hard sooner", 1200), 0), RolloutConfig())
    assert found is not None


def test_flagger_counts_failed_checks_wherever_they_lie_and_a_silent_canary_fails_them() -> None:
    assert _rivals.flagger(recorded([7, 0, 7, 7, 7, 6, 7])) == 7 * 60  # 6 of 600 is 99 % still
    assert _rivals.flagger(recorded([0] * 6, n=0)) == 5 * 60
    assert _rivals.flagger(recorded([0] * 6, mean_ms=700.0)) == 5 * 60


def test_an_alarm_wants_both_periods_and_the_quicker_one_three_of_five_minutes() -> None:
    assert _rivals.alarm(recorded([100, 0, 100, 100], every=600)) == 2400
    assert _rivals.alarm_3_of_5(recorded([7, 7, 0, 0, 0, 7, 0, 7, 7])) == 9 * 60
    assert _rivals.alarm_3_of_5(recorded([0] * 5, mean_ms=150.0)) == 3 * 60


def test_argo_wants_three_measurements_below_its_condition_and_nothing_of_an_idle_canary() -> None:
    assert _rivals.argo(recorded([200, 0, 200, 200], every=300)) == 1200
    assert _rivals.argo(recorded([0] * 4, n=0, every=300)) is None


def test_kayenta_calls_a_shift_high_only_beyond_its_interval() -> None:
    rng = np.random.default_rng(5)
    stable = rng.normal(10, 1, 60)
    assert _rivals.high(rng.normal(14, 1, 60), stable)
    assert not _rivals.high(rng.normal(10, 1, 60), stable)
    assert not _rivals.high(rng.normal(6, 1, 60), stable)
    assert not _rivals.high(np.full(60, np.nan), stable)


def test_a_rule_that_condemns_the_healthy_is_no_detector_however_quick() -> None:
    def outcomes(rule: str, false: int, at_s: int | None) -> list[Outcome]:
        healthy = [Outcome("fine", "fine", None, rule, 9 if i < false else None) for i in range(20)]
        return healthy + [Outcome("bad", "fine", 100, rule, at_s) for _ in range(20)]

    played = outcomes(OURS, 1, 150) + outcomes("hasty", 2, 101) + outcomes("slow", 0, 200) + outcomes("early", 0, 90)
    by = judge_league.scores(played)
    (pair,) = judge_league.compared(played, by)
    assert (pair.best, pair.barred) == (OURS, ("hasty",))
    assert by["bad"]["early"].rate == 0.0  # rolled back before the canary became worse
    assert by["bad"][OURS].median_s == 50.0
    tied = outcomes(OURS, 0, 150) + outcomes("twin", 0, 150)
    assert judge_league.compared(tied, judge_league.scores(tied))[0].best == ""


def test_the_league_says_by_its_exit_code_whether_ours_is_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("A/A 100 rps", "dead canary"):
        for run in range(2):
            _traces.write(_traces.simulated(short(name, 600), run), tmp_path)
    code = judge_league.main(["--data", str(tmp_path), "--workers", "1", "--json", str(tmp_path / "found.json")])
    assert code == 0
    assert "ours strictly best in 1 of 1 pairs" in capsys.readouterr().out


def test_a_healthy_rollout_is_simulated_alike_twice_and_judged_at_every_step() -> None:
    config = replace(_healthy.SEGMENTED, hold_s=(10.0, 10.0, 10.0))
    stable, canary = _healthy.streams(np.random.default_rng(1), config)
    assert stable.n.shape == (4, 30)
    assert canary.n[:, 20:].sum() > stable.n[:, 20:].sum()
    assert canary.n[:, :10].sum() < stable.n[:, :10].sum()
    assert _healthy.healthy(1, config) == _healthy.healthy(1, config)


def test_an_arm_that_fails_more_is_condemned_by_the_same_simulation() -> None:
    rng = np.random.default_rng(2)
    stable, canary = _healthy.streams(rng, _healthy.SEGMENTED)
    worse = replace(canary, events=canary.events | {"errors": canary.n // 2})
    assert _healthy.judged(stable, worse, _healthy.pairs(rng, stable.n.shape[1])) == (True, True)


def test_the_split_is_within_its_band_and_nobody_goes_back() -> None:
    bars, figures = _footprint.split(keys=5000)
    assert {bar.name: bar.kept for bar in bars if "decision" not in bar.name} == {
        bar.name: True for bar in bars if "decision" not in bar.name
    }
    assert figures["flipped"] == figures["returned"] == 0


def test_state_is_small_and_survives_a_restart() -> None:
    bars, figures = _footprint.state(segments=3, ticks=5)
    assert figures["restart_identical"]
    assert figures["cell_bytes"] <= 1024
    assert all(bar.kept for bar in bars)


def test_wilsons_interval_holds_the_share_and_narrows() -> None:
    low, high = judge.wilson(5, 100)
    assert low < 0.05 < high
    narrow = judge.wilson(50, 1000)
    assert narrow[1] - narrow[0] < high - low
