"""Puts what moved into one report: input drift informs, error drift acts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from actors.adaptive_learning.drift.residuals import combined, is_material, is_size
from actors.adaptive_learning.drift.shares import ShareDetector
from actors.adaptive_learning.drift.streams import Detectors, shown
from actors.adaptive_learning.drift.univariate import grade
from core.schemas.drift import MultivariateDrift
from core.schemas.monitoring import DriftReport, FeatureDrift, ResidualDrift, Severity, StreamDrift

#: Shift of the mean error, in standard deviations of the reference, from which an alarm is as grave.
MEDIUM, HIGH = 0.25, 1.0
_NAMED = 3  # columns in a note


def report(
    model: str,
    version: int,
    at: int,
    sizes: tuple[int, int],
    features: Sequence[FeatureDrift],
    detectors: Detectors,
    together: MultivariateDrift | None = None,
) -> DriftReport:
    """The report of a version; `sizes` are the rows compared, reference and recent.

    severity is what to act upon: medium or more needs an alarm of the errors whose shift still stands and matters.
    Inputs alone never make it more than low (a season moves them, and a growing channel); how far is in the notes. Nor
    do failed requests, which no training cures, or missed intervals: where the errors grew, the errors say so.
    """
    residuals, inputs, streams = combined(detectors.errors), grade(features), shown(detectors)
    risen = {name: share for name, share in sorted(detectors.shares.items()) if share.stands}
    severity = _of_errors(residuals)
    if severity == "none" and (inputs != "none" or (together is not None and together.rejected) or risen):
        severity = "low"
    notes = [
        *_on_errors(residuals),
        *_on_groups(residuals, streams),
        *(_on_share(name, share) for name, share in risen.items()),
        *_on_inputs(features, inputs),
        *_on_all(together),
        *_on_waiting(detectors),
    ]
    return DriftReport(
        model, version, at, *sizes, severity, tuple(features), residuals, tuple(notes), together, streams
    )


def _of_errors(residuals: ResidualDrift) -> Severity:
    if residuals.effect is None:
        return "none"
    if not is_material(residuals.mean_before, residuals.mean_after):
        return "low"
    shift = abs(residuals.effect)
    return "high" if shift >= HIGH else "medium" if shift >= MEDIUM else "low"


def _on_errors(residuals: ResidualDrift) -> list[str]:
    if residuals.effect is None or residuals.onset_estimate is None or residuals.mean_before is None:
        return []
    return [
        f"errors moved ({residuals.stream}): mean {residuals.mean_before:+.3f} before, {residuals.mean_after:+.3f} "
        f"since about {_date(residuals.onset_estimate)}, {residuals.effect:+.2f} standard deviations; "
        f"alarms: {residuals.alarms}"
    ]


def _on_groups(residuals: ResidualDrift, streams: Sequence[StreamDrift]) -> list[str]:
    """The other streams and groups of channels whose shift still stands and matters, the widest first."""
    others = [
        f"{name} {s.effect:+.2f} since about {_date(s.onset_estimate)}"
        for s in streams
        if s.watched == "errors" and s.effect is not None and s.onset_estimate is not None
        if abs(s.effect) >= MEDIUM and is_material(s.before, s.after)
        if (name := f"{s.stream}{f' size {s.group}' if s.group else ''} {s.kind}") != residuals.stream
    ]
    if not others:
        return []
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    return [f"errors also moved in {', '.join(others[:_NAMED])}{more} (standard deviations)"]


def _on_share(name: str, share: ShareDetector) -> str:
    what = "failed requests" if share.watched == "failed" else f"outcomes outside their interval ({name})"
    onset = "" if share.onset is None else f", risen since about {_date(share.onset)}"
    return f"{what}: {share.before:.2%} before, {share.after:.2%} of late{onset}; that informs and does not act"


def _date(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _on_inputs(features: Sequence[FeatureDrift], inputs: Severity) -> list[str]:
    moved = sorted((f for f in features if f.rejected and f.effect > 0), key=lambda f: -f.effect)
    if not moved:
        return []
    names = ", ".join(f"{f.feature} {f.effect:.2f}" for f in moved[:_NAMED])
    return [
        f"inputs moved in {len(moved)} of {len(features)} features ({inputs}), most: {names}; "
        "that informs and does not act: seasons move inputs too"
    ]


def _on_all(together: MultivariateDrift | None) -> list[str]:
    if together is None or not together.rejected:
        return []
    pairs = ", ".join(
        f"{pair.first} with {pair.second} {pair.reference_correlation:+.2f} to {pair.recent_correlation:+.2f}"
        for pair in together.pairs[:_NAMED]
    )
    return [
        f"inputs moved when all are looked at together (p {together.p_value:.2g} at {together.alpha:g})"
        + (f", correlations: {pairs}" if pairs else "")
    ]


def _on_waiting(detectors: Detectors) -> list[str]:
    return [
        f"{name}: {d.needs} more errors are needed before a drift of them can be judged"
        for name, d in sorted(detectors.errors.items())
        if d.needs and not is_size(name)
    ]
