"""Decides, purely, whether the world moved since a roll-out began: then only fresh pairs may speak for the version.

Each cause gives one sentence, the same one whenever it is asked, so that a cause holds a roll-out once. A shift that
lasts raises alarm after alarm: where the stable version's errors had moved before, as they have when a drift is why the
version was trained, further alarms are no news.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.schemas.analytics import AnomalyFinding
from core.schemas.monitoring import DriftReport
from core.schemas.rollouts import RolloutStatus

#: Population stability index from which an input is said to have moved much (the customary .25).
MOVED = 0.25
#: With strong findings in this share of the channels at once, the data is suspect, not the model.
SUSPECT_SHARE = 0.5
#: Fewer channels than this say nothing about "many at once".
LEAST_CHANNELS = 4


def strong_channels(findings: Sequence[AnomalyFinding]) -> set[str]:
    """Channels with a finding that is high or critical."""
    return {finding.channel for finding in findings if finding.severity in ("high", "critical")}


def suspect(findings: Sequence[AnomalyFinding], channels: int) -> bool:
    """Whether so many channels show strong findings that the data itself is in doubt."""
    return channels >= LEAST_CHANNELS and len(strong_channels(findings)) >= SUSPECT_SHARE * channels


def reasons(
    rollout: RolloutStatus,
    now: DriftReport | None,
    at_start: DriftReport | None,
    findings: Sequence[AnomalyFinding],
    channels: int,
) -> tuple[str, ...]:
    """What moved since the roll-out began.

    now: the champion's latest drift report; at_start: the last one made before the roll-out, whose moved inputs and
    errors are old news; findings: those since it began.
    """
    found = []
    began = rollout.started_at
    if _alarmed_since(now, began) and not _stood(at_start):
        found.append(f"errors of v{rollout.stable} began to move")
    if now is not None and now.at >= began:
        fresh = _moved(now) - (_moved(at_start) if at_start else set())
        found += [f"inputs began to move: {name}" for name in sorted(fresh)]
    if suspect([finding for finding in findings if finding.onset >= began], channels):
        found.append(f"strong anomalies in many of {channels} channels at once")
    return tuple(found)


def _moved(report: DriftReport) -> set[str]:
    return {feature.feature for feature in report.features if feature.rejected and feature.effect >= MOVED}


def _stood(report: DriftReport | None) -> bool:
    """Whether errors had moved, and the shift was still there."""
    return report is not None and report.severity in ("medium", "high") and _alarmed_since(report, 0)


def _alarmed_since(report: DriftReport | None, moment: int) -> bool:
    errors = report.residuals if report is not None else None
    return errors is not None and errors.last_alarm_at is not None and errors.last_alarm_at >= moment
