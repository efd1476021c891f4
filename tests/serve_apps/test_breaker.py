"""The router's breaker acts on a dead or far worse canary, and seldom on a healthy one."""

from __future__ import annotations

import numpy as np
import pytest

from serve_apps.predictor.breaker import Breaker


def executed(breaker: Breaker, rng: np.random.Generator, canary: float, stable: float, looks: int) -> int | None:
    """Looks until it opens, 40 executions of each version in between; None: it does not."""
    for look in range(looks):
        for version, rate in (("canary", canary), ("stable", stable)):
            for failed in rng.random(40) < rate:
                if version == "stable":
                    breaker.stable(failed=bool(failed))
                elif failed:
                    breaker.failed()
                else:
                    breaker.succeeded()
        breaker.look()
        if breaker.is_open:
            return look + 1
    return None


def test_twenty_failures_in_a_row_open_it_at_once() -> None:
    breaker = Breaker()
    opened = []
    for _ in range(20):
        opened.append(breaker.failed())
        breaker.stable(failed=False)
    assert opened == [False] * 19 + [True]
    breaker.succeeded()
    assert breaker.is_open


def test_a_success_ends_the_run() -> None:
    breaker = Breaker(limit=3)
    breaker.failed()
    breaker.stable(failed=False)
    assert not breaker.failed()
    breaker.succeeded()
    opened = []
    for _ in range(3):
        opened.append(breaker.failed())
        breaker.stable(failed=False)
    assert opened == [False, False, True]


def test_an_outage_that_stable_shares_does_not_open_it_and_its_end_does_where_the_canary_stays_down() -> None:
    breaker = Breaker()
    breaker.stable(failed=False)
    for _ in range(100):
        assert not breaker.failed()
        breaker.stable(failed=True)
    assert not breaker.look()
    breaker.stable(failed=False)
    assert breaker.look()


@pytest.mark.parametrize(("canary", "stable"), [(0.2, 0.001), (0.05, 0.001)])
def test_a_canary_that_fails_far_more_often_is_cut_off_within_a_minute(canary: float, stable: float) -> None:
    opened = [executed(Breaker(), np.random.default_rng(seed), canary, stable, 60) for seed in range(20)]
    assert all(look is not None for look in opened)


def test_equal_versions_stay_in_service_whatever_their_common_rate() -> None:
    for seed, rate in enumerate((0.001, 0.01, 0.1, 0.4)):
        assert executed(Breaker(), np.random.default_rng(seed), rate, rate, 400) is None


def test_without_executions_of_both_versions_nothing_is_concluded() -> None:
    breaker = Breaker(limit=1000)
    for _ in range(900):
        breaker.failed()
    assert not breaker.look()
    breaker.stable(failed=False)
    breaker.look()
    assert not breaker.is_open, "one success of stable says nothing about its rate"
