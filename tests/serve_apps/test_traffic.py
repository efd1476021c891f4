"""What a router serves: newest split wins, old versions answer until new ones are loaded, silence ends a trial."""

from __future__ import annotations

import pytest

from core.errors import ArtifactCorrupt, Refused
from serve_apps.predictor.arms import Gone, LocalArm
from serve_apps.predictor.traffic import Traffic
from tests.serve_apps.world import Bench


def test_a_lower_epoch_is_refused_whatever_it_says(bench: Bench) -> None:
    bench.serve(bench.world.split(epoch=5))
    report = bench.traffic.apply(bench.world.split(epoch=4, stable=2))
    assert (report.epoch, report.stable) == (5, 1)
    bench.traffic.tick()
    assert bench.loaded == [1]


def test_the_old_version_serves_until_the_new_one_is_loaded(bench: Bench) -> None:
    bench.serve(bench.world.split(epoch=1))
    report = bench.traffic.apply(bench.world.split(epoch=2, stable=2))
    assert (report.epoch, report.stable) == (1, 1)
    assert bench.traffic.wake.is_set()
    assert bench.one().version == 1
    bench.traffic.tick()
    assert (bench.traffic.report().epoch, bench.one().version) == (2, 2)


def test_after_a_rollback_the_first_version_answers_as_before(bench: Bench) -> None:
    bench.serve(bench.world.split(epoch=1))
    first = bench.one()
    bench.serve(bench.world.split(epoch=2, stable=2))
    second = bench.one()
    bench.serve(bench.world.split(epoch=3, stable=1))
    again = bench.one()
    assert [answer.version for answer in (first, second, again)] == [1, 2, 1]
    assert again.targets == first.targets != second.targets


def test_a_new_weight_is_in_force_at_once(bench: Bench) -> None:
    bench.trial(0.1)
    assert bench.traffic.apply(bench.world.split(epoch=3, canary=2, weight=0.5)).weight == 0.5
    report = bench.traffic.apply(bench.world.split(epoch=4))
    assert (report.epoch, report.weight, report.canary) == (4, 0.0, None)
    assert bench.loaded == [1]


def test_a_version_that_will_not_load_leaves_the_old_one_in_service(bench: Bench) -> None:
    bench.serve(bench.world.split(epoch=1))
    bench.serve(bench.world.split(epoch=2, stable=9))
    assert bench.traffic.report().epoch == 1
    assert "version 9 cannot be loaded" in str(bench.traffic.trouble)
    assert bench.one().version == 1
    loads = len(bench.loaded)
    bench.traffic.tick()
    assert len(bench.loaded) == loads, "tried again without a pause"
    bench.world.clock.advance(2)
    bench.traffic.tick()
    assert len(bench.loaded) == loads + 1
    bench.serve(bench.world.split(epoch=3, stable=2))
    assert (bench.traffic.report().stable, bench.traffic.trouble) == (2, None)


def test_nothing_in_service_says_why_when_it_is_known(bench: Bench) -> None:
    def load(version: int) -> LocalArm:
        raise ArtifactCorrupt("artifact abc: bytes differ")

    traffic = Traffic("engagement", load, lambda version: None, bench.world.clock)  # type: ignore[arg-type, return-value]
    assert traffic.report().stable is None
    traffic.apply(bench.world.split())
    traffic.tick()
    with pytest.raises(Refused, match="bytes differ"):
        traffic.current()


def test_a_newer_split_during_a_load_is_not_lost(bench: Bench) -> None:
    newer = bench.world.split(epoch=3, canary=2, weight=0.1)

    def load(version: int) -> LocalArm:
        traffic.apply(newer)
        return LocalArm(version, bench.loader.load(version))

    traffic = Traffic("engagement", load, lambda version: None, bench.world.clock)  # type: ignore[arg-type, return-value]
    traffic.apply(bench.world.split(epoch=2))
    traffic.tick()
    assert traffic.report().epoch == 3


