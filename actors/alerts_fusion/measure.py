"""What a rule measures in a window, beside what it is compared with, and whether that is beyond its bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from actors.alerts_fusion.samples import Samples
from core.schemas.alerts import RuleSpec
from core.schemas.forecasts import ForecastPoint, LedgerEntry

BASELINE_WINDOWS = 28  # windows before, one a day, that `baseline` and `noise` look at ...
LEAST_WINDOWS = 14  # ... and how many of them must be known
WEEKS = 4
LEAST_WEEKS = 2
_MAD_TO_SD = 1.4826

Verdict = Literal["breach", "between", "clear", "unknown"]


@dataclass(frozen=True, slots=True)
class Measured:
    """A window's figure; None where it cannot be known."""

    value: float | None
    n: int  # posts or days that the value rests on
    reference: float | None = None
    measure: float | None = None  # what threshold and clear are for
    away: float | None = None  # usual deviations from the median of the windows before; None: not asked, or not known
    foretold: LedgerEntry | None = None  # what a rule on forecasts compares with


def days_needed(spec: RuleSpec) -> int:
    """Days with values that a rule needs before it can say anything."""
    before = LEAST_WINDOWS if spec.noise > 0 or spec.kind == "baseline" else 0
    if spec.kind == "change":
        before = max(before, 7 * LEAST_WEEKS if spec.reference == "same_window_4_weeks" else spec.window_days)
    return spec.window_days + before


def days_read(spec: RuleSpec) -> int:
    """Days up to a window's last one that its judgement looks at, at most."""
    before = BASELINE_WINDOWS if spec.noise > 0 or spec.kind == "baseline" else 0
    if spec.kind == "change":
        before = max(before, 7 * WEEKS if spec.reference == "same_window_4_weeks" else spec.window_days)
    return 2 * spec.window_days + before


def measured(spec: RuleSpec, samples: Samples, last: int) -> Measured:
    """The window that ends with the day `last`."""
    value, n = samples.window(last, spec.window_days)
    if math.isnan(value):
        return Measured(None, n)
    if spec.kind == "forecast":
        said = samples.foretold.get(last)
        return Measured(value, n) if said is None else _beside(said, value, n)
    reference = _reference(spec, samples, last)
    measure = _measure(spec, value, reference)
    away = _away(spec, samples, last, value) if spec.noise > 0 else None
    return Measured(value, n, reference, measure, away)


def verdict(spec: RuleSpec, found: Measured) -> Verdict:
    """breach: beyond the threshold (and beyond the noise, where the rule asks for it); clear: back within `clear`."""
    if found.measure is None or spec.threshold is None:
        return "unknown"
    sign = 1.0 if spec.direction == "above" else -1.0
    if sign * found.measure > sign * spec.threshold:
        if spec.noise == 0:
            return "breach"
        if found.away is None:
            return "unknown"
        return "breach" if sign * found.away >= spec.noise else "between"
    return "clear" if sign * found.measure <= sign * clear_level(spec) else "between"


def clear_level(spec: RuleSpec) -> float:
    """Where an alert ends: as the rule says, or half way from the threshold back to the usual.

    The usual is 0 for a change and beside a forecast, and 1 for a multiple; of a plain value it is not known, so a
    tenth of the threshold.
    """
    if spec.clear is not None or spec.threshold is None:
        return spec.clear if spec.clear is not None else 0.0
    if spec.kind in ("change", "forecast"):
        return spec.threshold / 2
    if spec.kind == "baseline":
        return (1 + spec.threshold) / 2
    return spec.threshold + (-0.1 if spec.direction == "above" else 0.1) * abs(spec.threshold)


def _beside(said: LedgerEntry, value: float, n: int) -> Measured:
    return Measured(value, n, said.point.mean, half_widths(value, said.point), foretold=said)


def half_widths(value: float, point: ForecastPoint) -> float | None:
    """How far a value lies from the forecast's mean, in half-widths of the 95 % band on its side; None: there is none.

    The two half-widths differ: bands need not be symmetric.
    """
    if value == point.mean:
        return 0.0
    half = point.hi95 - point.mean if value > point.mean else point.mean - point.lo95
    return (value - point.mean) / half if half > 0 else None


def _reference(spec: RuleSpec, samples: Samples, last: int) -> float | None:
    days = spec.window_days
    if spec.kind == "baseline":
        return _middle(_before(samples, last, days), LEAST_WINDOWS)
    if spec.kind != "change":
        return None
    if spec.reference == "previous_period":
        return _middle([samples.window(last - days, days)[0]], 1)
    return _middle([samples.window(last - 7 * week, days)[0] for week in range(1, WEEKS + 1)], LEAST_WEEKS)


def _measure(spec: RuleSpec, value: float, reference: float | None) -> float | None:
    if spec.kind == "threshold":
        return value
    if reference is None or reference <= 0:
        return None  # a share of nothing is not known
    return value / reference - 1 if spec.kind == "change" else value / reference


def _away(spec: RuleSpec, samples: Samples, last: int, value: float) -> float | None:
    known = [v for v in _before(samples, last, spec.window_days) if not math.isnan(v)]
    if len(known) < LEAST_WINDOWS:
        return None
    middle = float(np.median(known))
    spread = _MAD_TO_SD * float(np.median(np.abs(np.array(known) - middle)))
    if spread > 0:
        return (value - middle) / spread
    return 0.0 if value == middle else math.copysign(math.inf, value - middle)


def _before(samples: Samples, last: int, days: int) -> list[float]:
    """Windows that end on the 28 days before this one begins."""
    return [samples.window(last - days - back, days)[0] for back in range(BASELINE_WINDOWS)]


def _middle(values: list[float], least: int) -> float | None:
    known = [v for v in values if not math.isnan(v)]
    return float(np.median(known)) if len(known) >= least else None
