"""What moved since a roll-out began holds it; what had moved before is old news."""

from __future__ import annotations

from dataclasses import replace

from actors.adaptive_learning.orchestrator.holds import reasons, suspect
from core.schemas.analytics import AnomalyFinding
from core.schemas.monitoring import DriftReport, FeatureDrift, ResidualDrift
from core.schemas.rollouts import RolloutStatus

BEGAN = 1_740_000_000
ROLLOUT = RolloutStatus("r", "engagement", 2, 1, "canary_10", 0.1, 0.1, (), (), "", BEGAN, BEGAN)


def report(at: int, *moved: str, alarm: int | None = None) -> DriftReport:
    features = tuple(FeatureDrift(name, 0.4, 0.0, True, 0.0) for name in moved)
    quiet = (FeatureDrift("quiet", 0.1, 0.0, True, 0.0), FeatureDrift("chance", 0.9, 0.5, False, 0.0))
    residuals = None if alarm is None else ResidualDrift(300, 1, alarm, alarm, 0.0, 0.2)
    return DriftReport("engagement", 1, at, 500, 300, "high", (*features, *quiet), residuals)


def finding(channel: str, onset: int, severity: str = "high") -> AnomalyFinding:
    return AnomalyFinding("i", channel, "views_gained", "spike", "down", severity, onset, None, 1.0, 2.0, 0.99)


def test_nothing_known_holds_nothing() -> None:
    assert reasons(ROLLOUT, None, None, (), 10) == ()
    assert reasons(ROLLOUT, report(BEGAN - 5, "old", alarm=BEGAN - 9), None, (), 10) == ()


def test_errors_that_began_to_move_meanwhile_hold() -> None:
    (reason,) = reasons(ROLLOUT, report(BEGAN - 5, alarm=BEGAN + 60), None, (), 10)
    assert reason == "errors of v1 began to move"


def test_a_shift_that_lasts_holds_once_and_not_at_all_where_it_was_why_the_version_was_trained() -> None:
    first, next_alarm = report(BEGAN + 100, alarm=BEGAN + 60), report(BEGAN + 5000, alarm=BEGAN + 4000)
    assert reasons(ROLLOUT, first, None, (), 10) == reasons(ROLLOUT, next_alarm, None, (), 10) != ()
    assert reasons(ROLLOUT, next_alarm, report(BEGAN, alarm=BEGAN - 60), (), 10) == ()
    assert reasons(ROLLOUT, next_alarm, report(BEGAN), (), 10) != ()


def test_inputs_that_moved_since_hold_and_those_that_had_moved_before_do_not() -> None:
    before = report(BEGAN - 100, "hour", "length")
    assert reasons(ROLLOUT, report(BEGAN + 100, "hour", "length"), before, (), 10) == ()
    (reason,) = reasons(ROLLOUT, report(BEGAN + 100, "hour", "links"), before, (), 10)
    assert reason == "inputs began to move: links"


def test_strong_anomalies_in_half_of_the_channels_hold() -> None:
    found = [finding(f"c{i}", BEGAN + 10) for i in range(5)]
    assert reasons(ROLLOUT, None, None, found, 10) == ("strong anomalies in many of 10 channels at once",)
    assert reasons(ROLLOUT, None, None, found[:4], 10) == ()
    assert reasons(ROLLOUT, None, None, [finding(f"c{i}", BEGAN - 10) for i in range(5)], 10) == ()
    assert not suspect([finding(f"c{i}", BEGAN, "low") for i in range(10)], 10)
    assert not suspect([finding(f"c{i}", BEGAN) for i in range(3)], 3), "three channels are no crowd"


def test_a_cause_gives_the_same_sentence_whenever_it_is_asked() -> None:
    now = report(BEGAN + 100, "links", alarm=BEGAN + 60)
    later = replace(now, at=BEGAN + 5000)
    assert reasons(ROLLOUT, now, None, (), 10) == reasons(ROLLOUT, later, None, (), 10)