def test_a_canary_gets_nothing_before_its_application_is_found(bench: Bench) -> None:
    bench.serve(bench.world.split(epoch=2, canary=2, weight=1.0))
    report = bench.traffic.report()
    assert (report.epoch, report.weight, report.canary_ready) == (2, 0.0, False)
    assert bench.one().arm == "stable"
    bench.trial(1.0, epoch=2)
    assert (bench.traffic.report().weight, bench.traffic.report().canary_ready) == (1.0, True)


def test_a_canary_is_ready_until_two_probes_in_a_row_are_missed(bench: Bench) -> None:
    canary = bench.trial(0.1)
    canary.trouble = "slow"
    bench.traffic.tick()
    assert bench.traffic.report().canary_ready
    bench.traffic.tick()
    assert not bench.traffic.report().canary_ready
    canary.trouble = ""
    bench.traffic.tick()
    assert bench.traffic.report().canary_ready


def test_an_application_that_serves_another_version_is_never_ready(bench: Bench) -> None:
    canary = bench.trial(0.0)
    canary.version = 3
    for _ in range(2):
        bench.traffic.tick()
    assert not bench.traffic.report().canary_ready
    assert "serves version 3" in str(bench.traffic.trouble)


def test_a_trial_that_nobody_steers_is_frozen_then_ended_then_revived(bench: Bench) -> None:
    bench.trial(0.5)
    bench.world.clock.advance(30)
    assert (bench.traffic.report().frozen, bench.traffic.report().weight) == (True, 0.5)
    bench.world.clock.advance(270)
    assert (bench.traffic.report().frozen, bench.traffic.report().weight) == (True, 0.0)
    assert bench.traffic.current().canary is None
    bench.traffic.apply(bench.world.split(epoch=2, canary=2, weight=0.5, renewals=1))
    assert (bench.traffic.report().frozen, bench.traffic.report().weight) == (False, 0.5)


def test_without_a_trial_silence_means_nothing(bench: Bench) -> None:
    bench.serve(bench.world.split())
    bench.world.clock.advance(10_000)
    assert not bench.traffic.report().frozen
    assert bench.one().arm == "stable"


def test_a_new_split_closes_the_breaker(bench: Bench) -> None:
    canary = bench.trial(1.0)
    canary.trouble = "wrong"
    for i in range(20):
        bench.one(post_id=54 - i % 9)
    assert bench.traffic.report().breaker_open
    assert not bench.traffic.apply(bench.world.split(epoch=3, canary=2, weight=0.1)).breaker_open


def test_failures_of_an_earlier_split_do_not_count_against_the_present_one(bench: Bench) -> None:
    bench.trial(1.0)
    before = bench.traffic.current()
    bench.traffic.apply(bench.world.split(epoch=3, canary=2, weight=1.0))
    for _ in range(25):
        bench.traffic.canary_failed(before, Gone("away", died=True))
    report = bench.traffic.report()
    assert (report.breaker_open, report.canary_ready) == (False, True)


def test_a_process_that_died_is_reported_for_good_though_another_may_answer(bench: Bench) -> None:
    canary = bench.trial(1.0)
    canary.trouble = "dead"
    bench.one()
    assert bench.traffic.report().canary_gone
    canary.trouble = ""
    bench.traffic.tick()
    assert (bench.traffic.report().canary_ready, bench.traffic.report().canary_gone) == (True, True)
    bench.serve(bench.world.split(epoch=3, canary=2, weight=0.5))
    assert not bench.traffic.report().canary_gone


def test_failures_between_successes_open_the_breaker_when_stable_has_none(bench: Bench) -> None:
    canary = bench.trial(1.0)
    for i in range(60):
        canary.trouble = "wrong" if i % 3 == 0 else ""
        bench.one(post_id=50 - i % 9)
        bench.one(post_id=50 - i % 9, pin=1)
        bench.traffic.tick()
        if bench.traffic.report().breaker_open:
            break
    report = bench.traffic.report()
    assert (report.breaker_open, report.weight) == (True, 0.0)
