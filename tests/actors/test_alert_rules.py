"""A rule's arithmetic and its life: what it measures, when it is raised, told, escalated and over."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from actors.alerts_fusion import lifecycle, machine, quiet, telling
from actors.alerts_fusion.digest import digest, last_due
from actors.alerts_fusion.machine import RuleState
from actors.alerts_fusion.measure import Measured, clear_level, days_needed, measured, verdict
from actors.alerts_fusion.samples import Samples
from actors.alerts_fusion.validation import checked, enough
from actors.alerts_fusion.wording import figure, value_reason
from core.clock import DAY, HOUR
from core.errors import InsufficientData, InvalidInput, NotConfigured, Refused
from core.metrics import METRICS
from core.schemas.alerts import Alert, Escalation, QuietHours, RuleSpec, Target

LOG, HOOK = Target("log"), Target("webhook", "https://h.example/x")


def spec(**changes: Any) -> RuleSpec:
    base: dict[str, Any] = {"name": "r", "kind": "threshold", "metric": "views_gained", "threshold": 100.0}
    return RuleSpec(**base | changes)


def series(values: list[float], metric: str = "views_gained", first: int = 1000) -> Samples:
    """A value a day; NaN: not known."""
    array = np.array(values)
    known = np.flatnonzero(~np.isnan(array))
    return Samples(METRICS[metric], known + first, array[known], lambda v: float(v.mean()), True)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


# ---------------------------------------------------------------- measures


def test_a_window_is_the_mean_of_its_known_days_and_half_of_them_must_be_known() -> None:
    values = series([10, float("nan"), 30, float("nan"), float("nan")])
    assert values.window(1002, 3) == (20.0, 2)
    assert np.isnan(values.window(1004, 3)[0])
    assert np.isnan(values.window(1003, 1)[0])


def test_a_change_is_against_the_median_of_the_same_windows_of_four_weeks() -> None:
    values = [100.0] * 29
    values[0], values[7], values[14], values[21], values[28] = 90, 100, 200, 110, 63
    found = measured(spec(kind="change", threshold=-0.3), series(values), 1028)
    assert (found.reference, found.value) == (105.0, 63.0)
    assert found.measure == pytest.approx(-0.4)
    few = measured(spec(kind="change", threshold=-0.3), series(values[-10:], first=1019), 1028)
    assert (few.reference, few.measure) == (None, None)  # one week is no usual
    assert verdict(spec(kind="change", threshold=-0.3), few) == "unknown"


def test_a_change_against_the_period_before_takes_windows_side_by_side() -> None:
    found = measured(
        spec(kind="change", reference="previous_period", threshold=-0.3, window_days=3),
        series([10, 20, 30, 20, 20, 80]),
        1005,
    )
    assert (found.value, found.reference, found.measure) == (40.0, 20.0, 1.0)


def test_a_share_of_nothing_is_not_known() -> None:
    assert measured(spec(kind="change", reference="previous_period"), series([0, 5]), 1001).measure is None


def test_a_baseline_is_the_median_of_the_windows_before() -> None:
    rule = spec(kind="baseline", direction="above", threshold=2.0)
    found = measured(rule, series([10.0] * 20 + [30.0]), 1020)
    assert (found.reference, found.measure) == (10.0, 3.0)
    assert verdict(rule, found) == "breach"
    assert measured(rule, series([10.0] * 13 + [30.0]), 1013).measure is None


def test_noise_is_in_usual_deviations_and_constant_series_have_none() -> None:
    wobbling = [100 + 10 * (-1) ** i for i in range(28)]
    rule = spec(threshold=95.0, noise=3.0)
    small = measured(rule, series([*wobbling, 80.0]), 1028)
    assert small.away == pytest.approx(-20 / 14.826)
    assert verdict(rule, small) == "between"
    assert verdict(rule, measured(rule, series([*wobbling, 40.0]), 1028)) == "breach"
    assert measured(rule, series([100.0] * 29), 1028).away == 0.0
    assert verdict(rule, measured(rule, series([100.0] * 28 + [90.0]), 1028)) == "breach"
    assert verdict(rule, measured(rule, series([100.0] * 5 + [90.0]), 1005)) == "unknown"  # no usual yet


@pytest.mark.parametrize(
    ("rule", "level"),
    [
        (spec(threshold=100.0), 110.0),
        (spec(threshold=100.0, direction="above"), 90.0),
        (spec(threshold=-10.0, metric="net_growth"), -9.0),
        (spec(kind="change", threshold=-0.3), -0.15),
        (spec(kind="baseline", threshold=3.0, direction="above"), 2.0),
        (spec(threshold=100.0, clear=150.0), 150.0),
    ],
)
def test_an_alert_ends_half_way_back(rule: RuleSpec, level: float) -> None:
    assert clear_level(rule) == pytest.approx(level)


# ---------------------------------------------------------------- the machine


def play(rule: RuleSpec, values: list[float | None]) -> list[str]:
    state, steps = RuleState(), []
    for day, value in enumerate(values):
        judged = verdict(rule, Measured(value, 1, measure=value))
        steps.append(machine.step(state, rule, judged, day * DAY))
    return steps


def test_between_threshold_and_clear_level_nothing_changes() -> None:
    rule = spec(threshold=100.0, clear=120.0, cool_down_s=0)
    assert play(rule, [110, 90, 110, 90, 119, 120, 110, 99]) == [
        "none", "raise", "none", "hold", "none", "resolve", "none", "raise",
    ]  # fmt: skip


def test_what_is_not_known_neither_raises_nor_ends() -> None:
    rule = spec(threshold=100.0, cool_down_s=0)
    assert play(rule, [None, 90, None, None, 200]) == ["none", "raise", "none", "none", "resolve"]


def test_after_an_alert_there_is_rest() -> None:
    rule = spec(threshold=100.0, cool_down_s=3 * DAY)
    assert play(rule, [90, 200, 90, 90, 90, 200]) == ["raise", "resolve", "none", "none", "raise", "resolve"]


# ---------------------------------------------------------------- refusals


def refuse(rule: RuleSpec) -> InvalidInput:
    with pytest.raises(InvalidInput) as wrong:
        checked(rule, lambda _: None)
    return wrong.value


def test_an_unknown_metric_is_answered_with_those_that_there_are() -> None:
    error = refuse(spec(metric="charisma"))
    assert error.details["field"] == "metric"
    assert "views_gained" in error.message
    assert refuse(spec(metric=None)).details["field"] == "metric"


def test_an_alias_becomes_the_metrics_own_name() -> None:
    assert checked(spec(metric="daily_reach"), lambda _: None).metric == "views_gained"


@pytest.mark.parametrize(
    ("rule", "hint"),
    [
        (spec(metric="vtr", threshold=30.0), 0.3),
        (spec(metric="growth_rate", threshold=-5.0), -0.05),
        (spec(metric="views_pace", threshold=85.0), 0.85),
        (spec(kind="change", threshold=-30.0), -0.3),
        (spec(kind="change", threshold=30.0, direction="above"), 0.3),
        (spec(kind="change", threshold=0.3), -0.3),
        (spec(kind="change", threshold=-0.3, direction="above"), 0.3),
    ],
)
def test_a_threshold_in_the_wrong_unit_is_answered_with_the_right_one(rule: RuleSpec, hint: float) -> None:
    error = refuse(rule)
    assert error.details["field"] == "threshold"
    assert error.details["hint"] == pytest.approx(hint)
    assert f"{hint:g}" in error.message


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        (spec(threshold=0.3), "threshold"),  # of views
        (spec(threshold=None), "threshold"),
        (spec(threshold=float("nan")), "threshold"),
        (spec(threshold=-5.0), "threshold"),
        (spec(kind="change", threshold=0.0), "threshold"),
        (spec(kind="baseline", threshold=1.5), "threshold"),
        (spec(kind="baseline", threshold=0.5, direction="above"), "threshold"),
        (spec(direction="either"), "direction"),
        (spec(clear=50.0), "clear"),
        (spec(clear=float("inf")), "clear"),
        (spec(kind="change", metric="net_growth", threshold=-0.3), "kind"),
        (spec(window_days=0), "window_days"),
        (spec(window_days=91), "window_days"),
        (spec(kind="change", threshold=-0.3, window_days=8), "window_days"),
        (spec(metric="data_age", threshold=12.0), "window_days"),
        (spec(noise=-1.0), "noise"),
        (spec(cool_down_s=-1), "cool_down_s"),
        (spec(name=" "), "name"),
        (spec(name="two\nlines"), "name"),
        (spec(targets=()), "targets"),
        (spec(targets=(LOG, LOG)), "targets"),
        (spec(escalation=Escalation(5)), "escalation.after_s"),
        (spec(quiet=QuietHours("22:00", "08:00", "Europe/Nowhere")), "tz"),
        (spec(quiet=QuietHours("25:00", "08:00", "UTC")), "quiet.start"),
        (spec(quiet=QuietHours("22:00", "8", "UTC")), "quiet.end"),
        (spec(quiet=QuietHours("22:00", "22:00", "UTC")), "quiet.end"),
        (spec(kind="anomaly"), "threshold"),
        (spec(kind="anomaly", threshold=None, window_days=3), "window_days"),
        (spec(kind="anomaly", threshold=None, metric="charisma"), "metric"),
    ],
)
def test_rules_that_cannot_work_are_refused_by_field(rule: RuleSpec, field: str) -> None:
    assert refuse(rule).details["field"] == field


def test_a_target_that_cannot_be_told_is_refused_also_for_escalations() -> None:
    def check(target: Target) -> None:
        if target == HOOK:
            raise NotConfigured("no webhooks here")

    for rule in (spec(targets=(HOOK,)), spec(escalation=Escalation(600, (HOOK,)))):
        with pytest.raises(NotConfigured):
            checked(rule, check)


def test_a_window_longer_than_the_data_says_how_much_there_is() -> None:
    rule = spec(kind="change", reference="previous_period", threshold=-0.3, window_days=10)
    assert days_needed(rule) == 20
    with pytest.raises(InsufficientData) as gap:
        enough(rule, series([1.0] * 19), "@town")
    assert (gap.value.needed, gap.value.have) == (20, 19)
    enough(rule, series([1.0] * 20), "@town")


# ---------------------------------------------------------------- quiet hours

NIGHT = QuietHours("22:00", "08:00", "Europe/Berlin")


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2025-01-10T20:59", None),
        ("2025-01-10T21:00", "2025-01-11T07:00"),  # 22:00 in Berlin
        ("2025-01-11T06:59", "2025-01-11T07:00"),
        ("2025-01-11T07:00", None),
        ("2025-03-29T22:00", "2025-03-30T06:00"),  # the night in which clocks go forward
        ("2025-10-25T21:00", "2025-10-26T07:00"),  # ... and back
    ],
)
def test_quiet_hours_are_of_the_persons_zone(now: str, end: str | None) -> None:
    assert quiet.ends(NIGHT, "medium", at(now)) == (None if end is None else at(end))


def test_quiet_hours_of_a_day_and_what_may_pass_them() -> None:
    noon = QuietHours("12:00", "13:30", "UTC", critical_passes=True)
    assert quiet.ends(noon, "high", at("2025-01-10T13:00")) == at("2025-01-10T13:30")
    assert quiet.ends(noon, "critical", at("2025-01-10T13:00")) is None
    assert quiet.ends(replace(noon, critical_passes=False), "critical", at("2025-01-10T13:00")) is not None
    assert quiet.ends(None, "low", 0) is None


# ---------------------------------------------------------------- the life of an alert

NOW = at("2025-01-10T12:00")
ALERT = Alert(
    id="a",
    rule_id="u",
    rule="few views",
    channel="@town",
    metric="views_gained",
    kind="threshold",
    severity="medium",
    state="firing",
    onset=NOW - DAY,
    until=NOW,
    raised_at=NOW,
    reason="few",
    unit="views/day",
)
WITH = spec(targets=(LOG,), escalation=Escalation(HOUR, (HOOK,)))


def test_nobody_acknowledges_it_and_it_is_escalated_once() -> None:
    assert lifecycle.next_at(ALERT, WITH) == NOW + HOUR
    assert lifecycle.passed(ALERT, WITH, NOW + HOUR - 1) == (ALERT, None)
    raised, about = lifecycle.passed(ALERT, WITH, NOW + HOUR)
    assert (about, raised.severity, raised.escalated_at) == ("escalated", "high", NOW + HOUR)
    assert lifecycle.passed(raised, WITH, NOW + 9 * HOUR) == (raised, None)
    assert lifecycle.next_at(raised, WITH) is None
    top, _ = lifecycle.passed(replace(ALERT, severity="critical"), WITH, NOW + HOUR)
    assert top.severity == "critical"


def test_an_acknowledged_alert_is_not_escalated_and_the_first_word_counts() -> None:
    mine = lifecycle.acknowledged(ALERT, "me", NOW + 60)
    assert (mine.state, mine.acknowledged_by) == ("acknowledged", "me")
    assert lifecycle.acknowledged(mine, "you", NOW + 70) == mine
    assert lifecycle.next_at(mine, WITH) is None
    assert lifecycle.passed(mine, WITH, NOW + DAY) == (mine, None)


def test_a_snoozed_alert_is_silent_and_told_again() -> None:
    quiet_ = lifecycle.snoozed(ALERT, NOW + 2 * HOUR, NOW)
    assert lifecycle.next_at(quiet_, WITH) == NOW + 2 * HOUR
    assert lifecycle.passed(quiet_, WITH, NOW + HOUR) == (quiet_, None)  # the escalation waits too
    again, about = lifecycle.passed(quiet_, WITH, NOW + 2 * HOUR)
    assert (again.state, about) == ("firing", "reminded")
    assert lifecycle.passed(again, WITH, NOW + 2 * HOUR)[1] == "escalated"
    ended = lifecycle.resolved(quiet_, "it is over", NOW + HOUR)
    assert telling.notices("resolved", ended, WITH, NOW + HOUR, "UTC") == ()


def test_what_is_resolved_stays_so() -> None:
    over = lifecycle.resolved(ALERT, "it is over", NOW)
    for change in (lambda: lifecycle.acknowledged(over, "me", NOW), lambda: lifecycle.snoozed(over, NOW + 9, NOW)):
        with pytest.raises(Refused):
            change()
    for until in (NOW, NOW + 91 * DAY):
        with pytest.raises(InvalidInput):
            lifecycle.snoozed(ALERT, until, NOW)


def test_who_is_told_what() -> None:
    def told(about: Any, alert: Alert, rule: RuleSpec = WITH) -> list[str]:
        return [one.target.kind for one in telling.notices(about, alert, rule, NOW, "UTC")]

    assert told("raised", ALERT) == ["log"]
    assert told("escalated", replace(ALERT, escalated_at=NOW)) == ["webhook"]
    over = lifecycle.resolved(ALERT, "over", NOW)
    assert told("resolved", over) == ["log"]
    assert told("resolved", replace(over, escalated_at=NOW)) == ["log", "webhook"]  # who was called is called off
    assert told("resolved", over, replace(WITH, tell_resolved=False)) == []
    assert told("escalated", ALERT, spec(escalation=Escalation(60))) == ["log"]


def test_quiet_hours_hold_back_and_give_the_same_id_again() -> None:
    night = at("2025-01-10T22:30")
    rule = spec(quiet=NIGHT)
    (one,) = telling.notices("raised", ALERT, rule, night, "UTC")
    assert (one.not_before, one.digest) == (at("2025-01-11T07:00"), False)
    assert telling.notices("raised", ALERT, rule, night, "UTC") == (one,)
    (gathered,) = telling.notices("raised", ALERT, replace(rule, quiet=replace(NIGHT, then="digest")), night, "UTC")
    assert gathered.digest
    (through,) = telling.notices(
        "raised",
        replace(ALERT, severity="critical"),
        replace(rule, quiet=replace(NIGHT, critical_passes=True)),
        night,
        "UTC",
    )
    assert through.not_before == night


# ---------------------------------------------------------------- words and digest


def test_a_reason_holds_the_figures_that_it_rests_on() -> None:
    rule = spec(kind="change", threshold=-0.3, noise=3.0)
    found = Measured(630.0, 1, 1000.0, -0.37, -4.2)
    text = value_reason(rule, "views/day", found, at("2025-01-09"), at("2025-01-10"), "UTC")
    assert text == (
        "views_gained on 2025-01-09: 630 views/day, -37% against the median of the same days in the 4 weeks before "
        "(1,000 views/day); the rule's bound is below -30% and 3 usual deviations (it is -4.2); n 1"
    )
    assert figure(0.0123, "fraction") == "1.23%"
    assert figure(-0.02, "1/day") == "-2.00% a day"


def test_a_digest_counts_what_began_ended_and_goes_on() -> None:
    high = replace(ALERT, id="b", severity="high", channel="@city")
    over = replace(lifecycle.resolved(replace(ALERT, id="c", raised_at=NOW - 3 * DAY), "over", NOW - HOUR), n=1)
    found = digest([ALERT, high, over], 2, NOW - DAY, NOW + 1)
    assert (found.raised, found.resolved, found.open) == (2, 1, 2)
    assert [a.id for a in found.alerts] == ["b", "a"]
    assert found.by_severity == {"high": 1, "medium": 1}
    assert found.by_channel == {"@city": 1, "@town": 1}
    assert "2 notices could not be delivered" in found.text


def test_a_daily_digest_is_due_at_its_time_in_its_zone() -> None:
    assert last_due("09:00", "Europe/Berlin", at("2025-01-10T08:00")) == at("2025-01-10T08:00")
    assert last_due("09:00", "Europe/Berlin", at("2025-01-10T07:59")) == at("2025-01-09T08:00")
    with pytest.raises(InvalidInput):
        last_due("9", "UTC", NOW)
