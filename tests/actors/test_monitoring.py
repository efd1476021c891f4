"""Every row of the logs is counted once, on the version it belongs to; worse is worse in the metric's direction."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select

from actors.adaptive_learning.monitoring.actor import Monitoring
from actors.adaptive_learning.monitoring.degradation import MINIMUM, Sample, compare
from core.clock import DAY, HOUR, ManualClock
from core.errors import InvalidInput
from core.schemas.predictions import Outcome, Quantiles
from core.sketch import LatencySketch
from core.store import schema
from core.store.database import Database
from core.store.ids import new_id
from core.store.outcomes import OutcomeStore
from core.store.predictions import PredictionLog, PredictionRow, ShadowRow

T0 = 1_735_689_600


def row(**changes: object) -> PredictionRow:
    base = PredictionRow(
        id=new_id(),
        channel_id=1,
        post_id=1,
        model="engagement",
        version=1,
        arm="stable",
        epoch=1,
        known_age_h=0,
        published_at=T0,
        as_of=T0,
        answer={"views_24h": Quantiles(50, 100, 200)},
        latency_ms=4.0,
        at=T0,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def answered(database: Database, *rows: PredictionRow) -> tuple[PredictionRow, ...]:
    return PredictionLog(database).append(rows)


def measured(database: Database, prediction: PredictionRow, value: float, known_at: int = T0 + DAY) -> None:
    targets = tuple(prediction.answer)
    outcomes = [Outcome(prediction.id, target, value, known_at) for target in targets]
    with database.write() as connection:
        OutcomeStore(database).add(connection, outcomes, known_at)


def test_requests_failures_and_latency_come_from_the_log(database: Database, clock: ManualClock) -> None:
    answered(database, *(row(latency_ms=float(ms)) for ms in range(1, 101)), row(arm="failed", answer={}))
    summary = Monitoring(database, clock).summary("engagement", 1)
    assert (summary.requests, summary.errors, summary.matured) == (101, 1, 0)
    assert summary.latency_ms_p50 == pytest.approx(50, rel=0.03)
    assert summary.latency_ms_p95 == pytest.approx(95, rel=0.03)
    assert summary.quality == ()


def test_a_version_that_never_answered_has_no_figures(database: Database, clock: ManualClock) -> None:
    summary = Monitoring(database, clock).summary("engagement", 9)
    assert (summary.requests, summary.latency_ms_p50, summary.quality) == (0, None, ())


@pytest.mark.parametrize("trace", ["answer", "shadow", "split"])
def test_a_rescue_is_a_failure_of_the_version_on_trial(database: Database, clock: ManualClock, trace: str) -> None:
    (first,) = answered(database, row(arm="canary", version=2, epoch=7) if trace == "answer" else row(epoch=7))
    if trace == "shadow":
        PredictionLog(database).add_shadows([ShadowRow(first.id, "engagement", 2, 7, None, 1.0, "timeout")])
    if trace == "split":
        split = {"model": "engagement", "epoch": 7, "stable": 1, "canary": 2, "weight": 0.1, "shadow": True}
        with database.write() as connection:
            leases = {"lease_s": 1, "abandon_s": 1, "renewals": 1, "updated_at": T0}
            connection.execute(schema.traffic_split.insert().values(**split, **leases))
    both = row(arm="rescued", epoch=7, answer={})
    answered(database, row(arm="rescued", epoch=7), both, row(arm="failed", epoch=7, answer={}))
    monitoring = Monitoring(database, clock)
    stable, canary = monitoring.summary("engagement", 1), monitoring.summary("engagement", 2)
    assert canary.errors == 2
    assert canary.requests == 2 + (trace == "answer")
    assert (stable.requests, stable.errors) == (2 + (trace != "answer"), 1)


def test_a_rescue_of_a_forgotten_trial_counts_for_nobody_else(database: Database, clock: ManualClock) -> None:
    answered(database, row(arm="rescued", epoch=3))
    summary = Monitoring(database, clock).summary("engagement", 1)
    assert (summary.requests, summary.errors, summary.latency_ms_p50) == (1, 0, None)


def test_quality_is_measured_by_target_and_age(database: Database, clock: ManualClock) -> None:
    low, high, wide, early = answered(database, row(), row(), row(), row(known_age_h=4))
    for prediction, value in ((low, 80), (high, 125), (wide, 1000), (early, 100)):
        measured(database, prediction, value)
    summary = Monitoring(database, clock).summary("engagement", 1)
    at_once, later = summary.quality
    assert (at_once.target, at_once.known_age_h, at_once.n) == ("views_24h", 0, 3)
    assert at_once.mae_log == pytest.approx((2 * math.log(1.25) + math.log(10)) / 3)
    assert at_once.bias_log == pytest.approx(-math.log(10) / 3)
    assert at_once.coverage == pytest.approx(2 / 3)
    assert (later.known_age_h, later.mae_log, later.coverage) == (4, 0, 1)
    assert summary.matured == 4


def test_an_answer_given_when_the_value_was_known_says_nothing_of_quality(
    database: Database, clock: ManualClock
) -> None:
    (late,) = answered(database, row(as_of=T0 + 2 * DAY))
    measured(database, late, 100)
    summary = Monitoring(database, clock).summary("engagement", 1)
    assert (summary.matured, summary.quality) == (1, ())


def test_a_prediction_matures_once_however_many_targets_it_has(database: Database, clock: ManualClock) -> None:
    both = {"views_24h": Quantiles(50, 100, 200), "views_72h": Quantiles(50, 100, 200)}
    (prediction,) = answered(database, row(answer=both))
    measured(database, prediction, 100)
    summary = Monitoring(database, clock).summary("engagement", 1)
    assert summary.matured == 1
    assert len(summary.quality) == 2


def test_figures_go_on_where_they_were_after_a_restart(database: Database, clock: ManualClock) -> None:
    (one,) = answered(database, row())
    measured(database, one, 150)
    Monitoring(database, clock).summary("engagement", 1)
    (two,) = answered(database, row(latency_ms=6))
    measured(database, two, 50)
    fresh = Monitoring(database, clock)
    assert fresh.catch_up() == 2
    summary = fresh.summary("engagement", 1)
    assert (summary.requests, summary.matured, summary.quality[0].n) == (2, 2, 2)
    assert fresh.catch_up() == 0


def test_a_count_that_dies_before_its_commit_is_made_again(database: Database, clock: ManualClock) -> None:
    answered(database, row(), row())
    dying = Monitoring(database, clock)

    dying._points = _Dying(dying._points)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        dying.summary("engagement", 1)
    assert Monitoring(database, clock).summary("engagement", 1).requests == 2


def test_two_monitors_at_once_count_each_row_once(database: Database, clock: ManualClock) -> None:
    answered(database, *(row() for _ in range(40)))
    monitors = [Monitoring(database, clock) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda m: m.catch_up(), monitors))
    assert monitors[0].summary("engagement", 1).requests == 40


def fill(database: Database, day: int, errors: np.ndarray) -> None:
    rows = answered(database, *(row(as_of=T0, at=T0) for _ in errors))
    for prediction, error in zip(rows, errors, strict=True):
        measured(database, prediction, 100 * math.exp(error), T0 + day * DAY + HOUR)


def test_rising_errors_are_a_degradation_and_falling_ones_are_not(sqlite_database: Database) -> None:
    rng = np.random.default_rng(3)
    usual, bad = rng.normal(0, 0.2, 120), rng.normal(0, 0.6, 120)
    fill(sqlite_database, 1, usual)
    fill(sqlite_database, 12, bad)
    clock = ManualClock(time=T0 + 13 * DAY)
    error, coverage, *_ = Monitoring(sqlite_database, clock).degradation("engagement", 1)
    assert (error.metric, error.segment, error.verdict) == ("mae_log", "views_24h@0", "worse")
    assert error.change is not None
    assert error.change > 0.2
    assert error.severity == "high"
    assert (coverage.metric, coverage.verdict) == ("coverage", "worse")
    fill(sqlite_database, 30, usual)
    clock.time = T0 + 31 * DAY
    found = {d.metric: d for d in Monitoring(sqlite_database, clock).degradation("engagement", 1)}
    # 10 % more hits are within the margin
    assert (found["mae_log"].verdict, found["coverage"].verdict) == ("better", "steady")
    assert found["mae_log"].severity == "none"


def test_a_few_recent_outcomes_say_nothing(sqlite_database: Database) -> None:
    fill(sqlite_database, 1, np.zeros(60))
    fill(sqlite_database, 12, np.full(MINIMUM - 1, 2.0))
    clock = ManualClock(time=T0 + 13 * DAY)
    verdicts = {d.verdict for d in Monitoring(sqlite_database, clock).degradation("engagement", 1)}
    assert verdicts == {"insufficient"}
    with pytest.raises(InvalidInput, match="recent_days"):
        Monitoring(sqlite_database, clock).degradation("engagement", 1, 0)


def test_the_same_change_is_judged_by_the_direction_of_its_metric() -> None:
    before, now = Sample(500, 0.5, 0.01), Sample(500, 0.7, 0.01)
    assert compare("mae_log", "s", before, now, 0.1).verdict == "worse"
    assert compare("mae_log", "s", now, before, 0.1).verdict == "better"
    assert compare("coverage", "s", before, now, 0.1).verdict == "better"
    assert compare("coverage", "s", now, before, 0.1).verdict == "worse"


def test_a_rising_error_rate_is_a_degradation_and_a_falling_one_is_not(database: Database, clock: ManualClock) -> None:
    def asked(day: int, failures: int) -> None:
        at = T0 + day * DAY
        answered(database, *(row(at=at, arm="failed", answer={}) for _ in range(failures)))
        answered(database, *(row(at=at) for _ in range(200 - failures)))

    monitoring = Monitoring(database, clock)
    asked(0, 2)
    asked(12, 60)
    clock.time = T0 + 12 * DAY
    assert _of(monitoring, "error_rate") == ("worse", "high")
    asked(30, 0)
    clock.time = T0 + 30 * DAY
    assert _of(monitoring, "error_rate") == ("better", "none")


def _of(monitoring: Monitoring, metric: str) -> tuple[str, str]:
    (found,) = [d for d in monitoring.degradation("engagement", 1) if d.metric == metric]
    return found.verdict, found.severity


def test_a_change_of_level_is_dated_and_measured(database: Database, clock: ManualClock) -> None:
    rng = np.random.default_rng(8)
    for day in range(80):
        fill(database, day, rng.normal(0, 0.2 if day < 50 else 0.5, 6))
    monitoring = Monitoring(database, clock)
    error = next(s for s in monitoring.levels("engagement", 1) if s.metric == "mae_log")
    assert (error.segment, error.n, error.bucket_s) == ("views_24h@0", 80, DAY)
    before, now = error.levels
    assert before.since == T0
    assert now.since == pytest.approx(T0 + 50 * DAY, abs=3 * DAY)
    assert (before.mean, now.mean) == (pytest.approx(0.16, abs=0.02), pytest.approx(0.4, abs=0.06))
    assert before.buckets + now.buckets == 80
    assert Monitoring(database, clock).levels("engagement", 1) == monitoring.levels("engagement", 1)


def test_a_steady_series_has_one_level_and_a_short_one_none(sqlite_database: Database, clock: ManualClock) -> None:
    rng = np.random.default_rng(9)
    for day in range(70):
        fill(sqlite_database, day, rng.normal(0, 0.2, 3))
    answered(sqlite_database, *(row(at=T0 + hour * HOUR) for hour in range(20)))
    found = {s.metric: s for s in Monitoring(sqlite_database, clock).levels("engagement", 1)}
    assert [len(found[metric].levels) for metric in ("mae_log", "coverage")] == [1, 1]
    rate = found["error_rate"]
    assert (rate.levels, rate.n, rate.needed, rate.bucket_s) == ((), 20, 60, HOUR)
    assert Monitoring(sqlite_database, clock).levels("nothing") == ()


def test_levels_of_a_model_go_over_its_versions(sqlite_database: Database, clock: ManualClock) -> None:
    for version in (1, 2):
        for hour in range(40):
            at = T0 + ((version - 1) * 40 + hour) * HOUR
            rows = [row(at=at, version=version) for _ in range(5)]
            answered(sqlite_database, *rows, *([row(at=at, version=2, arm="failed", answer={})] * (version == 2)))
    monitoring = Monitoring(sqlite_database, clock)
    rate = next(s for s in monitoring.levels("engagement") if s.metric == "error_rate")
    assert [(level.since, round(level.mean, 2)) for level in rate.levels] == [(T0, 0), (T0 + 40 * HOUR, 0.17)]
    assert {s.levels for s in monitoring.levels("engagement", 2) if s.metric == "error_rate"} == {()}


def test_severity_grows_with_what_is_certain_of_the_loss() -> None:
    before = Sample(10_000, 0.5, 0.01)
    severities = [
        compare("mae_log", "s", before, replace(before, mean=0.5 + loss), 0.1).severity
        for loss in (0.05, 0.06, 0.15, 0.3)
    ]
    assert severities == ["none", "low", "medium", "high"]
    assert compare("error_rate", "", Sample(10_000, 0.0, 0.0), Sample(10_000, 0.004, 0.004), 0.1, 0.005).verdict == (
        "steady"  # a rise from nothing is infinite as a share, and still too small to matter
    )


def test_a_tiny_change_of_very_many_observations_is_steady() -> None:
    before, now = Sample(10**6, 0.200, 0.01), Sample(10**6, 0.203, 0.01)
    assert compare("mae_log", "s", before, now, 0.1).verdict == "steady"


def test_equal_data_is_seldom_called_worse() -> None:
    rng = np.random.default_rng(0)
    worse = 0
    for _ in range(400):
        a, b = np.abs(rng.normal(0, 0.3, (2, 200)))
        samples = [Sample.of_sums(200, float(x.sum()), float((x**2).sum())) for x in (a, b)]
        worse += compare("mae_log", "s", *samples, margin=0.0).verdict == "worse"
    assert worse <= 8  # half of the 1 % interval's misses, 2 expected


def test_health_counts_and_says_broken_without_a_database(
    sqlite_database: Database, clock: ManualClock, tmp_path: object
) -> None:
    answered(sqlite_database, row())
    health = Monitoring(sqlite_database, clock).health()
    assert (health.status, health.did, health.details["attempts"]) == ("ok", "counted 1 new rows", 1)
    assert Monitoring(Database(f"sqlite:///{tmp_path}/nothing.db"), clock).health().status == "broken"


def test_segments_are_counted_apart_and_each_covers_everything(database: Database, clock: ManualClock) -> None:
    small, large = answered(
        database, row(usual=50.0, latency_ms=1.0), row(usual=5e5, latency_ms=9.0, known_age_h=4, arm="canary")
    )
    answered(database, row(usual=50.0, arm="failed", answer={}))
    measured(database, small, 150)
    measured(database, large, 1000)
    found = {s.segment: s for s in Monitoring(database, clock).summary("engagement", 1).segments}
    assert set(found) == {"arm=stable", "arm=canary", "band=<100", "band=100k+", "age=0", "age=4"}
    low, high = found["band=<100"], found["band=100k+"]
    assert (low.requests, low.errors, low.outcomes, low.coverage) == (2, 1, 1, 1)
    assert (high.requests, high.errors, high.coverage) == (1, 0, 0)
    assert high.mae_log == pytest.approx(math.log(10))
    assert low.latency_ms_p50 == pytest.approx(1, rel=0.01)
    assert found["age=4"].latency_ms_p50 == pytest.approx(9, rel=0.01)
    assert (found["arm=stable"].requests, found["arm=canary"].requests) == (2, 1)


def test_a_rescue_counts_in_the_canarys_arm(database: Database, clock: ManualClock) -> None:
    answered(database, row(arm="canary", version=2, epoch=7), row(arm="rescued", epoch=7))
    monitoring = Monitoring(database, clock)
    canary = {s.segment: s for s in monitoring.summary("engagement", 2).segments}["arm=canary"]
    stable = {s.segment: s for s in monitoring.summary("engagement", 1).segments}["arm=rescued"]
    assert (canary.requests, canary.errors, stable.requests, stable.errors) == (2, 1, 1, 0)


def test_requests_are_told_hour_by_hour_from_the_first_one_on(database: Database, clock: ManualClock) -> None:
    answered(database, *(row(at=T0 + 60) for _ in range(4)), row(at=T0 + 2 * HOUR, arm="failed", answer={}))
    clock.time = T0 + 3 * HOUR + 5
    summary = Monitoring(database, clock).summary("engagement", 1)
    assert [(h.requests, h.errors) for h in summary.hours] == [(4, 0), (0, 0), (1, 1), (0, 0)]
    assert (summary.requests_per_hour, summary.error_rate) == (1.25, 0.2)
    clock.time = T0 + 10 * DAY
    summary = Monitoring(database, clock).summary("engagement", 1)
    assert (len(summary.hours), summary.requests_per_hour) == (24, 0)


def test_missing_inputs_are_counted_by_name(database: Database, clock: ManualClock) -> None:
    signature = '{"features": ["a", "b"], "targets": ["views_24h"], "schema": "1"}'
    with database.write() as connection:
        version = {"model": "engagement", "version": 1, "sha256": "x", "strategy": "batch", "signature": signature}
        rest = {"params": "{}", "metrics": "null", "lineage": "{}", "created_at": 0}
        connection.execute(schema.model_version.insert().values(**version, **rest))
    vectors = [(1, math.nan), (1, 2), (math.nan, math.nan), (1, 2)]
    answered(database, *(row(features=np.array(v, dtype=np.float32).tobytes()) for v in vectors))
    answered(database, row(features=b"1234"), row(version=9, features=b"12345678"))  # of nobody's inputs
    monitoring = Monitoring(database, clock)
    found = [(m.feature, m.n, m.rate) for m in monitoring.summary("engagement", 1).missing]
    assert found == [("b", 4, 0.5), ("a", 4, 0.25)]
    assert monitoring.summary("engagement", 9).missing == ()


def test_sketches_are_the_same_however_often_the_actor_dies(database: Database, clock: ManualClock) -> None:
    rng = np.random.default_rng(5)
    latencies = np.exp(rng.normal(3, 1, 60))
    for part in np.array_split(latencies, 6):
        answered(database, *(row(latency_ms=float(ms)) for ms in part))
        Monitoring(database, clock).catch_up()
        Monitoring(database, clock).catch_up()
    summary = Monitoring(database, clock).summary("engagement", 1)
    for share, found in ((0.5, summary.latency_ms_p50), (0.95, summary.latency_ms_p95), (0.99, summary.latency_ms_p99)):
        assert found == pytest.approx(np.quantile(latencies, share, method="inverted_cdf"), rel=0.011)
    with database.read() as connection:
        data = connection.execute(select(schema.latency_sketch.c.data).where(schema.latency_sketch.c.segment == ""))
        (blob,) = data.scalars()
    assert LatencySketch.load(bytes(blob)).n == 60


class _Dying:
    """A metric store whose process ends in the middle of a transaction, after the sums were written."""

    def __init__(self, store: object) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def add(self, *args: object) -> None:
        self._store.add(*args)  # type: ignore[attr-defined]
        raise KeyboardInterrupt
