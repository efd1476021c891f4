"""Decides whether a new version should be trained now, and says why or why not. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from core.clock import DAY
from core.schemas.models import ModelVersion
from core.schemas.monitoring import Degradation, DriftReport, ResidualDrift
from core.schemas.workflows import ENDED, Trigger, Workflow

#: Posts with a newly known outcome before a retraining can teach anything: below, incremental fits only follow noise.
LEAST_NEW_LABELS = 30
#: New outcomes that are a reason by themselves: this many posts, and this share of the champion's training rows.
ENOUGH_NEW_LABELS = 60
ENOUGH_NEW_SHARE = 0.06
#: Time of the data between the end of a workflow and the next one that starts by itself.
COOL_DOWN_S = 2 * DAY


@dataclass(frozen=True, slots=True)
class Decision:
    """A trigger, or None; `reason` is for people in both cases."""

    trigger: Trigger | None
    reason: str


def decide(
    *,
    now: int,
    champion: ModelVersion,
    new_labels: int,
    drift: DriftReport | None,
    degraded: tuple[Degradation, ...],
    last: Workflow | None,
) -> Decision:
    """Drift or degradation of the errors acts; drift of the inputs only informs; enough new outcomes act by themselves.

    new_labels: posts whose outcome became known after the champion's data ended. last: the latest workflow.
    """
    if last is not None and last.step in ENDED and last.trigger != "bootstrap":
        rest = last.updated_at + COOL_DOWN_S - now
        if rest > 0:
            return Decision(None, f"cooling down for another {rest / 3600:.0f} h after the last workflow")
    if new_labels < LEAST_NEW_LABELS:
        return Decision(None, f"{new_labels} posts with new outcomes, {LEAST_NEW_LABELS} are the least to learn from")
    if drift is not None and drift.severity in ("medium", "high") and drift.residuals is not None:
        return Decision("drift", _moved(champion.version, drift.residuals))
    worse = [d for d in degraded if d.metric == "mae_log" and d.verdict == "worse" and d.change is not None]
    if worse:
        most = max(worse, key=lambda d: d.recent_n)
        return Decision(
            "performance",
            f"|log error| of v{champion.version} rose by {most.change:.3f} [{most.low:.3f}, {most.high:.3f}] at "
            f"{most.segment} ({most.recent_n} recent outcomes, {most.before_n} before)",
        )
    enough = max(ENOUGH_NEW_LABELS, int(ENOUGH_NEW_SHARE * champion.lineage.rows))
    if new_labels >= enough:
        return Decision(
            "outcomes", f"{new_labels} posts with new outcomes since v{champion.version}, {enough} are enough"
        )
    return Decision(
        None, f"{new_labels} of {enough} posts with new outcomes since v{champion.version}; no drift of errors"
    )


def _moved(version: int, residuals: ResidualDrift) -> str:
    what = "size of the log error" if (residuals.stream or "").endswith("spread") else "signed log error"
    where = f" of {residuals.stream}" if residuals.stream else ""
    return (
        f"errors of v{version} moved: mean {what}{where} from {_signed(residuals.mean_before)} to "
        f"{_signed(residuals.mean_after)} ({residuals.n} outcomes)"
    )


def _signed(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.3f}"
