"""Puts what moved into one report: input drift informs, error drift acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from actors.adaptive_learning.drift.residuals import ResidualDetector, combined, is_material, is_size
from actors.adaptive_learning.drift.univariate import grade
from core.schemas.drift import MultivariateDrift
from core.schemas.monitoring import DriftReport, FeatureDrift, ResidualDrift, Severity

#: Shift of the mean error, in standard deviations of the reference, from which an alarm is as grave.
MEDIUM, HIGH = 0.25, 1.0
_NAMED = 3  # columns in a note


def report(
    model: str,
    version: int,
    at: int,
    sizes: tuple[int, int],
    features: Sequence[FeatureDrift],
    detectors: Mapping[str, ResidualDetector],
    together: MultivariateDrift | None = None,
) -> DriftReport:
    """The report of a version; `sizes` are the rows compared, reference and recent.

    severity is what to act upon: medium or more needs an alarm of the errors whose shift still stands and matters.
    Inputs alone never make it more than low (a season moves them, and a growing channel); how far is in the notes.
    """
    residuals, inputs = combined(detectors), grade(features)
    severity = _of_errors(residuals)
    if severity == "none" and (inputs != "none" or (together is not None and together.rejected)):
        severity = "low"
    notes = [*_on_errors(residuals), *_on_inputs(features, inputs), *_on_all(together), *_on_waiting(detectors)]
    return DriftReport(model, version, at, *sizes, severity, tuple(features), residuals, tuple(notes), together)


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
    since = datetime.fromtimestamp(residuals.onset_estimate, UTC).strftime("%Y-%m-%d %H:%M")
    return [
        f"errors moved ({residuals.stream}): mean {residuals.mean_before:+.3f} before, {residuals.mean_after:+.3f} "
        f"since about {since} UTC, {residuals.effect:+.2f} standard deviations; alarms: {residuals.alarms}"
    ]


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


def _on_waiting(detectors: Mapping[str, ResidualDetector]) -> list[str]:
    return [
        f"{name}: {d.needs} more errors are needed before a drift of them can be judged"
        for name, d in sorted(detectors.items())
        if d.needs and not is_size(name)
    ]
