"""Whether a rule makes sense, and whether a channel's data can answer it; every refusal says what would do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from actors.alerts_fusion import quiet
from actors.alerts_fusion.measure import clear_level, days_needed
from actors.alerts_fusion.samples import DATA_AGE, Samples
from core import metrics
from core.clock import DAY
from core.errors import InsufficientData, InvalidInput, NotFound
from core.metrics import Metric
from core.schemas.alerts import RuleSpec, Target

LONGEST_WINDOW = 90
WEEK = 7
MOST_TARGETS = 10
MOST_NOISE = 20.0
#: of either sign, so a share of one is not a rise or fall
SIGNED = ("net_growth", "growth_rate")
_COUNTED = ("views", "subscribers")  # beginnings of units that only whole things have


def checked(spec: RuleSpec, check_target: Callable[[Target], None]) -> RuleSpec:
    """The rule with its metric's own name; InvalidInput names the field and says what would do.

    check_target: raises where a target cannot be told (see core.delivery.senders.Senders.check).
    """
    if not spec.name.strip() or len(spec.name) > 200 or not spec.name.isprintable():
        raise InvalidInput("a rule has a name of 1 to 200 characters on one line", field="name")
    if spec.kind == "anomaly":
        spec = _anomaly(spec)
    else:
        spec = replace(spec, metric=_metric(spec).name)
        _bounds(spec, _metric(spec))
    if not 0 <= spec.cool_down_s <= 90 * DAY:
        raise InvalidInput(f"a cool-down of {spec.cool_down_s} s: between 0 and 90 days", field="cool_down_s")
    if spec.quiet is not None:
        quiet.check(spec.quiet)
    _told(spec, check_target)
    return spec


def enough(spec: RuleSpec, samples: Samples, channel: str) -> None:
    """InsufficientData when a channel has fewer days of the metric than the rule's windows need."""
    needed = days_needed(spec)
    if samples.span < needed:
        raise InsufficientData(
            f"the rule looks at {needed} days of {spec.metric}, and {channel} has fewer",
            needed=needed,
            have=samples.span,
            field="window_days",
        )


def _anomaly(spec: RuleSpec) -> RuleSpec:
    for field, given, empty in (
        ("threshold", spec.threshold, None),
        ("clear", spec.clear, None),
        ("noise", spec.noise, 0.0),
        ("window_days", spec.window_days, 1),
    ):
        if given != empty:
            raise InvalidInput(f"a rule on anomalies has no {field}: findings have bounds of their own", field=field)
    return spec if spec.metric is None else replace(spec, metric=_metric(spec).name)


def _metric(spec: RuleSpec) -> Metric:
    if spec.metric is None:
        raise InvalidInput(f"a rule of kind {spec.kind!r} needs a metric", field="metric")
    try:
        return metrics.metric(spec.metric)
    except NotFound as error:
        raise InvalidInput(error.message, field="metric") from error


def _bounds(spec: RuleSpec, metric: Metric) -> None:
    if spec.direction == "either":
        raise InvalidInput("a bound has one side: direction is below or above", field="direction")
    if spec.threshold is None or not math.isfinite(spec.threshold):
        raise InvalidInput("the rule needs a threshold, a finite number", field="threshold")
    if spec.clear is not None and not math.isfinite(spec.clear):
        raise InvalidInput("clear is a finite number", field="clear")
    if not 0 <= spec.noise <= MOST_NOISE:
        raise InvalidInput(f"noise {spec.noise:g}: between 0 and {MOST_NOISE:g} usual deviations", field="noise")
    _window(spec, metric)
    if spec.kind != "threshold" and metric.name in (*SIGNED, DATA_AGE):
        raise InvalidInput(f"{metric.name} has no usual level to be a share of: use kind 'threshold'", field="kind")
    {"threshold": _value, "change": _change, "baseline": _multiple}[spec.kind](spec, metric)
    sign = 1 if spec.direction == "above" else -1
    if sign * clear_level(spec) > sign * spec.threshold:
        raise InvalidInput(
            f"clear ({clear_level(spec):g}) lies beyond the threshold ({spec.threshold:g}): the alert would never end",
            field="clear",
        )


