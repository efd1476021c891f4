"""Whether a rule makes sense, and whether a channel's data can answer it; every refusal says what would do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace

from actors.alerts_fusion import quiet
from actors.alerts_fusion.keywords import keywords
from actors.alerts_fusion.lifecycle import POST_OPEN_S
from actors.alerts_fusion.measure import clear_level, days_needed
from actors.alerts_fusion.samples import DATA_AGE, Samples
from core import metrics
from core.clock import DAY
from core.errors import InsufficientData, InvalidInput, NotFound
from core.metrics import Metric
from core.schemas.alerts import ON_POSTS, RuleSpec, Target
from core.schemas.forecasts import FORECAST_METRICS, HORIZONS_DAYS

LONGEST_WINDOW = 90
WEEK = 7
MOST_TARGETS = 10
MOST_NOISE = 20.0
#: of either sign, so a share of one is not a rise or fall
SIGNED = ("net_growth", "growth_rate")
MOST_CHANNELS = 100
MOST_TIMES = 1000.0
#: days before, of rules on forecasts; a rule says nothing in its first so many days
HORIZONS = tuple(days for days in HORIZONS_DAYS if days <= 30)
MOST_HALF_WIDTHS = 20.0  # of a forecast's band
#: fields that only some kinds of rules have a use for, and what they are when nobody gave them
_OF_WINDOWS = ("threshold", "clear", "noise", "window_days")
_OF_METRICS = ("metric", "channel", "reference", "direction", "least_severity", "cool_down_s")
_OF_FORECASTS = ("horizon_days",)
_OF_POSTS = ("channels", "watch_list", "overperforms", "words", "match", "exclude")
_UNSET = {field.name: field.default for field in fields(RuleSpec)}
_COUNTED = ("views", "subscribers")  # beginnings of units that only whole things have


def checked(spec: RuleSpec, check_target: Callable[[Target], None]) -> RuleSpec:
    """The rule with its metric's own name; InvalidInput names the field and says what would do.

    check_target: raises where a target cannot be told (see core.delivery.senders.Senders.check).
    """
    if not spec.name.strip() or len(spec.name) > 200 or not spec.name.isprintable():
        raise InvalidInput("a rule has a name of 1 to 200 characters on one line", field="name")
    if spec.kind in ON_POSTS:
        _on_posts(spec)
    elif spec.kind == "anomaly":
        spec = _anomaly(spec)
    else:
        spec = _forecast(spec) if spec.kind == "forecast" else replace(spec, metric=_metric(spec).name)
        _bounds(spec, _metric(spec))
    if not 0 <= spec.cool_down_s <= 90 * DAY:
        raise InvalidInput(f"a cool-down of {spec.cool_down_s} s: between 0 and 90 days", field="cool_down_s")
    if spec.quiet is not None:
        quiet.check(spec.quiet)
    if spec.kind not in ON_POSTS:
        _empty(spec, f"is for rules on posts: {' and '.join(ON_POSTS)}", _OF_POSTS)
    if spec.kind != "forecast":
        _empty(spec, "is for rules on forecasts", _OF_FORECASTS)
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
    _empty(spec, "is not for rules on anomalies: findings have bounds of their own", _OF_WINDOWS)
    return spec if spec.metric is None else replace(spec, metric=_metric(spec).name)


def _forecast(spec: RuleSpec) -> RuleSpec:
    """One day beside the band that was forecast for it; unless given the bound is the band's edge."""
    _empty(spec, "is not for rules on forecasts: a day beside its band", ("noise", "window_days", "reference"))
    metric = _metric(spec).name
    if metric not in FORECAST_METRICS:
        raise InvalidInput(f"no forecast of {metric}: use one of {', '.join(FORECAST_METRICS)}", field="metric")
    if spec.horizon_days not in HORIZONS:
        days = ", ".join(map(str, HORIZONS))
        raise InvalidInput(f"a forecast given {spec.horizon_days} days before: one of {days}", field="horizon_days")
    edge = 1.0 if spec.direction == "above" else -1.0
    return replace(spec, metric=metric, threshold=edge if spec.threshold is None else spec.threshold)


def _on_posts(spec: RuleSpec) -> None:
    """A post is there or not: no window, no level, no rest."""
    _empty(spec, "is not for rules on posts, which name channels or a watch_list", _OF_WINDOWS, _OF_METRICS)
    if (spec.watch_list is None) == (not spec.channels):
        raise InvalidInput("name the channels whose posts are meant, or one watch list", field="channels")
    if len(spec.channels) > MOST_CHANNELS or len(set(spec.channels)) < len(spec.channels):
        raise InvalidInput(f"1 to {MOST_CHANNELS} channels, each once", field="channels")
    if spec.kind == "keyword":
        _empty(spec, "is not for rules on keywords", ("overperforms",))
        keywords(spec.words, spec.exclude, spec.match)
        return
    _empty(spec, "is for rules on keywords", ("words", "match", "exclude"))
    if spec.overperforms is not None and not 1 < spec.overperforms <= MOST_TIMES:
        raise InvalidInput(
            f"overperforms {spec.overperforms:g}: so many times the usual views, above 1 and at most {MOST_TIMES:g}",
            field="overperforms",
        )


def _empty(spec: RuleSpec, why: str, *groups: tuple[str, ...]) -> None:
    """InvalidInput for a field that a kind of rule has no use for."""
    for field in (name for group in groups for name in group):
        if getattr(spec, field) != _UNSET[field]:
            raise InvalidInput(f"{field} {why}", field=field)


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
    {"threshold": _value, "change": _change, "baseline": _multiple, "forecast": _half_widths}[spec.kind](spec, metric)
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


def _half_widths(spec: RuleSpec, _metric: Metric) -> None:
    value = spec.threshold
    assert value is not None
    away = value if spec.direction == "above" else -value
    if not 0 < away <= MOST_HALF_WIDTHS:
        raise InvalidInput(
            f"a bound {spec.direction} {value:g} half-widths of a forecast's band: -1 is its lower edge, 1 its upper "
            f"one, {MOST_HALF_WIDTHS:g} the most",
            field="threshold",
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
    if spec.kind in ON_POSTS and spec.escalation is not None and spec.escalation.after_s >= POST_OPEN_S:
        raise InvalidInput("an alert about a post ends after a day: escalate before", field="escalation.after_s")
    for target in {*spec.targets, *beyond}:
        check_target(target)