def _window(spec: RuleSpec, metric: Metric) -> None:
    if metric.name == DATA_AGE:
        if spec.window_days != 1 or spec.noise or spec.direction != "above":
            raise InvalidInput("data_age is judged now: direction above, without window or noise", field="window_days")
        return
    if not 1 <= spec.window_days <= LONGEST_WINDOW:
        raise InvalidInput(f"window of {spec.window_days} days: 1 to {LONGEST_WINDOW}", field="window_days")
    if spec.kind == "change" and spec.reference == "same_window_4_weeks" and spec.window_days > WEEK:
        raise InvalidInput(
            "a window beside the same one of 4 weeks is at most 7 days: use reference 'previous_period'",
            field="window_days",
        )


def _value(spec: RuleSpec, metric: Metric) -> None:
    value = spec.threshold
    assert value is not None
    if metric.unit in ("fraction", "1/day") and abs(value) > 1:
        raise InvalidInput(
            f"{metric.name} is a fraction: {value:g} would be {value:.0%}; for {value:g} % say {value / 100:g}",
            field="threshold",
            hint=value / 100,
        )
    if metric.unit == "ratio" and not 0 <= value <= 10:
        raise InvalidInput(
            f"{metric.name} is a ratio, 1 the usual: for {value:g} % of it say {value / 100:g}",
            field="threshold",
            hint=value / 100,
        )
    if metric.name not in SIGNED and value < 0:
        raise InvalidInput(f"{metric.name} is never below 0", field="threshold")
    if metric.unit.startswith(_COUNTED) and metric.better != "neutral" and 0 < abs(value) < 1:
        raise InvalidInput(
            f"{metric.name} is in {metric.unit}: {value:g} is less than one; to watch a share of the usual use kind "
            f"'change' with {-value if spec.direction == 'below' else value:g}",
            field="threshold",
        )


def _change(spec: RuleSpec, _metric: Metric) -> None:
    value = spec.threshold
    assert value is not None
    if abs(value) > (1 if spec.direction == "below" else 3):
        signed = abs(value) / 100 * (-1 if spec.direction == "below" else 1)
        raise InvalidInput(
            f"a change is a fraction: for {value:g} % say {signed:g} (a rise by at most 3, a fall by at most 1)",
            field="threshold",
            hint=signed,
        )
    if value == 0 or (value > 0) != (spec.direction == "above"):
        wanted = abs(value) * (-1 if spec.direction == "below" else 1)
        raise InvalidInput(
            f"a change {spec.direction} {value:g} is always there: a fall is negative, a rise positive ({wanted:g})",
            field="threshold",
            hint=wanted,
        )


def _multiple(spec: RuleSpec, _metric: Metric) -> None:
    value = spec.threshold
    assert value is not None
    inside = 0 < value < 1 if spec.direction == "below" else 1 < value <= 100
    if not inside:
        between = "between 0 and 1" if spec.direction == "below" else "between 1 and 100"
        raise InvalidInput(f"a multiple of the usual {spec.direction} {value:g}: {between}", field="threshold")


def _told(spec: RuleSpec, check_target: Callable[[Target], None]) -> None:
    beyond = spec.escalation.targets if spec.escalation is not None else ()
    if not 1 <= len(spec.targets) <= MOST_TARGETS or len(beyond) > MOST_TARGETS:
        raise InvalidInput(f"a rule tells 1 to {MOST_TARGETS} targets", field="targets")
    if len(set(spec.targets)) < len(spec.targets) or len(set(beyond)) < len(beyond):
        raise InvalidInput("a target is named twice", field="targets")
    if spec.escalation is not None and not 60 <= spec.escalation.after_s <= 30 * DAY:
        raise InvalidInput("escalation after 60 s to 30 days", field="escalation.after_s")
    for target in {*spec.targets, *beyond}:
        check_target(target)
